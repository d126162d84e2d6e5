//! Looking for tokens in what a file says, in each way in which it can be read.

use std::collections::BTreeSet;

use aho_corasick::AhoCorasick;

use super::SHORTEST_PART;
use super::document::{self, Kind};
use crate::Outcome;

/// Looks for the tokens that are known, and for everything that looks like one.
pub(super) struct Search {
    /// Finds the last part of each: no other token has it, and it makes the token work.
    signatures: AhoCorasick,
}

// === impl Search ===

impl Search {
    pub(super) fn new(tokens: &BTreeSet<String>) -> Outcome<Self> {
        let signatures = tokens.iter().filter_map(|token| token.rsplit('.').next());
        Ok(Self {
            signatures: AhoCorasick::new(signatures)?,
        })
    }

    /// The lines at which a token can be read in a file of that kind, counted from 1.
    pub(super) fn lines(&self, kind: Kind, bytes: &[u8]) -> BTreeSet<usize> {
        let text = document::text(bytes);
        let mut lines = BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let is_shown = |text: &str| self.is_in(text);
            if is_shown(line) || kind.is_lines() && document::strings_of_json(line, &is_shown) {
                lines.insert(index + 1);
            }
        }
        // One that is broken over lines, by the format's own rules or by a terminal's.
        lines.extend(self.broken(&text));
        if lines.is_empty() && document::strings_of(kind, &text, &|text: &str| self.is_in(text)) {
            lines.insert(1);
        }
        lines
    }

    fn is_in(&self, text: &str) -> bool {
        self.signatures.is_match(text) || looks_like_one(text)
    }

    /// The lines at which tokens end that are known, whatever white space is inside of them.
    fn broken(&self, text: &str) -> Vec<usize> {
        let mut squeezed = String::with_capacity(text.len());
        let mut ends = Vec::new();
        for c in text.chars() {
            if c == '\n' {
                ends.push(squeezed.len());
            }
            if !c.is_whitespace() {
                squeezed.push(c);
            }
        }
        let found = self.signatures.find_iter(&squeezed);
        found
            .map(|found| ends.partition_point(|end| *end < found.end()) + 1)
            .collect()
    }
}

/// Whether there is something in `text` that looks like a token, also one of another issuer. A token is a JWT in the
/// compact form (<https://datatracker.ietf.org/doc/html/rfc7519#section-3>), whose first part is a JSON object in
/// base64.
fn looks_like_one(text: &str) -> bool {
    let is_of_one = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let words = text
        .split(|c| !is_of_one(c))
        .filter_map(|word| word.find("eyJ").map(|at| &word[at..]));
    words.map(|word| word.split('.')).any(|parts| {
        let lengths: Vec<_> = parts.map(str::len).collect();
        lengths.len() >= 3 && lengths[..3].iter().all(|length| *length >= SHORTEST_PART)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_of_another_issuer_is_found_too() {
        let part = "eyJhbGciOiJSUzI1NiJ9";
        assert!(looks_like_one(&format!(
            r#"{{"token":"{part}.{part}.c2lnbmF0dXJlLW9mLWl0"}}"#
        )));
        assert!(looks_like_one(&format!("Bearer {part}.{part}.c2lnbmF0dXJlLW9mLWl0.")));
        for none in [
            part,
            &format!("{part}.{part}"),
            "eyJ.eyJ.x",
            "tka.tailnet.test keyJkk.io.v1",
        ] {
            assert!(!looks_like_one(none), "{none}");
        }
    }

    #[test]
    fn token_that_is_broken_over_lines_is_at_its_last_line() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0";
        let search = Search::new(&BTreeSet::from([token.to_owned()])).unwrap();
        let broken = format!("one\n  {}\n  {}\nfour", &token[..50], &token[50..]);
        assert_eq!(search.lines(Kind::Text, broken.as_bytes()), BTreeSet::from([3]));
    }
}
