//! How values of settings are read.

use std::path::Path;

use serde_json::Value;

use super::error::{ConfigError, Origin, PROXY_URL};
use crate::net::server::{HTTPS_PORT, Server};
use crate::terminal::theme::Theme;

/// A value and its origin.
pub(crate) struct RawValue {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

// === impl RawValue ===

impl RawValue {
    /// The server's address, as `--server` takes it.
    pub(crate) fn host(self) -> Result<Option<String>, ConfigError> {
        let is_host = |text: &str| Server::new(text, HTTPS_PORT, None).is_ok();
        self.address(is_host, "a name in the tailnet, a full name, an address or a URL")
    }

    pub(crate) fn tailnet(self) -> Result<Option<String>, ConfigError> {
        let is_domain = |text: &str| Server::new("a", HTTPS_PORT, Some(text)).is_ok();
        self.text(is_domain, "the tailnet's domain, such as example.ts.net")
    }

    /// Letters, digits and dashes (<https://tailscale.com/kb/1068/tags>).
    pub(crate) fn tag(self) -> Result<Option<String>, ConfigError> {
        let is_letter = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
        let is_name =
            |name: &str| name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.chars().all(is_letter);
        let is_tag = |text: &str| text.strip_prefix("tag:").is_some_and(is_name);
        self.text(is_tag, "a tag, such as tag:tka")
    }

    fn text(self, is_right: impl Fn(&str) -> bool, expected: &str) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() => Ok(None),
            Value::String(text) if is_right(text) => Ok(Some(text.clone())),
            _ => Err(self.type_error(expected)),
        }
    }

    /// A relative path would mean another file in each folder.
    pub(crate) fn absolute_path(self) -> Result<Option<String>, ConfigError> {
        self.text(|path| Path::new(path).is_absolute(), "an absolute path")
    }

    pub(crate) fn proxy(self) -> Result<Option<String>, ConfigError> {
        self.address(crate::net::proxy::is_url, PROXY_URL)
    }

    /// A text that may hold a password where it is wrong.
    fn address(self, is_right: impl Fn(&str) -> bool, expected: &'static str) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::String(text) if !text.is_empty() && !is_right(text) => {
                let origin = self.origin;
                Err(ConfigError::WrongAddress { origin, expected })
            }
            _ => self.text(is_right, expected),
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
