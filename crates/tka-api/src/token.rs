//! A bearer token that no debug print shows.

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

/// A bearer token of a session's ServiceAccount.
///
/// `Debug` prints a placeholder. The text leaves only through [`Token::expose`] and through serialization, which the
/// documents need that hand a credential to its owner. The memory is cleared on drop.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Token(SecretString);

impl Token {
    /// The token's text. The caller is responsible for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Token {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.expose())
    }
}

#[cfg(test)]
mod tests {
    use super::Token;

    #[test]
    fn debug_does_not_show_the_text() {
        let token = Token::from("eyJhbGciOi".to_owned());
        assert!(!format!("{token:?}").contains("eyJ"));
    }

    #[test]
    fn serializes_as_its_text() {
        let token = Token::from("abc".to_owned());
        assert_eq!(serde_json::to_string(&token).unwrap(), "\"abc\"");
    }
}
