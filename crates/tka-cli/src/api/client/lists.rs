//! Requests that only this project's server supports: the caller's sessions and rules.

use std::fmt::Write as _;

use tka_api::http::{RuleList, SessionInfo, SessionList};

use super::{Client, ClientError, Operation};

// === impl Client ===

impl Client {
    /// The caller's sessions on all devices.
    pub(crate) fn sessions(&self) -> Result<SessionList, ClientError> {
        self.fetch_with_times(Operation::ListSessions, "")
    }

    /// The rules that apply.
    pub(crate) fn rules(&self) -> Result<RuleList, ClientError> {
        self.fetch(Operation::ListRules, "")
    }

    /// The rules to select from. Fails at the original's server, which would ignore a selection.
    pub(crate) fn selectable_rules(&self) -> Result<RuleList, ClientError> {
        self.fetch(Operation::SelectRule, "")
    }

    /// Ends one of the caller's sessions, and returns it.
    pub(crate) fn end_session(&self, name: &str) -> Result<SessionInfo, ClientError> {
        self.fetch_with_times(Operation::EndSession, &format!("/{}", escaped(name)))
    }
}

/// The query that has these names and values, with its question mark; nothing where there are none.
pub(super) fn query_of(pairs: &[(&str, String)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", escaped(value)))
        .collect();
    format!("?{}", pairs.join("&"))
}

/// Escapes `text` as one path segment (RFC 3986, 3.3). Dots too, since a segment of dots leads elsewhere.
pub(super) fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::{escaped, query_of};

    #[test]
    fn a_name_stays_in_its_segment() {
        assert_eq!(escaped("tka-alice-2x"), "tka-alice-2x");
        assert_eq!(query_of(&[]), "");
        let query = query_of(&[("user", "a&b=c".to_owned()), ("after", "x".to_owned())]);
        assert_eq!(query, "?user=a%26b%3Dc&after=x");
        assert_eq!(escaped("../login?a=b#c ü"), "%2E%2E%2Flogin%3Fa%3Db%23c%20%C3%BC");
    }
}
