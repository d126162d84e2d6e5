//! Objects of fields that others write and that restrict something: rules of the tailnet policy, bodies of requests.

use serde::de::DeserializeOwned;
use serde_json::Value;
use thiserror::Error;

/// Why a text is no object of fields.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum FieldsError {
    /// It is something else, or no JSON.
    #[error("it is not an object of fields")]
    NotAnObject,
    /// A field is there and says nothing. To take it for one that is not there would lift what it was meant to restrict.
    #[error("`{field}` is {what}: give it a value, or leave it out")]
    Blank {
        /// The field, as `approval.count` if it is within another.
        field: String,
        /// `null` or `empty`.
        what: &'static str,
    },
    /// A field is not known, is there twice, is missing, or has a wrong value.
    #[error("{0}")]
    Wrong(String),
}

/// Reads an object of fields. `T` says which there are, and refuses those that it does not know.
///
/// Every field that is there has a value: `null`, `[]` and `{}` are refused at any depth, before serde reads the first two as
/// a field that is left out. That is decided here, for all fields alike, and not where each is declared.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, FieldsError> {
    // serde takes an array for an object whose fields it lists in their order, which was not meant.
    if !text.trim_ascii_start().starts_with('{') {
        return Err(FieldsError::NotAnObject);
    }
    let value: Value =
        serde_json::from_str(text).map_err(|error| FieldsError::Wrong(without_position(&error.to_string())))?;
    if let Some(blank) = value.as_object().and_then(blank_within) {
        return Err(blank);
    }
    // From the text once more: a `Value` has forgotten which fields were there twice.
    let mut deserializer = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| FieldsError::Wrong(with_field(&error)))
}

/// What is wrong, and with which field.
fn with_field(error: &serde_path_to_error::Error<serde_json::Error>) -> String {
    let why = match without_position(&error.inner().to_string()) {
        // Of an alternative serde_json says only so much.
        why if why == "expected value" => "the expected value is a text, and this is none".to_owned(),
        why => in_plain_words(&why),
    };
    let field = crate::shorten(&error.path().to_string());
    // A missing field is one of the whole; one that is not known or there twice is named already.
    let is_named = field == "." || why.contains(&format!("`{field}`"));
    if is_named { why } else { format!("`{field}`: {why}") }
}

/// What is wrong with a value, in the words of those who write it: serde says what it expects as Rust calls it. All else stays as it is.
#[must_use]
pub fn in_plain_words(why: &str) -> String {
    let value = ["invalid type: ", "invalid value: "];
    let value = value.iter().find_map(|kind| why.strip_prefix(kind));
    // A text that is wrong may hold the words as well; serde's own are the last.
    let Some((is, expected)) = value.and_then(|value| value.rsplit_once(", expected ")) else {
        return why.into();
    };
    format!("it takes {}, and not {}", what_is_expected(expected), what_it_is(is))
}

fn what_is_expected(expected: &str) -> &str {
    match expected {
        "a nonzero u32" => "a whole number from 1 to 4294967295",
        "u32" => "a whole number from 0 to 4294967295",
        "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" => "a text",
        "a sequence" => "a list",
        other => other,
    }
}

fn what_it_is(is: &str) -> &str {
    let is = match is {
        "sequence" => "a list",
        "map" => "an object",
        "unit value" => "null",
        is => is,
    };
    let kinds = ["string ", "integer ", "floating point ", "boolean "];
    let value = kinds.iter().find_map(|kind| is.strip_prefix(kind)).unwrap_or(is);
    value.trim_matches('`')
}

fn blank_within(fields: &serde_json::Map<String, Value>) -> Option<FieldsError> {
    fields.iter().find_map(|(name, value)| blank(name, value))
}

fn blank(field: &str, value: &Value) -> Option<FieldsError> {
    let is = |what| {
        let field = crate::shorten(field);
        Some(FieldsError::Blank { field, what })
    };
    match value {
        Value::Null => is("null"),
        Value::Array(items) if items.is_empty() => is("empty"),
        Value::Object(fields) if fields.is_empty() => is("empty"),
        Value::Array(items) => items.iter().find_map(|item| blank(field, item)),
        Value::Object(fields) => fields
            .iter()
            .find_map(|(name, value)| blank(&format!("{field}.{name}"), value)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// The value reaches us as compact JSON on one line: a line and column say nothing to those who wrote it.
fn without_position(error: &str) -> String {
    match error.rfind(" at line ") {
        Some(end) => error[..end].into(),
        None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[expect(dead_code, reason = "only whether it is read matters")]
        list: Option<Vec<String>>,
        #[expect(dead_code, reason = "only whether it is read matters")]
        inner: Option<Inner>,
        #[expect(dead_code, reason = "only whether it is read matters")]
        word: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[expect(dead_code, reason = "only whether it is read matters")]
        count: Option<u32>,
    }

    #[test]
    fn field_that_says_nothing_is_refused_at_any_depth() {
        let said = |text: &str| read::<Outer>(text).map_err(|error| error.to_string()).err();
        assert_eq!(said("{}"), None);
        assert_eq!(said(r#"{"list": ["a"], "inner": {"count": 1}}"#), None);
        for (text, expected) in [
            (r#"{"list": null}"#, "`list` is null: give it a value, or leave it out"),
            (r#"{"l\u0069st": null}"#, "`list` is null"),
            (r#"{"list": []}"#, "`list` is empty"),
            (r#"{"list": ["a", null]}"#, "`list` is null"),
            (r#"{"inner": {}}"#, "`inner` is empty"),
            (r#"{"inner": {"count": null}}"#, "`inner.count` is null"),
            (r#"{"list": null, "list": ["a"]}"#, "duplicate field `list`"),
            (r#"{"list": ["a"], "list": null}"#, "`list` is null"),
            (r#"{"inner": {"count": 1, "count": 2}}"#, "duplicate field `count`"),
            (r#"{"List": ["a"]}"#, "unknown field `List`"),
            (r#"[["a"], null]"#, "not an object"),
            ("null", "not an object"),
        ] {
            assert!(said(text).unwrap_or_default().contains(expected), "{text}");
        }
    }

    #[test]
    fn wrong_value_is_named_with_its_field() {
        let said = |text: &str| read::<Outer>(text).unwrap_err().to_string();
        for (text, expected) in [
            (
                r#"{"word": ["one"]}"#,
                "`word`: the expected value is a text, and this is none",
            ),
            (
                r#"{"word": true}"#,
                "`word`: the expected value is a text, and this is none",
            ),
            (
                r#"{"word": "three"}"#,
                "`word`: unknown variant `three`, expected `one` or `two`",
            ),
            (r#"{"list": "a"}"#, "`list`: it takes a list, and not \"a\""),
            (r#"{"list": ["a", 1]}"#, "`list[1]`: it takes a text, and not 1"),
            (
                r#"{"inner": {"count": "1"}}"#,
                "`inner.count`: it takes a whole number from 0 to 4294967295, and not \"1\"",
            ),
            (r#"{"inner": {"Count": 1}}"#, "unknown field `Count`, expected `count`"),
            (
                r#"{"a": 1}"#,
                "unknown field `a`, expected one of `list`, `inner`, `word`",
            ),
            (r#"{"list": ["a"], "list": ["b"]}"#, "duplicate field `list`"),
        ] {
            let said = said(text);
            assert!(said.ends_with(expected), "{text}: {said}");
            assert_eq!(
                said.starts_with('`'),
                expected.starts_with('`') || text.contains("Count"),
                "{text}: {said}"
            );
        }
        assert_eq!(said(r#"{"list": }"#), "expected value");
        assert_eq!(said(r#"{"list": ["a"]} x"#), "trailing characters");
    }

    #[test]
    fn words_of_the_library_become_those_of_the_policy() {
        for (why, expected) in [
            (
                "invalid value: integer `0`, expected a nonzero u32",
                "it takes a whole number from 1 to 4294967295, and not 0",
            ),
            (
                "invalid type: floating point `1.5`, expected i64",
                "it takes a whole number, and not 1.5",
            ),
            (
                "invalid type: string \"yes\", expected a boolean",
                "it takes true or false, and not \"yes\"",
            ),
            (
                "invalid type: boolean `true`, expected a string",
                "it takes a text, and not true",
            ),
            (
                "invalid type: map, expected a sequence",
                "it takes a list, and not an object",
            ),
            (
                "invalid type: sequence, expected an object with `count`",
                "it takes an object with `count`, and not a list",
            ),
            (
                "invalid type: string \"a, expected u32\", expected a sequence",
                "it takes a list, and not \"a, expected u32\"",
            ),
            ("missing field `role`", "missing field `role`"),
            ("unknown variant `a`, expected `b`", "unknown variant `a`, expected `b`"),
        ] {
            assert_eq!(in_plain_words(why), expected);
        }
    }
}
