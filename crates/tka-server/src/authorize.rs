//! What a caller may have, at this moment.
//!
//! The order of refusals is that of the original: Funnel and WhoIs ([`crate::identify`]), tagged nodes, malformed rules, no rule,
//! equal priorities.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tka_core::{Caller, Grant, Identity, Refusal, Rule};
use tka_operator::StoredSession;

use crate::App;
use crate::answer::Failure;
use crate::identify::Identified;

/// A caller whom a rule reaches. As an argument of a handler it lets nobody else in.
#[derive(Clone, Debug)]
pub struct Authorized {
    /// Who.
    pub caller: Caller,
    /// All rules that reach them.
    pub grant: Grant,
    /// The rule that is theirs.
    pub rule: Rule,
}

// === impl Authorized ===

impl Authorized {
    /// The session that the caller's device has, through a rule that still reaches them.
    pub async fn session(&self, app: &App) -> Result<Option<StoredSession>, Failure> {
        let names = self
            .grant
            .keys()
            .map(|key| tka_core::SessionName::new(&self.caller, &key));
        let sessions = app.sessions.find(names).await?;
        Ok(tka_core::session::current(&sessions, &self.grant, (app.clock)()).cloned())
    }
}

impl FromRequestParts<Arc<App>> for Authorized {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _app: &Arc<App>) -> Result<Self, Failure> {
        let identified = identified(parts)?;
        authorize(&identified).map_err(|refusal| {
            let reason: &dyn std::error::Error = &refusal;
            tracing::warn!(
                username = identified.caller.username(),
                device = identified.caller.device.name,
                path = parts.uri.path(),
                reason,
                "refused"
            );
            refusal.into()
        })
    }
}

/// Who is calling, as found out before. As an argument of a handler it lets everybody in whom the tailnet knows.
pub(crate) fn identified(parts: &Parts) -> Result<Arc<Identified>, Failure> {
    // Absent only if a route was mounted outside of the layer that identifies. Then nobody gets in.
    parts.extensions.get::<Arc<Identified>>().cloned().ok_or_else(|| {
        Failure::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "who is calling was not asked",
            &["report this as a bug of TKA"],
        )
    })
}

/// What `identified` may have.
pub fn authorize(identified: &Identified) -> Result<Authorized, Refusal> {
    let caller = &identified.caller;
    if let Identity::Machine { tags } = &caller.identity {
        return Err(Refusal::Machine {
            device: caller.device.name.clone(),
            tags: tags.clone(),
        });
    }
    let grant = Grant::parse(identified.values.iter().map(String::as_str))?;
    let rule = grant.choose()?.clone();
    Ok(Authorized {
        caller: caller.clone(),
        grant,
        rule,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_core::{Device, UserId};

    fn with(identity: Identity, values: &[&str]) -> Result<Authorized, Refusal> {
        let device = Device {
            stable_id: "n1".into(),
            name: "laptop".into(),
        };
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        authorize(&Identified {
            caller: Caller { identity, device },
            values,
        })
    }

    fn alice() -> Identity {
        Identity::User {
            id: UserId(1),
            login_name: "alice@example.com".into(),
        }
    }

    #[test]
    fn machine_is_refused_before_its_rules_are_read() {
        let machine = Identity::Machine {
            tags: vec!["tag:ci".into()],
        };
        assert!(matches!(with(machine, &["{}"]), Err(Refusal::Machine { .. })));
    }

    #[test]
    fn malformed_comes_before_ambiguous() {
        let view = r#"{"role": "view", "period": "1h"}"#;
        let edit = r#"{"role": "edit", "period": "1h"}"#;
        assert!(matches!(
            with(alice(), &[view, edit, "{}"]),
            Err(Refusal::MalformedRule(_))
        ));
        assert!(matches!(with(alice(), &[view, edit]), Err(Refusal::Ambiguous { .. })));
        assert_eq!(with(alice(), &[]).unwrap_err(), Refusal::NoRule);
        assert_eq!(with(alice(), &[view]).unwrap().rule.role.as_str(), "view");
    }
}
