//! The rules in the documents are rules: readers copy them.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, this also in what they call"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tka_core::{ApplicableRules, Rule};

const CAPABILITY: &str = "specht-labs.de/cap/tka";

fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let (folders, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    folders.iter().flat_map(|folder| pages(folder)).chain(files).collect()
}

/// The blocks of `json` in a document. One in a list is indented.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        match line.trim_start() {
            "```json" => {
                inside = true;
                blocks.push(String::new());
            }
            fence if fence.starts_with("```") => inside = false,
            line if inside => blocks.last_mut().unwrap().push_str(line),
            _ => {}
        }
    }
    blocks
}

/// All values of the capability in `document`.
fn rules(document: &Value) -> Vec<String> {
    match document {
        Value::Object(fields) => {
            let own = fields.get(CAPABILITY).and_then(Value::as_array).into_iter().flatten();
            let own: Vec<_> = own.map(ToString::to_string).collect();
            fields.values().flat_map(rules).chain(own).collect()
        }
        Value::Array(items) => items.iter().flat_map(rules).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_documented_rule_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let documents = [root.join("README.md"), root.join("docs/rules.md")];
    let mut found = 0;
    for path in documents.into_iter().chain(pages(&root.join("docs/book/src"))) {
        for block in blocks(&fs::read_to_string(&path).unwrap()) {
            let place = path.display();
            let document = serde_json::from_str(&block).unwrap_or_else(|error| panic!("{place}: {error}: {block}"));
            let rules = rules(&document);
            for rule in &rules {
                ApplicableRules::parse([rule.as_str()]).unwrap_or_else(|error| panic!("{place}: {error}"));
            }
            found += rules.len();
        }
    }
    assert!(found > 8, "{found} rules in the documents");
}

/// The fields that a rule may have, by what a wrong one is answered.
fn fields() -> BTreeSet<String> {
    let error = Rule::parse(r#"{"no_such_field": 1}"#).unwrap_err().to_string();
    let (_, names) = error.split_once("expected one of ").unwrap();
    names.split('`').skip(1).step_by(2).map(Into::into).collect()
}

#[test]
fn every_field_of_a_rule_is_documented() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/rules.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| field | meaning |\n|---|---|\n").unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("| `"));
    let documented: BTreeSet<_> = rows.map(|row| row.split('`').nth(1).unwrap().to_owned()).collect();
    assert!(fields().len() > 10, "{:?}", fields());
    assert_eq!(fields(), documented);
}
