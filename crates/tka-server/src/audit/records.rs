//! What the operator has recorded: of what one request asks for, and of what no request asks for.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tka_core::Session;
use tka_operator::{EndReason, NotRecorded, Records};

use super::Audit;
use crate::audit_context::AuditContext;

/// Records what one request asks for.
#[derive(Debug)]
pub struct RequestAudit {
    audit: Audit,
    context: Arc<AuditContext>,
}

// === impl RequestAudit ===

impl RequestAudit {
    /// Records with `audit` what the request of `context` asks for.
    #[must_use]
    pub fn new(audit: &Audit, context: &Arc<AuditContext>) -> Self {
        Self {
            audit: audit.clone(),
            context: Arc::clone(context),
        }
    }
}

impl Records for RequestAudit {
    fn began<'a>(&'a self, session: &'a Session, extended: bool) -> BoxFuture<'a, Result<(), NotRecorded>> {
        let recorded = self.audit.signed_in(&self.context, session, extended);
        recorded.map(|result| result.map_err(Into::into)).boxed()
    }

    fn ended<'a>(&'a self, session: &'a Session, how: &'a EndReason) -> BoxFuture<'a, ()> {
        match how {
            EndReason::SignedOut => self.audit.signed_out(&self.context, session).boxed(),
            // The answer says so, and leaves a record.
            EndReason::Refused(_) => std::future::ready(()).boxed(),
            how => self.audit.ended(session, how).boxed(),
        }
    }
}

// === impl Audit ===

impl Records for Audit {
    fn began<'a>(&'a self, session: &'a Session, extended: bool) -> BoxFuture<'a, Result<(), NotRecorded>> {
        let recorded = self.completed(session, extended);
        recorded.map(|result| result.map_err(Into::into)).boxed()
    }

    fn ended<'a>(&'a self, session: &'a Session, how: &'a EndReason) -> BoxFuture<'a, ()> {
        Audit::ended(self, session, how).boxed()
    }
}
