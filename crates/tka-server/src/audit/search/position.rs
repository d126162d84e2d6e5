//! Where a search goes on: a file, by what the system knows it by, and how much of it is left. A file that is renamed stays the same.

use std::fmt;

/// A place in the audit log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LogPosition {
    /// The device and the inode of the file.
    pub(super) file: (u64, u64),
    /// How many bytes of it are before the place.
    pub(super) offset: u64,
}

// === impl LogPosition ===

impl LogPosition {
    /// The place that `text` says, as [`Display`](fmt::Display) writes one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('-').map(|number| {
            let is_plain = (1..=16).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_plain.then(|| u64::from_str_radix(number, 16).ok()).flatten()
        });
        let mut number = || numbers.next().flatten();
        let place = Self {
            file: (number()?, number()?),
            offset: number()?,
        };
        numbers.next().is_none().then_some(place)
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}-{:x}", self.file.0, self.file.1, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_read_as_it_is_written_and_nothing_else_is() {
        let place = LogPosition {
            file: (0xfd01, u64::MAX),
            offset: 0,
        };
        assert_eq!(place.to_string(), "fd01-ffffffffffffffff-0");
        assert_eq!(LogPosition::parse(&place.to_string()), Some(place));
        for wrong in [
            "",
            "1-2",
            "1-2-3-4",
            "1--3",
            "1-2-x",
            "+1-2-3",
            "1-2-10000000000000000",
            "1-2-3\n",
            "../../x",
        ] {
            assert_eq!(LogPosition::parse(wrong), None, "{wrong}");
        }
    }
}
