//! The command `tka`. Everything it does is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    tka_cli::run(std::env::args_os())
}
