//! The credentials that were issued, and whether any of them can be read in a log.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::Outcome;

/// What each part of a token has at the least; less is a word with dots in it.
const SHORTEST_PART: usize = 16;

/// Every token that was issued to a test.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<BTreeSet<String>>);

// === impl Tokens ===

impl Tokens {
    /// Remembers a token.
    pub fn add(&self, token: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(token.to_owned());
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Where a token can be read in `files`, also one that no test was given. Of those that are known the signature is looked for: that
    /// part is in no other token, and makes this one work.
    pub fn find_in(&self, files: &[PathBuf]) -> Outcome<Vec<String>> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signatures: Vec<_> = tokens.iter().filter_map(|token| token.rsplit('.').next()).collect();
        let mut found = Vec::new();
        for file in files {
            let text = String::from_utf8_lossy(&fs::read(file)?).into_owned();
            for (number, line) in text.lines().enumerate() {
                if holds_a_token(line) || signatures.iter().any(|signature| line.contains(signature)) {
                    found.push(format!("{}:{}", file.display(), number + 1));
                }
            }
        }
        Ok(found)
    }
}

/// Whether there is something in `text` that looks like a token, whoever issued it: a JWT in the compact form
/// (<https://datatracker.ietf.org/doc/html/rfc7519#section-3>), whose first part is a JSON object in base64.
fn holds_a_token(text: &str) -> bool {
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
    use crate::files;

    #[test]
    fn a_token_is_found_wherever_it_stands_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("a.log"), "head.claims.other\nhead.claims\n").unwrap();
        let tokens = Tokens::default();
        tokens.add("head.claims.signature");
        let find = || tokens.find_in(&files::below(dir.path()).unwrap()).unwrap();
        assert_eq!(find(), Vec::<String>::new());
        fs::write(dir.path().join("deep/b.log"), "x\nclaims.signature\"}").unwrap();
        let found = find();
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("deep/b.log:2"), "{found:?}");
    }

    #[test]
    fn a_token_that_nobody_was_given_is_found_too() {
        let part = "eyJhbGciOiJSUzI1NiJ9";
        assert!(holds_a_token(&format!(
            r#"{{"token":"{part}.{part}.c2lnbmF0dXJlLW9mLWl0"}}"#
        )));
        assert!(holds_a_token(&format!("Bearer {part}.{part}.c2lnbmF0dXJlLW9mLWl0.")));
        for none in [
            part,
            &format!("{part}.{part}"),
            "eyJ.eyJ.x",
            "tka.tailnet.test keyJkk.io.v1",
        ] {
            assert!(!holds_a_token(none), "{none}");
        }
    }
}
