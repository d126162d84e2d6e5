//! The audit records that servers have written, held against the schema that is documented.

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::Value;

use crate::{Outcome, files};

const SCHEMA: &str = include_str!("../../docs/audit.schema.json");
/// What a record begins with, on standard output among the lines of the log.
const BEGINNING: &str = r#"{"version":"audit.tka."#;
/// The name of a file in which every line is a record.
const FILE: &str = "audit.log";

/// What was found in a folder.
#[derive(Debug, Default)]
pub struct Found {
    /// How many records.
    pub records: usize,
    /// Which are not as documented, and why.
    pub wrong: Vec<String>,
}

/// Holds each audit record against the schema. Finds them below `logs`, where servers have written them between other lines, and
/// in the files below `folders` that hold nothing else.
pub fn check(logs: &Path, folders: &Path) -> Outcome<Found> {
    let schema = jsonschema::options()
        .should_validate_formats(true)
        .build(&serde_json::from_str(SCHEMA)?)?;
    let mut found = Found::default();
    for file in files::below(logs)? {
        found.read(&schema, &file, |line| line.starts_with(BEGINNING))?;
    }
    for file in audit_files(folders)? {
        found.read(&schema, &file, |_| true)?;
    }
    Ok(found)
}

/// The files below `folders` in which every line is a record.
pub fn audit_files(folders: &Path) -> Outcome<Vec<PathBuf>> {
    let mut files = files::below(folders)?;
    files.retain(|file| file.ends_with(FILE));
    Ok(files)
}

// === impl Found ===

impl Found {
    fn read(&mut self, schema: &Validator, file: &Path, is_record: impl Fn(&str) -> bool) -> Outcome {
        let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| is_record(line)) {
            self.records += 1;
            if let Err(why) = conforms(schema, line) {
                self.wrong
                    .push(format!("{}:{}: {why}: {line}", file.display(), number + 1));
            }
        }
        Ok(())
    }
}

fn conforms(schema: &Validator, line: &str) -> Result<(), String> {
    let record: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    schema.validate(&record).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record() -> Value {
        json!({
            "version": "audit.tka.specht-labs.de/v1", "time": "2026-01-02T15:04:05.678901Z",
            "decision": "refused", "outcome": "failed", "why": "no",
        })
    }

    #[test]
    fn records_are_found_and_what_is_wrong_with_them() {
        let dir = tempfile::tempdir().unwrap();
        let (logs, homes) = (dir.path().join("logs"), dir.path().join("homes/a"));
        fs::create_dir_all(&logs).unwrap();
        fs::create_dir_all(&homes).unwrap();
        let check = || check(&logs, &dir.path().join("homes")).unwrap();
        fs::write(logs.join("audit.log"), "{\"kind\":\"Event\"}\n").unwrap();
        // The version is first.
        let good = serde_json::to_string(&record()).unwrap();
        let good = good.replace(r#","version":"audit.tka.specht-labs.de/v1""#, "");
        let good = good.replacen('{', r#"{"version":"audit.tka.specht-labs.de/v1","#, 1);
        fs::write(logs.join("server.log"), format!("stopping\n{good}\n")).unwrap();
        fs::write(homes.join("audit.log"), format!("{good}\n")).unwrap();
        let found = check();
        assert_eq!((found.records, found.wrong), (2, Vec::new()));
        for bad in [
            "cut off".to_owned(),
            good.replacen('{', r#"{"token":"eyJ","#, 1),
            good.replace("refused", "waved_through"),
            good.replace("2026-01-02T", "yesterday at "),
            good.replace(r#""outcome":"failed","#, ""),
        ] {
            assert_ne!(bad, good);
            fs::write(homes.join("audit.log"), format!("{good}\n{bad}\n")).unwrap();
            let found = check();
            assert_eq!((found.records, found.wrong.len()), (3, 1), "{bad}");
            assert!(found.wrong[0].contains("audit.log:2: "), "{:?}", found.wrong);
        }
    }
}
