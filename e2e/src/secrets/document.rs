//! What a file says, read as what it is: the texts in its documents, without the escapes and folds of their format.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

/// How deep texts are looked into that are documents themselves.
const DEPTH: usize = 4;

/// What a file is written in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// One JSON document.
    Json,
    /// Lines, some of which are JSON documents: logs and audit records.
    JsonLines,
    /// YAML documents.
    Yaml,
    /// Anything else.
    Text,
}

// === impl Kind ===

impl Kind {
    /// What `file` is, by what is in it, and by its name where that does not tell.
    pub(super) fn of(file: &Path, bytes: &[u8]) -> Self {
        let text = text(bytes);
        let is_named = |extensions: &[&str]| {
            file.extension()
                .is_some_and(|found| extensions.iter().any(|one| found == *one))
        };
        let is_json = |text: &str| text.starts_with(['{', '[']) && serde_json::from_str::<Value>(text).is_ok();
        let whole = text.trim();
        if whole.lines().count() > 1 && is_json(whole) {
            return Self::Json;
        }
        if whole.lines().any(|line| is_json(line.trim())) {
            return Self::JsonLines;
        }
        if is_named(&["yaml", "yml"]) || whole.starts_with("---") || whole.starts_with("apiVersion:") {
            return Self::Yaml;
        }
        Self::Text
    }

    /// What a person calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::JsonLines => "JSON lines",
            Self::Yaml => "YAML",
            Self::Text => "text",
        }
    }

    /// Whether each line is read by itself.
    pub(super) fn is_lines(self) -> bool {
        matches!(self, Self::JsonLines)
    }
}

/// The text in `bytes`: UTF-8, or UTF-16 where a byte order mark says so.
pub(super) fn text(bytes: &[u8]) -> String {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|two| unit([two[0], two[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes {
        [0xFF, 0xFE, ..] => utf16(u16::from_le_bytes),
        [0xFE, 0xFF, ..] => utf16(u16::from_be_bytes),
        _ => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// Whether `holds` is true of a text in the documents of a whole file.
pub(super) fn strings_of(kind: Kind, text: &str, holds: &dyn Fn(&str) -> bool) -> bool {
    match kind {
        Kind::Json => strings_of_json(text, holds),
        Kind::Yaml => {
            let documents = serde_saphyr::from_multiple::<Value>(text).unwrap_or_default();
            documents.iter().any(|document| in_value(document, holds, DEPTH))
        }
        Kind::JsonLines | Kind::Text => false,
    }
}

/// Whether `holds` is true of a text in a JSON document; not when it is none.
pub(super) fn strings_of_json(text: &str, holds: &dyn Fn(&str) -> bool) -> bool {
    let text = text.trim();
    let document = text
        .starts_with(['{', '['])
        .then(|| serde_json::from_str::<Value>(text));
    matches!(document, Some(Ok(document)) if in_value(&document, holds, DEPTH))
}

fn in_value(value: &Value, holds: &dyn Fn(&str) -> bool, depth: usize) -> bool {
    match value {
        Value::String(text) => in_text(text, holds, depth),
        Value::Array(items) => items.iter().any(|item| in_value(item, holds, depth)),
        Value::Object(entries) => entries
            .iter()
            .any(|(key, value)| in_text(key, holds, depth) || in_value(value, holds, depth)),
        _ => false,
    }
}

/// A text may be a document in a document, or base64 as in a Secret.
fn in_text(text: &str, holds: &dyn Fn(&str) -> bool, depth: usize) -> bool {
    if holds(text) {
        return true;
    }
    let Some(depth) = depth.checked_sub(1) else {
        return false;
    };
    let decoded = BASE64_STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok());
    if decoded.is_some_and(|text| in_text(&text, holds, depth)) {
        return true;
    }
    let inner = text
        .starts_with(['{', '['])
        .then(|| serde_json::from_str::<Value>(text));
    matches!(inner, Some(Ok(inner)) if in_value(&inner, holds, depth))
}

/// Copies of a file with `token` in it, each with how it stands there. These are all ways in which a program may come to write one into
/// such a file.
pub(super) fn planted(kind: Kind, bytes: &[u8], token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let (head, rest) = token.split_at(token.len() - 8);
    let escaped = format!("{head}\\u00{:02x}{}", rest.as_bytes()[0], &rest[1..]);
    let encoded = BASE64_STANDARD.encode(token);
    let lines = [
        ("as it is", format!("Authorization: Bearer {token}")),
        ("broken over lines", format!("{head}\n  {rest}")),
    ];
    let json = [
        ("in a string", format!(r#"{{"a":["{token}"]}}"#)),
        ("with an escape", format!(r#"{{"a":{{"b":"{escaped}"}}}}"#)),
        ("in base64", format!(r#"{{"data":{{"token":"{encoded}"}}}}"#)),
        (
            "in a document of its own",
            format!(r#"{{"body":"{{\"token\":\"{encoded}\"}}"}}"#),
        ),
    ];
    let yaml = [
        ("folded", format!("users:\n- user:\n    token: >-\n      {token}\n")),
        ("in quotes over lines", format!("a: \"{head}\\\n  {rest}\"")),
        ("with an escape", format!("a: \"{escaped}\"")),
        ("in base64", format!("data: {{token: {encoded}}}")),
    ];
    let text = text(bytes);
    let after = |(how, added): (&'static str, String)| (how, format!("{text}\n{added}\n").into_bytes());
    match kind {
        Kind::Text => lines.into_iter().map(after).collect(),
        Kind::JsonLines => lines.into_iter().chain(json).map(after).collect(),
        Kind::Json => json.into_iter().map(|(how, added)| (how, added.into_bytes())).collect(),
        Kind::Yaml => yaml
            .into_iter()
            .map(|(how, added)| (how, format!("{text}\n---\n{added}\n").into_bytes()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0";

    #[test]
    fn kind_is_what_is_in_the_file() {
        for (name, text, kind) in [
            ("a.log", "starting\n", Kind::Text),
            ("a.log", "starting\n{\"a\":1}\n", Kind::JsonLines),
            ("audit.log", "{\"a\":1}", Kind::JsonLines),
            ("a", "{\n\"a\":1}\n", Kind::Json),
            ("a.yaml", "{", Kind::Yaml),
            ("kubeconfig", "apiVersion: v1\n", Kind::Yaml),
            ("a", "", Kind::Text),
        ] {
            assert_eq!(Kind::of(Path::new(name), text.as_bytes()), kind, "{name}: {text}");
        }
    }

    #[test]
    fn token_is_found_in_each_kind_of_file_and_before_there_is_none() {
        let search = super::super::search::Search::new(&[TOKEN.to_owned()].into()).unwrap();
        for (kind, bytes) in [
            (Kind::Text, &b"starting\nkey: >-\n"[..]),
            (Kind::JsonLines, b"starting\n{\"a\":\">-\"}\n"),
            (Kind::Json, b"{\n\"a\": \"b\"}\n"),
            (Kind::Yaml, b"apiVersion: v1\nkey: >-\n  folded\n  text\n"),
            (Kind::Text, b"\xFF\xFEa\0\n\0"),
        ] {
            assert!(search.lines(kind, bytes).is_empty(), "{kind:?}");
            let planted = planted(kind, bytes, TOKEN);
            assert!(planted.len() >= 2, "{kind:?}");
            for (how, bytes) in planted {
                assert!(!search.lines(kind, &bytes).is_empty(), "{kind:?}, {how}");
            }
        }
    }

    #[test]
    fn text_in_utf_16_is_read() {
        let bytes: Vec<u8> = [0xFEFF]
            .into_iter()
            .chain(TOKEN.encode_utf16())
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(text(&bytes), TOKEN);
    }
}
