//! The records of what others decide, and of what is given by that.

use futures::FutureExt;
use futures::future::BoxFuture;
use tka_api::audit::{self, Outcome, Record};
use tka_core::{Caller, Reason, Session};
use tka_operator::{ApprovalDecision, ApprovalRequest, EndReason, NotRecorded, Records, Vote, WaitingSignIn};

use crate::audit::{Audit, AuditError};
use crate::audit_context::AuditContext;

/// Records what is given because others approved it.
pub(super) struct ApprovalAudit {
    audit: Audit,
    approval: audit::Approval,
}

// === impl ApprovalAudit ===

impl ApprovalAudit {
    pub(super) fn new(audit: &Audit, waiting: &WaitingSignIn) -> Self {
        Self {
            audit: audit.clone(),
            approval: approval(waiting, &waiting.request, None),
        }
    }
}

impl Records for ApprovalAudit {
    fn began<'a>(&'a self, session: &'a Session, extended: bool) -> BoxFuture<'a, Result<(), NotRecorded>> {
        let recorded = self.audit.approved(session, extended, self.approval.clone());
        recorded.map(|result| result.map_err(Into::into)).boxed()
    }

    fn ended<'a>(&'a self, session: &'a Session, how: &'a EndReason) -> BoxFuture<'a, ()> {
        Records::ended(&self.audit, session, how)
    }
}

// === impl Audit ===

impl Audit {
    /// Records that the caller of `context` decided about `waiting`, after which that stands as `decided` says. Unless this returns well it must not count.
    pub(super) async fn decided(
        &self,
        context: &AuditContext,
        waiting: &WaitingSignIn,
        decided: &ApprovalRequest,
        decision: ApprovalDecision,
        comment: Option<&Reason>,
    ) -> Result<(), AuditError> {
        let (decision, outcome) = match decision {
            ApprovalDecision::Approve => (audit::Decision::Approved, Outcome::Granted),
            ApprovalDecision::Deny => (audit::Decision::Denied, Outcome::Refused),
        };
        let record = Record {
            session: Some(self.session(&waiting.session())),
            approval: Some(approval(waiting, decided, comment)),
            ..self.of_request(context, decision, outcome)
        };
        self.write(&record).await
    }

    /// Records that the sign-in of `context` to `session` is to wait for others, as `request` says. Unless this returns well it must not.
    pub(crate) async fn approval_requested(
        &self,
        context: &AuditContext,
        session: &Session,
        request: &ApprovalRequest,
    ) -> Result<(), AuditError> {
        let record = Record {
            session: Some(self.session(session)),
            approval: Some(approval_of(&session.caller, request, None)),
            ..self.of_request(context, audit::Decision::ApprovalRequested, Outcome::Pending)
        };
        self.write(&record).await
    }

    /// Records that `waiting` ends undecided, because of `why`; `context` is the request that asks for that, if one does.
    pub(super) async fn approval_ended(&self, context: Option<&AuditContext>, waiting: &WaitingSignIn, why: &str) {
        let (decision, outcome) = (audit::Decision::ApprovalEnded, Outcome::Ended);
        let record = match context {
            Some(context) => self.of_request(context, decision, outcome),
            None => self.of_caller(&waiting.caller, decision, outcome),
        };
        let record = Record {
            session: Some(self.session(&waiting.session())),
            approval: Some(approval(waiting, &waiting.request, None)),
            why: Some(why.to_owned()),
            ..record
        };
        self.write_or_log(&record).await;
    }
}

/// What is recorded of `waiting`, which stands as `request` says.
fn approval(waiting: &WaitingSignIn, request: &ApprovalRequest, comment: Option<&Reason>) -> audit::Approval {
    approval_of(&waiting.caller, request, comment)
}

fn approval_of(caller: &Caller, request: &ApprovalRequest, comment: Option<&Reason>) -> audit::Approval {
    audit::Approval {
        request: request.id.clone(),
        username: caller.username().to_owned(),
        device: caller.device.stable_id.clone(),
        count: request.count(),
        needed: request.needed.get(),
        approvers: request.approvals.iter().map(|vote| vote.username.clone()).collect(),
        approvals: request.approvals.iter().map(approval_vote).collect(),
        comment: comment.map(|comment| comment.as_str().to_owned()),
    }
}

fn approval_vote(vote: &Vote) -> audit::ApprovalVote {
    audit::ApprovalVote {
        username: vote.username.clone(),
        device: vote.device.clone(),
        at: vote.at,
        comment: vote.comment.clone(),
    }
}
