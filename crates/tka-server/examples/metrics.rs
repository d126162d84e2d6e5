//! Prints the reference of metrics. `cargo xtask docs` writes it into `docs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tka_server::metrics::reference::reference() {
        Ok(page) => {
            println!("{page}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the metrics do not encode: {error}");
            ExitCode::FAILURE
        }
    }
}
