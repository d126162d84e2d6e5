//! What a server tells without a session.

use jiff::SignedDuration;
use tka_api::http::RuleList;

use super::{Client, ClientError, ClientErrorKind, Operation};
use crate::exit::Exit;

/// The `Server` header of this project's server, before the version (RFC 9110, 10.2.4).
const SERVER_HEADER_PREFIX: &str = "tka-server/";

/// What a server told.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The rules that apply. None from a server without a list of rules, such as the original's.
    pub(crate) rules: Result<Option<RuleList>, ClientError>,
    /// By how much its clock is ahead of this machine's, in whole seconds.
    pub(crate) clock_ahead: Option<SignedDuration>,
    /// The version of this project's server. None for other servers.
    pub(crate) version: Option<String>,
}

// === impl Probe ===

impl Probe {
    /// Whether a TKA server responded.
    pub(crate) fn is_tka_server(&self) -> bool {
        self.version.is_some() || self.is_compatible()
    }

    /// Whether the response can be read.
    pub(crate) fn is_compatible(&self) -> bool {
        let is_rejected = |error: &ClientError| matches!(&*error.kind, ClientErrorKind::Rejected { .. });
        self.rules.as_ref().err().is_none_or(is_rejected)
    }
}

// === impl Client ===

impl Client {
    /// Sends requests that every TKA server supports, with or without a session.
    pub(crate) fn probe(&self) -> Probe {
        let response = match self.request(Operation::ListRules) {
            Ok(response) => response,
            Err(error) => {
                return Probe {
                    rules: Err(error),
                    clock_ahead: None,
                    version: None,
                };
            }
        };
        let server_header = response.server_header.as_deref().unwrap_or_default();
        let rules = match response.status {
            200 => self.decode(Operation::ListRules, &response).map(Some),
            _ => Err(self.refusal(Operation::ListRules, &response)),
        };
        let rules = match rules {
            Err(error) if error.is_unsupported() => self.check_access().map(|()| None),
            other => other,
        };
        Probe {
            rules,
            clock_ahead: response.clock_ahead,
            version: server_header.strip_prefix(SERVER_HEADER_PREFIX).map(ToOwned::to_owned),
        }
    }

    /// Checks access by a request that the original's server supports too.
    fn check_access(&self) -> Result<(), ClientError> {
        match self.session() {
            Err(error) if error.exit() != Exit::NotSignedIn => Err(error),
            _ => Ok(()),
        }
    }
}
