//! Tailnet policies are written in `HuJSON`: JSON with comments and commas after the last element.

use serde_json::Value;

/// Reads `HuJSON`.
pub(crate) fn parse(text: &str) -> serde_json::Result<Value> {
    serde_json::from_str(&standardize(text))
}

/// Blanks what JSON does not have. Every other byte stays where it is, so that errors name the right line and column.
fn standardize(text: &str) -> String {
    let mut out: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    // Where the last comma is, while nothing but blanks has followed it.
    let mut comma = None;
    while let Some(&byte) = rest.first() {
        let length = match byte {
            b'"' => string_length(rest),
            b'/' => comment_length(rest),
            _ => 1,
        };
        let (token, next) = rest.split_at(length);
        if byte == b'/' && length > 1 {
            out.extend(token.iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }));
        } else {
            if let (b'}' | b']', Some(comma)) = (byte, comma)
                && let Some(byte) = out.get_mut::<usize>(comma)
            {
                *byte = b' ';
            }
            comma = match byte {
                b',' => Some(out.len()),
                _ if byte.is_ascii_whitespace() => comma,
                _ => None,
            };
            out.extend(token);
        }
        rest = next;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How long the string is that the bytes begin with, with its quotes.
fn string_length(bytes: &[u8]) -> usize {
    let mut escaped = false;
    for (at, &byte) in bytes.iter().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

/// How long the comment is that the bytes begin with; 1 if they begin with none.
fn comment_length(bytes: &[u8]) -> usize {
    let end = |mark: &[u8]| bytes.windows(mark.len()).skip(2).position(|window| window == mark);
    match bytes.get(1) {
        Some(b'/') => end(b"\n").map_or(bytes.len(), |at| at + 2),
        Some(b'*') => end(b"*/").map_or(bytes.len(), |at| at + 4),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn comments_and_last_commas_are_no_part_of_it() {
        let text = r#"// a policy
        {
            "grants": [ /* none, */
                {"src": ["*"], "url": "http://x/*not*/,]", }, // "quoted"
            ],
            "escaped": "\\\"//,}", /**/
        }"#;
        let expected = json!({ "grants": [{"src": ["*"], "url": "http://x/*not*/,]"}], "escaped": "\\\"//,}" });
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("[1, 2, /* two */ \n ] // end").unwrap(), json!([1, 2]));
    }

    #[test]
    fn json_stays_as_it_is() {
        let text = r#"{"a": [1, 2.5, null, "ü, ]"], "b": {}}"#;
        assert_eq!(standardize(text), text);
    }

    #[test]
    fn an_error_names_the_line() {
        let error = parse("{\n  // one\n  \"a\": nonsense\n}").unwrap_err();
        assert_eq!(error.line(), 3);
        assert!(parse("{\"a\": [1,,]}").is_err());
        assert!(parse("\"open").is_err());
        assert!(parse("/* open").is_err());
        assert!(parse("").is_err());
    }
}
