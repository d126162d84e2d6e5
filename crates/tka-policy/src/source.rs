//! Places in a text.

use serde::Serialize;

/// How many bytes lie between two counts of characters.
const STEP: usize = if cfg!(test) { 64 } else { 4096 };

/// A place in a text, as editors count: lines and characters from 1.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in it.
    pub column: usize,
}

/// Where the lines of a text are, so that a place is found without reading the text again. A policy may be one line of many megabytes.
#[derive(Clone, Debug)]
pub struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
    /// How many characters begin before each multiple of [`STEP`] bytes.
    characters: Vec<usize>,
}

// === impl Lines ===

impl<'a> Lines<'a> {
    /// Counts the lines of `text`.
    #[must_use]
    pub fn new(text: &'a str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect();
        let mut count = 0;
        let mut characters = vec![0];
        for chunk in text.as_bytes().chunks(STEP) {
            count += begun(chunk);
            characters.push(count);
        }
        Self {
            text,
            starts,
            characters,
        }
    }

    /// The place of the byte `at`.
    #[must_use]
    pub fn position(&self, at: usize) -> Position {
        let at = at.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        Position {
            line,
            column: self.characters_before(at).saturating_sub(self.characters_before(start)) + 1,
        }
    }

    fn characters_before(&self, at: usize) -> usize {
        let counted = self.characters.get(at / STEP).copied().unwrap_or(0);
        counted + begun(&self.text.as_bytes()[at - at % STEP..at])
    }
}

/// How many characters begin in these bytes of UTF-8.
fn begun(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| (*byte & 0b1100_0000) != 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_and_characters_count_from_one() {
        let text = "{\n  \"ü\": 1\r\n}";
        let at = |what: &str| {
            let position = Lines::new(text).position(text.find(what).unwrap());
            (position.line, position.column)
        };
        assert_eq!(at("{"), (1, 1));
        assert_eq!(at("\"ü"), (2, 3));
        assert_eq!(at("1"), (2, 8));
        assert_eq!(at("}"), (3, 1));
        assert_eq!(Lines::new("").position(7), Position { line: 1, column: 1 });
    }

    proptest! {
        #[test]
        fn place_is_the_one_that_counting_finds(text in "(\\PC|\n){0,300}", part in 0.0..1.0) {
            #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "some place in a short text")]
            let mut at = (text.len() as f64 * part) as usize;
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let before = &text[..at];
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            prop_assert_eq!(Lines::new(&text).position(at), Position { line, column });
        }
    }
}
