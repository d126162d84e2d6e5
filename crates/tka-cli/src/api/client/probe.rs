//! What can be learned of a server with next to nothing known about it.

use jiff::SignedDuration;
use tka_api::http::RuleList;

use super::{Client, ClientError, Operation, Trouble};
use crate::exit::Exit;

/// What this project's server calls itself, before its version (RFC 9110, 10.2.4).
const SOFTWARE: &str = "tka-server/";

/// What a server let be seen of itself.
#[derive(Debug)]
pub(crate) struct Probe {
    /// The rules that reach the caller; none from a server that lets the caller in and does not tell of rules, as the original's.
    pub(crate) rules: Result<Option<RuleList>, ClientError>,
    /// By how much its clock is ahead of this machine's, to the second.
    pub(crate) ahead: Option<SignedDuration>,
    /// The version of this project's server; none of another.
    pub(crate) version: Option<String>,
}

// === impl Probe ===

impl Probe {
    /// Whether a TKA server answered, in whatever words.
    pub(crate) fn is_answered(&self) -> bool {
        self.version.is_some() || self.is_understood()
    }

    /// Whether the answer can be understood.
    pub(crate) fn is_understood(&self) -> bool {
        let said_no = |error: &ClientError| matches!(&*error.trouble, Trouble::Answered { .. });
        self.rules.as_ref().err().is_none_or(said_no)
    }
}

// === impl Client ===

impl Client {
    /// Asks what can be asked of any TKA server, signed in or not.
    pub(crate) fn probe(&self) -> Probe {
        let answer = match self.ask(Operation::ListRules) {
            Ok(answer) => answer,
            Err(error) => {
                return Probe {
                    rules: Err(error),
                    ahead: None,
                    version: None,
                };
            }
        };
        let software = answer.software.as_deref().unwrap_or_default();
        let rules = match answer.status {
            200 => self.decode(Operation::ListRules, &answer).map(Some),
            _ => Err(self.refusal(Operation::ListRules, &answer)),
        };
        let rules = match rules {
            Err(error) if error.is_unsupported() => self.is_let_in().map(|()| None),
            other => other,
        };
        Probe {
            rules,
            ahead: answer.ahead,
            version: software.strip_prefix(SOFTWARE).map(ToOwned::to_owned),
        }
    }

    /// Asks what the original's server knows, too.
    fn is_let_in(&self) -> Result<(), ClientError> {
        match self.session() {
            Err(error) if error.exit() != Exit::NotSignedIn => Err(error),
            _ => Ok(()),
        }
    }
}
