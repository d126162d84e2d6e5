//! The credentials that were issued, and whether a file shows any of them.

mod document;
mod search;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use self::search::Search;
use crate::Outcome;

/// What each part of a token has at the least; less is a word with dots in it.
const SHORTEST_PART: usize = 16;

/// Every token that was issued to a test.
#[derive(Debug, Default)]
pub struct Tokens(Mutex<BTreeSet<String>>);

/// What a search came to.
#[derive(Debug, Default)]
pub struct Found {
    /// Where a token can be read: `FILE:LINE`.
    pub places: Vec<String>,
    /// How many files of each kind were searched, by the kind's name.
    pub kinds: Vec<(&'static str, usize)>,
}

// === impl Tokens ===

impl Tokens {
    /// Remembers a token. Fails when it is none: a search for it would find other things, or nothing.
    pub fn add(&self, token: &str) -> Outcome {
        if !is_token(token) {
            // It may be a secret all the same, and is not shown.
            return Err(format!(
                "{} characters that are not three parts of base64 are no token",
                token.len()
            )
            .into());
        }
        self.lock().insert(token.to_owned());
        Ok(())
    }

    /// Remembers the tokens of all users of a kubeconfig, in YAML or JSON, and returns how many there are.
    pub fn add_kubeconfig(&self, text: &str) -> Outcome<usize> {
        let kubeconfig: Value = serde_saphyr::from_str(text)?;
        let users = kubeconfig["users"].as_array().map(Vec::as_slice).unwrap_or_default();
        let tokens: Vec<_> = users
            .iter()
            .filter_map(|named| named["user"]["token"].as_str())
            .collect();
        tokens.iter().try_for_each(|token| self.add(token))?;
        Ok(tokens.len())
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Where a token can be read in `files`, also one that no test was given. For each kind of file it is first shown that the search
    /// finds a token in it. One is written into a copy of the first such file. Fails when that one is not found.
    pub fn find_in(&self, files: &[PathBuf]) -> Outcome<Found> {
        let tokens = self.lock().clone();
        let search = Search::new(&tokens)?;
        let mut found = Found::default();
        for file in files {
            let bytes = fs::read(file)?;
            let kind = document::Kind::of(file, &bytes);
            if let Some((_, count)) = found.kinds.iter_mut().find(|(name, _)| *name == kind.name()) {
                *count += 1;
            } else {
                prove(&search, &tokens, file, &bytes)?;
                found.kinds.push((kind.name(), 1));
            }
            let lines = search.lines(kind, &bytes);
            found
                .places
                .extend(lines.into_iter().map(|line| format!("{}:{line}", file.display())));
        }
        Ok(found)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Fails unless `search` finds one of `tokens` in what is in `file`, once it is planted there.
fn prove(search: &Search, tokens: &BTreeSet<String>, file: &Path, bytes: &[u8]) -> Outcome {
    let Some(token) = tokens.first() else { return Ok(()) };
    let kind = document::Kind::of(file, bytes);
    let before = search.lines(kind, bytes).len();
    for (how, planted) in document::planted(kind, bytes, token) {
        if search.lines(kind, &planted).len() <= before {
            let (file, kind) = (file.display(), kind.name());
            return Err(format!("the search does not find a token {how} in {file}, which is read as {kind}").into());
        }
    }
    Ok(())
}

/// Whether it is a JWT in the compact form (<https://datatracker.ietf.org/doc/html/rfc7519#section-3>), by its shape.
fn is_token(text: &str) -> bool {
    let parts: Vec<_> = text.split('.').collect();
    let is_base64 = |part: &&str| {
        part.bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    parts.len() == 3 && parts.iter().all(|part| !part.is_empty() && is_base64(part)) && parts[2].len() >= SHORTEST_PART
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files;

    const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLW9mLWl0";

    fn tokens() -> Tokens {
        let tokens = Tokens::default();
        tokens.add(TOKEN).unwrap();
        tokens
    }

    #[test]
    fn what_is_no_token_is_not_remembered() {
        let tokens = Tokens::default();
        for none in [
            ">-",
            "",
            "a.b.c",
            "token",
            "head.claims.with a space in it it",
            &format!("{TOKEN}.x"),
        ] {
            assert!(tokens.add(none).is_err(), "{none}");
        }
        assert_eq!(tokens.count(), 0);
    }

    /// `cases.md` 12: `>-` was taken for the token.
    #[test]
    fn tokens_of_a_kubeconfig_are_read_however_it_is_written() {
        let (head, rest) = TOKEN.split_at(30);
        for text in [
            format!("users:\n- name: a\n  user:\n    token: >-\n      {TOKEN}\n"),
            format!("users:\n- name: a\n  user:\n    token: |-\n      {TOKEN}\n"),
            format!("users:\n- name: a\n  user:\n    token: \"{head}\\\n      {rest}\"\n"),
            format!("users: [{{name: a, user: {{\"token\": '{TOKEN}'}}}}]"),
            format!(r#"{{"users":[{{"user":{{"token":"{TOKEN}"}},"name":"a"}}]}}"#),
        ] {
            let tokens = Tokens::default();
            assert_eq!(tokens.add_kubeconfig(&text).unwrap(), 1, "{text}");
            assert_eq!(tokens.lock().first().map(String::as_str), Some(TOKEN), "{text}");
        }
        assert_eq!(Tokens::default().add_kubeconfig("users: null").unwrap(), 0);
    }

    #[test]
    fn places_are_a_file_and_a_line() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("deep")).unwrap();
        fs::write(dir.path().join("a.log"), "head.claims.other\nhead.claims\nkey: >-\n").unwrap();
        let find = || tokens().find_in(&files::below(dir.path()).unwrap()).unwrap();
        assert_eq!(find().places, Vec::<String>::new());
        fs::write(dir.path().join("deep/b.log"), format!("x\n{}\"}}", &TOKEN[20..])).unwrap();
        let found = find();
        assert_eq!(found.places.len(), 1);
        assert!(found.places[0].ends_with("deep/b.log:2"), "{found:?}");
        assert_eq!(found.kinds, [("text", 2)]);
    }
}
