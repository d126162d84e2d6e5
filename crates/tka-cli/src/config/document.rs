//! Reads a configuration file as YAML, and says in words of settings what is wrong with it.

use std::path::Path;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde_saphyr::{Error, Options, budget::BudgetBreach};

use super::error::ConfigError;

/// What the file at `path` says with `text`. None where it says nothing. Empty documents are read over, as in kubeconfigs.
pub(super) fn parse<T: DeserializeOwned>(path: &Path, text: &str) -> Result<Option<T>, ConfigError> {
    let mut documents =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| explained(path, text, &error))?;
    if documents.len() > 1 {
        let path = path.to_owned();
        return Err(ConfigError::Documents { path });
    }
    Ok(documents.pop())
}

fn options() -> Options {
    serde_saphyr::options! { with_snippet: false }
}

/// The library's words are for programs that use it, where these are not.
fn explained(path: &Path, text: &str, error: &Error) -> ConfigError {
    let path = path.to_owned();
    let error = error.without_snippet();
    let line = error.location().map_or(1, |place| place.line());
    let what = match error {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` is there twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key is there twice".to_owned(),
        Error::NullIntoString { .. } => "a key is empty".to_owned(),
        Error::Budget {
            breach: BudgetBreach::Depth { .. },
            ..
        } => "it has too many levels".to_owned(),
        Error::Budget { .. } => "it has more parts than settings may have".to_owned(),
        _ if is::<Vec<IgnoredAny>>(text) => "expected keys with values, found a list".to_owned(),
        _ if is::<String>(text) => "expected keys with values, found a text".to_owned(),
        error => {
            let problem = error.to_string();
            return ConfigError::Malformed { path, problem };
        }
    };
    let problem = format!("line {line}: {what}");
    ConfigError::Unusable { path, problem }
}

fn is<T: DeserializeOwned>(text: &str) -> bool {
    serde_saphyr::from_str_with_options::<T>(text, options()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Map, Value};

    fn read(text: &str) -> Result<Option<Map<String, Value>>, String> {
        parse(Path::new("x"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn empty_documents_are_read_over() {
        for text in [
            "a: 1\n---\n",
            "---\na: 1\n---\n...\n",
            "a: 1\n---\n# nothing\n---\n",
            "---\n---\na: 1\n",
        ] {
            let found = read(text).unwrap().unwrap();
            assert_eq!(found["a"], 1, "{text}");
        }
        for text in ["", "---\n---\n", "# nothing\n---\n"] {
            assert_eq!(read(text), Ok(None), "{text}");
        }
        assert!(
            read("a: 1\n---\na: 2\n")
                .unwrap_err()
                .contains("has several YAML documents")
        );
    }

    #[test]
    fn what_is_wrong_is_said_in_words_of_settings() {
        let deep = format!("a: 1\nb: {}{}\n", "[".repeat(70), "]".repeat(70));
        let large = format!("a: 1\nb: [{}]\n", "1,".repeat(250_001));
        for (text, said) in [
            ("a: 1\na: 2\n", "line 2: the key `a` is there twice"),
            ("a: {b: 1,\n b: 2}\n", "line 2: the key `b` is there twice"),
            ("# x\n- a\n- b\n", "line 2: expected keys with values, found a list"),
            ("[]", "line 1: expected keys with values, found a list"),
            ("\ntka\n", "line 2: expected keys with values, found a text"),
            ("5", "line 1: expected keys with values, found a text"),
            ("a: 1\n: 2\n", "line 2: a key is empty"),
            (&deep, "line 2: it has too many levels"),
            (&large, "line 2: it has more parts than settings may have"),
        ] {
            let expected = format!("the configuration file x cannot be used: {said}");
            let shown: String = text.chars().take(40).collect();
            assert_eq!(read(text), Err(expected), "{shown}");
        }
        for text in ["a: {b: 1", "a: 'b", "a: *b", "a: b: c"] {
            let error = read(text).unwrap_err();
            assert!(
                error.starts_with("the configuration file x is not YAML: ") && error.contains("line 1"),
                "{error}"
            );
        }
    }
}
