//! Callers with oversight. To all others what it shows is not there: their answer is that of a path that does not exist, whatever they ask.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tka_api::audit::Look;
use tka_core::Oversight;

use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::authorize::{no_contact, not_asked};
use crate::identified::Identified;

/// A caller who may see recordings. As an argument of a handler, before all that may fail, it lets no other caller in.
#[derive(Debug)]
pub struct RecordingsOverseer {
    context: Arc<AuditContext>,
}

// === impl RecordingsOverseer ===

impl RecordingsOverseer {
    /// Records that they are shown what `look` says. Unless this returns well nothing may be shown.
    pub async fn looks(&self, app: &App, look: Look) -> Result<(), Failure> {
        Ok(app.audit.looked(&self.context, look).await?)
    }
}

impl FromRequestParts<Arc<App>> for RecordingsOverseer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let identified = parts.extensions.get::<Arc<Identified>>().ok_or_else(not_asked)?;
        if !oversight(identified).recordings {
            return Err(Failure::no_such_path());
        }
        // Only now: what it says is for those who may know.
        app.contact.check().map_err(|error| no_contact(&error))?;
        let context = parts.extensions.get::<Arc<AuditContext>>().ok_or_else(not_asked)?;
        let context = Arc::clone(context);
        Ok(Self { context })
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
    use tka_core::{Caller, Device, Identity};
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
