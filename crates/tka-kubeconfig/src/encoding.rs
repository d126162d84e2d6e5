//! The encoding of a kubeconfig: UTF-8, or with a mark UTF-16, which kubectl reads too.

use std::borrow::Cow;
use std::io;
use std::str::Utf8Error;

use crate::Unreadable;

/// Whether a file begins with the mark of UTF-16, as what Windows PowerShell writes with `>` does.
#[must_use]
fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF])
}

/// Why a file is not UTF-8.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotUtf8 {
    /// It begins with the mark of UTF-16.
    #[error("it is UTF-16, as `>` of Windows PowerShell writes it")]
    Utf16,
    /// It has bytes that stand for no character.
    #[error("line {line}: it has bytes that are not UTF-8")]
    Bytes {
        /// Where the first of them is; the first line is 1.
        line: usize,
    },
}

/// What kubectl takes it for.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Unreadable> {
    let Some((_, body)) = bytes.split_at_checked(2).filter(|_| is_utf16(bytes)) else {
        let text = std::str::from_utf8(bytes).map(Cow::Borrowed);
        return text.map_err(|error| {
            let line = line_of(bytes, error);
            Unreadable::new(line, "it has bytes that are not UTF-8; save it as UTF-8")
        });
    };
    let units = body.chunks(2).map(|unit| match (unit, bytes[0]) {
        ([low, high], 0xFF) | ([high, low], _) => u16::from_be_bytes([*high, *low]),
        // Half a unit stands for no character.
        _ => 0xDC00,
    });
    let text: Result<String, _> = char::decode_utf16(units).collect();
    text.map(Cow::Owned)
        .map_err(|_| Unreadable::new(1, "it has characters that are not UTF-16"))
}

/// The text of a file in UTF-8.
///
/// # Errors
///
/// Where it has another encoding.
pub fn utf8(bytes: &[u8]) -> Result<&str, NotUtf8> {
    std::str::from_utf8(bytes).map_err(|error| {
        if is_utf16(bytes) {
            return NotUtf8::Utf16;
        }
        let line = line_of(bytes, error);
        NotUtf8::Bytes { line }
    })
}

/// The line in which `bytes` cease to be UTF-8; the first is 1.
fn line_of(bytes: &[u8], error: Utf8Error) -> usize {
    let valid = &bytes[..error.valid_up_to()];
    valid.split(|byte| *byte == b'\n').count()
}

impl From<NotUtf8> for io::Error {
    fn from(error: NotUtf8) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_named_by_its_mark_and_else_by_the_line() {
        for (bytes, said) in [
            (&b"a: b\n"[..], "a: b\n"),
            (b"# k\xfcche\n", "line 1: it has bytes that are not UTF-8"),
            (b"a: b\r\n\nx: \xe4\n", "line 3: it has bytes that are not UTF-8"),
            (b"\xff\xfea\0", "it is UTF-16, as `>` of Windows PowerShell writes it"),
            (b"\xfe\xff\0a", "it is UTF-16, as `>` of Windows PowerShell writes it"),
        ] {
            let read = utf8(bytes).map_or_else(|error| error.to_string(), ToOwned::to_owned);
            assert_eq!(read, said);
        }
    }
}
