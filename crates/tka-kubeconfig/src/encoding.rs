//! The encoding of a kubeconfig: UTF-8, or with a mark UTF-16, which kubectl reads too.

use std::borrow::Cow;

use crate::Unreadable;

/// Whether a file begins with the mark of UTF-16, as what Windows PowerShell writes with `>` does.
#[must_use]
fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF])
}

/// What kubectl takes it for.
pub(crate) fn decode(bytes: &[u8]) -> Result<Cow<'_, str>, Unreadable> {
    let Some((_, body)) = bytes.split_at_checked(2).filter(|_| is_utf16(bytes)) else {
        return utf8(bytes).map(Cow::Borrowed);
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

/// `bytes` as UTF-8; else in which line they are not.
pub(crate) fn utf8(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|error| {
        let valid = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        let line = valid.matches('\n').count();
        Unreadable::new(line + 1, "it has bytes that are not UTF-8; save it as UTF-8")
    })
}
