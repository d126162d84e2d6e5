//! How values of settings are read.

use std::path::Path;

use serde_json::Value;

use super::error::{ConfigError, Origin, PROXY_URL};
use crate::terminal::theme::Theme;

/// A value and its origin.
pub(crate) struct RawValue {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

// === impl RawValue ===

impl RawValue {
    pub(crate) fn text(self) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            _ => Err(self.type_error("a text")),
        }
    }

    /// A relative path would mean another file in each folder.
    pub(crate) fn absolute_path(self) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(path) if path.is_empty() => Ok(None),
            Value::String(path) if Path::new(path).is_absolute() => Ok(Some(path.clone())),
            _ => Err(self.type_error("an absolute path")),
        }
    }

    pub(crate) fn proxy(self) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(url) if url.is_empty() => Ok(None),
            Value::String(url) if crate::net::proxy::is_url(url) => Ok(Some(url.clone())),
            // The value may contain a password, and users copy errors into tickets.
            Value::String(_) => Err(ConfigError::Proxy { origin: self.origin }),
            _ => Err(self.type_error(PROXY_URL)),
        }
    }

    pub(crate) fn port(self) -> Result<Option<u16>, ConfigError> {
        let port = match &self.value {
            Value::Null => return Ok(None),
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match port {
            Some(port) if port > 0 => Ok(Some(port)),
            _ => Err(self.type_error("a port from 1 to 65535")),
        }
    }

    pub(crate) fn theme(self) -> Result<Option<Theme>, ConfigError> {
        match self.value.as_str().map(Theme::named) {
            Some(Some(theme)) => Ok(Some(theme)),
            None if self.value.is_null() => Ok(None),
            _ => Err(self.type_error(&format!("one of {}", Theme::names()))),
        }
    }

    /// Reads the spellings that the original reads.
    pub(crate) fn boolean(self) -> Result<Option<bool>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::Bool(switch) => Ok(Some(*switch)),
            Value::String(text) if is_one_of(text, &["1", "t", "true"]) => Ok(Some(true)),
            Value::String(text) if is_one_of(text, &["0", "f", "false"]) => Ok(Some(false)),
            _ => Err(self.type_error("true or false")),
        }
    }

    pub(crate) fn type_error(self, expected: &str) -> ConfigError {
        let found = match self.value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a section of keys".to_owned(),
            scalar => scalar.to_string(),
        };
        ConfigError::WrongType {
            origin: self.origin,
            expected: expected.to_owned(),
            found,
        }
    }
}

fn is_one_of(text: &str, spellings: &[&str]) -> bool {
    spellings.iter().any(|spelling| text.eq_ignore_ascii_case(spelling))
}
