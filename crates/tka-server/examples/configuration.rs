//! Prints what comes from the type of the configuration: `page` (docs/configuration.md), `schema` (docs/configuration.schema.json), `values`
//! (charts/tka/values.schema.json), `restart-keys` and `chart-variables` (both in charts/tka/files). `cargo xtask docs` writes them.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use tka_server::config::reference;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn main() -> ExitCode {
    match generated(&std::env::args().nth(1).unwrap_or_default()) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("configuration: {error}");
            ExitCode::FAILURE
        }
    }
}

fn generated(what: &str) -> Result<String, String> {
    match what {
        "page" => filled("docs/configuration.md", reference::page),
        "values" => filled("charts/tka/values.schema.json", reference::chart_schema),
        "schema" => Ok(reference::schema()),
        "restart-keys" => Ok(reference::restart_keys()),
        "chart-variables" => Ok(reference::chart_variables()),
        _ => Err("say which of page, schema, values, restart-keys and chart-variables".to_owned()),
    }
}

/// A file of which a part is generated.
fn filled(file: &str, make: fn(&str) -> Option<String>) -> Result<String, String> {
    let text = fs::read_to_string(Path::new(ROOT).join(file)).map_err(|error| format!("{file}: {error}"))?;
    make(&text).ok_or_else(|| format!("{file} has no place for what is generated"))
}
