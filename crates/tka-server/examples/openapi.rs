//! Prints the OpenAPI document of the HTTP API. `cargo xtask docs` writes it into `docs`.

use std::process::ExitCode;

fn main() -> ExitCode {
    match tka_server::http::openapi().to_pretty_json() {
        Ok(document) => {
            println!("{document}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the OpenAPI document does not serialize: {error}");
            ExitCode::FAILURE
        }
    }
}
