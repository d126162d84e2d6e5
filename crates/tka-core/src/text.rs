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

/// Whether `c` cannot stand in a name that a kubeconfig holds: kubectl, editors and readers of YAML take it for a line end or for nothing, or refuse the
/// file that has it. Those are the control characters, U+2028 and U+2029, which end a line for some, U+FEFF, which is a byte order mark, and U+FFFE and U+FFFF,
/// which YAML forbids (<https://yaml.org/spec/1.2.2/#51-character-set>).
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// Lets a type that holds a text and nothing else be read and shown as that text.
macro_rules! text_type {
    ($type:ident) => {
        impl $type {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use text_type;
