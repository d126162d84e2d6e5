//! Callers with oversight. To all others what it shows is not there: their answer is that of a path that does not exist, whatever they ask.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tka_api::audit::{Look, LookedAt};
use tka_core::{Caller, Oversight, SessionOversight, shorten};

use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::authorize::{no_contact, not_asked};
use crate::identified::Identified;

/// A caller with oversight of `Of`. As an argument of a handler, before all that may fail, it lets no other caller in.
#[derive(Debug)]
pub struct Overseer<Of> {
    context: Arc<AuditContext>,
    identified: Arc<Identified>,
    of: Of,
}

/// What a caller may have oversight of.
pub trait OversightKind: Sized {
    /// What they have of it; none where they must not learn that there is such a path.
    fn given(oversight: &Oversight) -> Option<Self>;
}

/// To see recordings.
#[derive(Debug)]
pub struct ViewRecordings;

impl OversightKind for ViewRecordings {
    fn given(oversight: &Oversight) -> Option<Self> {
        oversight.recordings.then_some(Self)
    }
}

/// To see audit records.
#[derive(Debug)]
pub struct ViewAudit;

impl OversightKind for ViewAudit {
    fn given(oversight: &Oversight) -> Option<Self> {
        oversight.audit.then_some(Self)
    }
}

/// To see sessions, or to end them too.
impl OversightKind for SessionOversight {
    fn given(oversight: &Oversight) -> Option<Self> {
        oversight.sessions
    }
}

// === impl Overseer ===

impl<Of> Overseer<Of> {
    /// Records that they are shown what `look` says. Unless this returns well nothing may be shown.
    pub async fn looks(&self, app: &App, look: Look) -> Result<(), Failure> {
        Ok(app.audit.record_view(&self.context, look).await?)
    }

    /// The same of a list of which the request's `query` says what is wanted.
    pub async fn looks_at_list(&self, app: &App, at: LookedAt, query: Option<&str>) -> Result<(), Failure> {
        let query = query.filter(|query| !query.is_empty()).map(shorten);
        self.looks(app, Look { at, name: None, query }).await
    }

    /// Their request, for its records.
    pub fn context(&self) -> &Arc<AuditContext> {
        &self.context
    }

    /// Who they are.
    pub fn caller(&self) -> &Caller {
        &self.identified.caller
    }

    /// What they may do.
    pub fn of(&self) -> &Of {
        &self.of
    }
}

impl<Of: OversightKind> FromRequestParts<Arc<App>> for Overseer<Of> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let identified = parts.extensions.get::<Arc<Identified>>().ok_or_else(not_asked)?;
        let of = Of::given(&oversight(identified)).ok_or_else(Failure::no_such_path)?;
        // Only now: what it says is for those who may know.
        app.contact.check().map_err(|error| no_contact(&error))?;
        let context = parts.extensions.get::<Arc<AuditContext>>().ok_or_else(not_asked)?;
        Ok(Self {
            context: Arc::clone(context),
            identified: Arc::clone(identified),
            of,
        })
    }
}

/// What the caller may see of what is others', as the tailnet says at this request.
pub(crate) fn oversight(identified: &Identified) -> Oversight {
    let values = identified.oversight.iter().map(String::as_str);
    let (oversight, refused) = Oversight::parse(&identified.caller.identity, values);
    for error in refused {
        tracing::warn!(
            username = identified.caller.username(),
            %error,
            "a value of the oversight capability gives nothing; correct it in the tailnet policy"
        );
    }
    oversight
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_core::{Device, Identity};
    use tokio::time::Instant;

    #[test]
    fn only_the_oversight_capability_gives_any() {
        let with = |values: &[&str], given: &[&str]| {
            let of = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
            oversight(&Identified {
                caller: Caller {
                    identity: Identity::user(1, "alice@example.com"),
                    device: Device::new("n1", "laptop"),
                },
                values: of(values),
                oversight: of(given),
                addresses: Vec::new(),
                expired: false,
                asked_at: Instant::now(),
            })
            .recordings
        };
        let given = r#"{"recordings": true}"#;
        assert!(with(&[], &[given]));
        assert!(!with(&[given], &[]));
        assert!(!with(
            &[r#"{"role": "cluster-admin", "period": "1h"}"#],
            &[r#"{"audit": true}"#]
        ));
        assert!(!with(&[], &[r#"{"recordings": true, "record": true}"#]));
    }
}
