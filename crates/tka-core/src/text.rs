//! Texts from outside, in errors.

/// How much of a bad value an error shows.
pub(crate) const SHOWN_CHARACTERS: usize = 120;

/// The beginning of a text from outside, for people to recognise it by: a caller may send a very long one.
#[must_use]
pub fn shorten(value: &str) -> String {
    shorten_to(value, SHOWN_CHARACTERS)
}

/// The same, so many characters of it.
#[must_use]
pub fn shorten_to(value: &str, characters: usize) -> String {
    match value.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.into(),
    }
}
