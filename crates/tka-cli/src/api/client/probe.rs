//! What can be learned of a server with next to nothing known about it.

use jiff::SignedDuration;
use tka_api::http::RuleList;

use super::{Client, ClientError, ClientErrorKind, Operation};
use crate::exit::Exit;

/// What this project's server calls itself, before its version (RFC 9110, 10.2.4).
const SERVER_HEADER_PREFIX: &str = "tka-server/";

/// What a server let be seen of itself.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The rules that reach the caller; none from a server that lets the caller in and does not tell of rules, as the original's.
    pub(crate) rules: Result<Option<RuleList>, ClientError>,
    /// By how much its clock is ahead of this machine's, to the second.
    pub(crate) clock_ahead: Option<SignedDuration>,
    /// The version of this project's server; none of another.
    pub(crate) version: Option<String>,
}

// === impl Probe ===

impl Probe {
    /// Whether a TKA server answered, in whatever words.
    pub(crate) fn is_tka_server(&self) -> bool {
        self.version.is_some() || self.is_compatible()
    }

    /// Whether the answer can be understood.
    pub(crate) fn is_compatible(&self) -> bool {
        let said_no = |error: &ClientError| matches!(&*error.kind, ClientErrorKind::Rejected { .. });
        self.rules.as_ref().err().is_none_or(said_no)
    }
}

// === impl Client ===

impl Client {
    /// Asks what can be asked of any TKA server, signed in or not.
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

    /// Asks what the original's server knows, too.
    fn check_access(&self) -> Result<(), ClientError> {
        match self.session() {
            Err(error) if error.exit() != Exit::NotSignedIn => Err(error),
            _ => Ok(()),
        }
    }
}
