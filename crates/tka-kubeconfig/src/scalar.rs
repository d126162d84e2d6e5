//! What a text means to kubectl's YAML parser: a bare `yes` is a boolean, `0123` is 83, and `1e3` a number.
//!
//! The rules are those of <https://github.com/yaml/go-yaml/blob/v2.4.3/resolve.go>.

/// What a text stands for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Null,
    Bool(bool),
    /// Up to 64 bits, with or without a sign.
    Int(i128),
    Float(f64),
    Text(String),
}

const STANDARD: &str = "tag:yaml.org,2002:";

/// What `text` means with that tag; an error where it cannot mean that.
pub(crate) fn resolve(text: &str, tag: Option<&str>, is_plain: bool) -> Result<Scalar, String> {
    let Some(tag) = tag else {
        return Ok(if is_plain {
            plain(text)
        } else {
            Scalar::Text(text.to_owned())
        });
    };
    let kind = tag.strip_prefix(STANDARD).unwrap_or_default();
    let found = plain(text);
    let is_right = match (kind, &found) {
        ("binary", _) => return binary(text),
        ("float", Scalar::Int(number)) => return Ok(Scalar::Float(as_float(*number))),
        ("timestamp", Scalar::Text(_)) => is_timestamp(text),
        ("bool", Scalar::Bool(_)) | ("int", Scalar::Int(_)) | ("float", Scalar::Float(_)) | ("null", Scalar::Null) => {
            true
        }
        ("bool" | "int" | "float" | "null" | "timestamp", _) => false,
        // What has `str` or any other tag is a text to it.
        _ => return Ok(Scalar::Text(text.to_owned())),
    };
    let found = is_right.then_some(found);
    found.ok_or_else(|| format!("cannot decode it as a !!{kind}"))
}

fn plain(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Scalar::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Scalar::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Scalar::Float(f64::NEG_INFINITY),
        _ => number(text).unwrap_or_else(|| Scalar::Text(text.to_owned())),
    }
}

fn number(text: &str) -> Option<Scalar> {
    match text.as_bytes().first()? {
        b'.' => float(text),
        b'0'..=b'9' | b'+' | b'-' if !is_timestamp(text) => {
            let text = text.replace('_', "");
            let integer = integer(&text).map(Scalar::Int);
            integer.or_else(|| float(&text))
        }
        _ => None,
    }
}

/// What Go's `ParseInt` or `ParseUint` make of it with base 0 (<https://pkg.go.dev/strconv#ParseInt>).
fn integer(text: &str) -> Option<i128> {
    let (is_negative, has_sign, digits) = match text.as_bytes().first()? {
        b'-' => (true, true, &text[1..]),
        b'+' => (false, true, &text[1..]),
        _ => (false, false, text),
    };
    let prefix = digits.get(..2).map(str::to_ascii_lowercase);
    let (base, digits) = match prefix.as_deref() {
        Some("0x") => (16, &digits[2..]),
        Some("0o") => (8, &digits[2..]),
        Some("0b") => (2, &digits[2..]),
        Some(_) if digits.starts_with('0') => (8, &digits[1..]),
        _ => (10, digits),
    };
    // Another sign would be taken.
    let is_number = digits.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let value = i128::from(u64::from_str_radix(digits, base).ok().filter(|_| is_number)?);
    let limit = if has_sign {
        i128::from(i64::MAX)
    } else {
        i128::from(u64::MAX)
    };
    let value = if is_negative { -value } else { value };
    (i128::from(i64::MIN)..=limit).contains(&value).then_some(value)
}

fn float(text: &str) -> Option<Scalar> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => (unsigned, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !(exponent.is_empty() || whole.is_empty() && fraction.is_empty());
    let is_float = has_digits && [whole, fraction, exponent].into_iter().all(is_digits);
    let value: f64 = text.parse().ok().filter(|_| is_float)?;
    value.is_finite().then_some(Scalar::Float(value))
}

#[expect(clippy::cast_precision_loss, reason = "as Go converts it")]
pub(crate) fn as_float(number: i128) -> f64 {
    number as f64
}

fn binary(text: &str) -> Result<Scalar, String> {
    let problem = "!!binary value contains invalid base64 data";
    let bytes = base64(text).ok_or(problem)?;
    Ok(Scalar::Text(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Decodes base64 as Go does: with padding, over the ends of lines, and whatever the last bits are.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    use base64::Engine;
    use base64::alphabet::STANDARD;
    use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
    let config = GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true);
    let compact = text.replace(['\r', '\n'], "");
    GeneralPurpose::new(&STANDARD, config).decode(compact).ok()
}

/// Whether it is a time to kubectl's YAML parser, for which it stays the text that it is.
fn is_timestamp(text: &str) -> bool {
    let Some((year, rest)) = text.split_once('-') else {
        return false;
    };
    let Some((month, rest)) = rest.split_once('-') else {
        return false;
    };
    let at = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (day, time) = rest.split_at(at);
    let is_date = year.len() == 4 && is_between(year, 0, 9999) && month.len() <= 2 && is_between(month, 1, 12);
    if !is_date || !is_between(day, 1, days(year, month)) {
        return false;
    }
    match time.as_bytes().first() {
        None => true,
        Some(b'T' | b't') => is_time(&time[1..]).is_some_and(is_zone),
        Some(b' ') => is_time(&time[1..]) == Some(""),
        _ => false,
    }
}

fn is_between(digits: &str, least: u32, most: u32) -> bool {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && digits.parse().is_ok_and(|number: u32| (least..=most).contains(&number))
}

fn days(year: &str, month: &str) -> u32 {
    let year: u32 = year.parse().unwrap_or_default();
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    match month.trim_start_matches('0') {
        "2" if is_leap => 29,
        "2" => 28,
        "4" | "6" | "9" | "11" => 30,
        _ => 31,
    }
}

/// What is behind hours, minutes and seconds.
fn is_time(text: &str) -> Option<&str> {
    let (hour, rest) = text.split_once(':')?;
    let (minute, rest) = rest.split_once(':')?;
    let at = rest.bytes().take(2).take_while(u8::is_ascii_digit).count();
    let (second, rest) = rest.split_at(at);
    let short = |digits: &str, most| digits.len() <= 2 && is_between(digits, 0, most);
    let is_right = short(hour, 23) && short(minute, 59) && short(second, 59);
    let rest = match rest.strip_prefix(['.', ',']) {
        Some(fraction) if fraction.starts_with(|c: char| c.is_ascii_digit()) => {
            fraction.trim_start_matches(|c: char| c.is_ascii_digit())
        }
        _ => rest,
    };
    is_right.then_some(rest)
}

fn is_zone(text: &str) -> bool {
    let offset = text.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'));
    let is_offset = |(hour, minute): (&str, &str)| {
        hour.len() == 2 && minute.len() == 2 && is_between(hour, 0, 24) && is_between(minute, 0, 59)
    };
    text == "Z" || offset.is_some_and(is_offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_texts_are_what_kubectl_takes_them_for() {
        let number = |text: &str| match resolve(text, None, true) {
            Ok(Scalar::Int(number)) => Some(as_float(number)),
            Ok(Scalar::Float(number)) => Some(number),
            _ => None,
        };
        for (text, expected) in [
            ("0", 0.0),
            ("0123", 83.0),
            ("08", 8.0),
            ("0o17", 15.0),
            ("0x1F", 31.0),
            ("-0b11", -3.0),
            ("+1", 1.0),
            ("1_000", 1000.0),
            ("1e3", 1000.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("-.5e1", -5.0),
            ("18446744073709551615", 18_446_744_073_709_551_615.0),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in [
            "12:30:45",
            "2001-01-02",
            "1e400",
            "0xfffffffffffffffff",
            ".",
            "-",
            "+",
            "0x",
            "--1",
            "1e",
            "._5",
            "abc",
            "1 2",
            "-0x-1",
        ] {
            assert_eq!(number(text), None, "{text}");
            assert_eq!(resolve(text, None, true), Ok(Scalar::Text(text.into())), "{text}");
        }
        assert_eq!(resolve("on", None, true), Ok(Scalar::Bool(true)));
        assert_eq!(resolve("on", None, false), Ok(Scalar::Text("on".into())));
    }

    #[test]
    fn tags_say_what_a_text_must_be() {
        let tagged = |tag: &str, text: &str| resolve(text, Some(&format!("{STANDARD}{tag}")), false);
        assert_eq!(tagged("int", "1"), Ok(Scalar::Int(1)));
        assert_eq!(tagged("float", "1"), Ok(Scalar::Float(1.0)));
        assert_eq!(tagged("binary", "aGk="), Ok(Scalar::Text("hi".into())));
        for time in [
            "2001-1-2",
            "2001-02-28T1:2:3.5Z",
            "2001-02-28t01:02:03+01:30",
            "2001-02-28 01:02:03",
        ] {
            assert_eq!(tagged("timestamp", time), Ok(Scalar::Text(time.into())));
        }
        for (tag, text) in [
            ("int", "a"),
            ("int", "1.5"),
            ("bool", "1"),
            ("null", "a"),
            ("binary", "?"),
            ("timestamp", "soon"),
            ("timestamp", "1"),
            ("timestamp", "2001-02-29"),
            ("timestamp", "2001-02-28 01:02:03Z"),
        ] {
            assert!(tagged(tag, text).is_err(), "!!{tag} {text}");
        }
        assert_eq!(resolve("1", Some("!mine"), true), Ok(Scalar::Text("1".into())));
    }
}
