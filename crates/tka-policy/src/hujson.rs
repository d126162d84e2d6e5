//! `HuJSON`, as tailnet policies are written: JSON with comments, and commas after the last element.
//!
//! [`jsonc_parser`] reads it, which takes more than `HuJSON` if it is asked to, and refuses what is nested more than 512 deep. What it takes beyond that
//! is refused here.

use jsonc_parser::ast::{Object, StringLit, Value};
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use thiserror::Error;

/// How many bytes of text are read: no control server takes as many.
pub const MAX_BYTES: usize = 64 << 20;

/// Why a text is no `HuJSON`.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{what}")]
pub struct SyntaxError {
    /// The byte where it goes wrong.
    pub at: usize,
    /// What is wrong.
    pub what: String,
}

/// Reads one value, and nothing after it.
pub(crate) fn parse(text: &str) -> Result<Value<'_>, SyntaxError> {
    let wrong = |at, what: &str| SyntaxError { at, what: what.into() };
    if text.len() > MAX_BYTES {
        return Err(wrong(MAX_BYTES, "the text is larger than 64 MiB"));
    }
    if text.starts_with('\u{feff}') {
        return Err(wrong(
            0,
            "the text begins with a byte order mark, which HuJSON does not have",
        ));
    }
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| SyntaxError {
        at: error.range().start,
        what: in_our_words(&error.kind().to_string()),
    })?;
    let value = parsed.value.ok_or_else(|| wrong(0, "the text holds no value"))?;
    strict(text, &value)?;
    Ok(value)
}

/// The parser's words, as a part of a sentence.
fn in_our_words(what: &str) -> String {
    let mut rest = what.chars();
    let first = rest.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(rest).collect()
}

/// Refuses what Go's reader of JSON refuses and the parser does not.
fn strict(text: &str, value: &Value<'_>) -> Result<(), SyntaxError> {
    match value {
        Value::NumberLit(number) if serde_json::from_str::<serde_json::Number>(number.value).is_err() => {
            Err(SyntaxError {
                at: number.range.start,
                what: format!("{} is not a number of JSON", tka_core::shorten(number.value)),
            })
        }
        Value::StringLit(string) => strict_string(text, string),
        Value::Array(array) => array.elements.iter().try_for_each(|value| strict(text, value)),
        Value::Object(object) => object.properties.iter().try_for_each(|member| {
            if let jsonc_parser::ast::ObjectPropName::String(name) = &member.name {
                strict_string(text, name)?;
            }
            strict(text, &member.value)
        }),
        Value::NumberLit(_) | Value::BooleanLit(_) | Value::NullKeyword(_) => Ok(()),
    }
}

fn strict_string(text: &str, string: &StringLit<'_>) -> Result<(), SyntaxError> {
    let written = string.text(text);
    // Most strings hold neither.
    if !written.bytes().any(|byte| byte < b' ' || byte == b'\\') {
        return Ok(());
    }
    match serde_json::from_str::<String>(written) {
        Ok(_) => Ok(()),
        Err(_) => Err(SyntaxError {
            at: string.range.start,
            what: "a string holds a control character or an escape that JSON does not have".into(),
        }),
    }
}

/// The text of a value that is a string.
pub(crate) fn string<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::StringLit(string) => Some(&string.value),
        _ => None,
    }
}

/// The value of the last field of that name, which Go finds in any case, and where the field is.
pub(crate) fn field<'v, 'a>(object: &'v Object<'a>, name: &str) -> Option<(usize, &'v Value<'a>)> {
    let mut members = object.properties.iter().rev();
    let found = members.find(|member| member.name.as_str().eq_ignore_ascii_case(name))?;
    Some((found.range.start, &found.value))
}

/// What a value is, for an error.
pub(crate) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::StringLit(_) => "a string",
        Value::NumberLit(_) => "a number",
        Value::BooleanLit(_) => "a boolean",
        Value::Object(_) => "an object",
        Value::Array(_) => "a list",
        Value::NullKeyword(_) => "null",
    }
}

/// A value as JSON without blanks. A control server hands on the text of a value, so that fields that are there twice stay there twice, and escapes
/// as they are. On headscale, the blanks stay too; they say nothing.
pub(crate) fn compact(text: &str, value: &Value<'_>) -> String {
    let mut out = String::new();
    write(text, value, &mut out);
    out
}

fn write(text: &str, value: &Value<'_>, out: &mut String) {
    match value {
        Value::Array(array) => {
            out.push('[');
            for (at, element) in array.elements.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write(text, element, out);
            }
            out.push(']');
        }
        Value::Object(object) => {
            out.push('{');
            for (at, member) in object.properties.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                out.push_str(member.name.text(text));
                out.push(':');
                write(text, &member.value, out);
            }
            out.push('}');
        }
        _ => out.push_str(value.text(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> (usize, String) {
        let error = parse(text).map(|value| compact(text, &value)).unwrap_err();
        (error.at, error.what)
    }

    fn read(text: &str) -> String {
        compact(text, &parse(text).unwrap())
    }

    #[test]
    fn comments_and_last_commas_are_no_part_of_it() {
        let text = "// a policy\n{ \"a\": [1, /* two */ \"//\",], \"a\": null, }\n";
        assert_eq!(read(text), r#"{"a":[1,"//"],"a":null}"#);
        assert_eq!(read(r#" "\u00fc\n" "#), r#""\u00fc\n""#);
        assert_eq!(read("-1.5e+3"), "-1.5e+3");
    }

    /// `hujson` of Tailscale refuses each of these.
    #[test]
    fn what_is_no_hujson_is_refused_with_its_place() {
        for (text, at, what) in [
            ("", 0, "no value"),
            ("// nothing", 0, "no value"),
            ("\u{feff}{}", 0, "byte order mark"),
            ("{a: 1}", 1, ""),
            ("{'a': 1}", 1, ""),
            (r#"{"a": 1 "b": 2}"#, 8, "comma"),
            (r#"{"a": 01}"#, 6, ""),
            (r#"{"a": +1}"#, 6, ""),
            (r#"{"a": .5}"#, 6, ""),
            (r#"{"a": 0x1}"#, 7, ""),
            (r#"{"a": NaN}"#, 6, ""),
            (r#"{"a": 1,,}"#, 8, ""),
            (r#"{"a": "x"#, 6, ""),
            (r#"{"a": [1"#, 6, ""),
            ("{\"a\": \"\t\"}", 6, "control character"),
            (r#"{"a": "\x41"}"#, 7, ""),
            (r#"{"a": "\ud800"}"#, 6, ""),
            (r"{} {}", 3, ""),
            ("/* open", 0, ""),
            ("{]", 1, ""),
        ] {
            let (found, why) = wrong(text);
            assert!(found.abs_diff(at) <= 2 && why.contains(what), "{text}: {found} {why}");
        }
    }

    #[test]
    fn depth_and_size_are_bounded() {
        for text in [
            "[".repeat(100_000),
            "{\"a\":".repeat(100_000),
            "[".repeat(600) + &"]".repeat(600),
        ] {
            assert!(wrong(&text).1.contains("nesting depth"), "{}", &text[..10]);
        }
        assert!(read(&("[".repeat(400) + &"]".repeat(400))).len() == 800);
        assert!(wrong(&" ".repeat(MAX_BYTES + 1)).1.contains("64 MiB"));
    }
}
