//! Requests about what is others', which only callers with oversight make.

use tka_api::http::{AuditPage, SessionInfo, SessionPage};

use super::lists::{escaped, query_of};
use super::{Client, ClientError, Operation};

// === impl Client ===

impl Client {
    /// A page of the sessions of all callers. `query` has a name and a value each.
    pub(crate) fn all_sessions(&self, query: &[(&str, String)]) -> Result<SessionPage, ClientError> {
        self.fetch_with_times(Operation::ListAllSessions, &query_of(query))
    }

    /// A page of the audit records of one replica. `query` has a name and a value each.
    pub(crate) fn audit_records(&self, query: &[(&str, String)]) -> Result<AuditPage, ClientError> {
        self.fetch(Operation::SearchAudit, &query_of(query))
    }

    /// Ends a session of another, and returns it.
    pub(crate) fn end_session_of_other(&self, name: &str, reason: Option<&str>) -> Result<SessionInfo, ClientError> {
        let reason: Vec<_> = reason.map(|reason| ("reason", reason.to_owned())).into_iter().collect();
        let below = format!("/{}{}", escaped(name), query_of(&reason));
        self.fetch_with_times(Operation::EndSessionOfOther, &below)
    }
}
