//! The credentials that were issued, and whether any of them can be read in a log.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::Outcome;

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

    /// Where the signature of a token can be read below `logs`: that part is in no other token, and makes this one work.
    pub fn find_in(&self, logs: &Path) -> Outcome<Vec<String>> {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for file in files(logs)? {
            let text = String::from_utf8_lossy(&fs::read(&file)?).into_owned();
            for (number, line) in text.lines().enumerate() {
                if tokens
                    .iter()
                    .any(|token| line.contains(token.rsplit('.').next().unwrap_or(token)))
                {
                    found.push(format!("{}:{}", file.display(), number + 1));
                }
            }
        }
        Ok(found)
    }
}

fn files(dir: &Path) -> Outcome<Vec<std::path::PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(self::files(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_wherever_it_stands_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("a.log"), "head.claims.other\nhead.claims\n").unwrap();
        let tokens = Tokens::default();
        tokens.add("head.claims.signature");
        assert_eq!(tokens.find_in(dir.path()).unwrap(), Vec::<String>::new());
        fs::write(dir.path().join("deep/b.log"), "x\nclaims.signature\"}").unwrap();
        let found = tokens.find_in(dir.path()).unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].ends_with("deep/b.log:2"), "{found:?}");
    }
}
