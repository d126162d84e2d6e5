//! Prints the JSON schema of audit records. `cargo xtask docs` writes it into `docs`.

use std::io::{Write, stdout};
use std::process::ExitCode;

use tka_api::audit::Record;

fn main() -> ExitCode {
    let schema = schemars::schema_for!(Record);
    match serde_json::to_string_pretty(&schema) {
        Ok(json) if writeln!(stdout(), "{json}").is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
