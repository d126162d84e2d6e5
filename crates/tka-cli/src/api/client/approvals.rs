//! Requests about sign-ins that wait for approval.

use tka_api::http::{ApprovalInfo, ApprovalList, DecisionRequest};

use super::lists::escaped;
use super::{Client, ClientError, Operation};

// === impl Client ===

impl Client {
    /// What the caller may decide, and what they wait for.
    pub(crate) fn approvals(&self) -> Result<ApprovalList, ClientError> {
        self.fetch_with_times(Operation::ListApprovals, "")
    }

    /// Decides about the sign-in that waits for that session. Returns how it stands then.
    pub(crate) fn decide(&self, session: &str, decision: &DecisionRequest) -> Result<ApprovalInfo, ClientError> {
        let (operation, below) = (Operation::Decide, format!("/{}", escaped(session)));
        let response = self.request_with(operation, &below, Some(&serde_json::json!(decision)))?;
        match response.status {
            200 => self.decode_with_times(operation, &response),
            _ => Err(self.refusal(operation, &response)),
        }
    }

    /// Ends the wait of the caller's own sign-in.
    pub(crate) fn withdraw(&self, session: &str) -> Result<ApprovalInfo, ClientError> {
        self.fetch_with_times(Operation::Withdraw, &format!("/{}", escaped(session)))
    }
}
