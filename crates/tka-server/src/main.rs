//! The TKA server.

use std::process::ExitCode;

fn main() -> ExitCode {
    tka_server::args::main()
}
