//! What a caller may have, at this moment.
//!
//! The order of refusals is that of the original: Funnel and WhoIs ([`crate::identify`]), tagged nodes, malformed rules, no rule,
//! equal priorities.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::StatusCode;
use axum::http::request::Parts;
use tka_api::http::RequestedAccess;
use tka_core::{ApplicableRules, Caller, Identity, Refusal, RuleKey, RuleSelector, Session, SessionName};
use tka_operator::{SessionFilter, StoredSession};
use tokio::time::Instant;

use crate::answer::Failure;
use crate::identified::Identified;
use crate::reauthorize::NoContact;
use crate::{App, identify};

/// A caller that rules reach. As an argument of a handler it lets no other caller in.
#[derive(Clone, Debug)]
pub struct Authorization {
    /// Who.
    pub caller: Caller,
    /// All rules that reach them.
    pub rules: ApplicableRules,
    /// When tailscaled was asked for that.
    asked_at: Instant,
}

/// How old the tailnet's word may be by which something is given.
pub(crate) const FRESH: Duration = Duration::from_secs(1);

/// A caller whose rule is clear when they do not choose one, as the original asks of every request.
#[derive(Clone, Debug)]
pub struct Authorized(pub Authorization);

// === impl Authorization ===

impl Authorization {
    /// What `identified` may have by `rules`, which are those that apply to them.
    #[must_use]
    pub fn new(identified: &Identified, rules: ApplicableRules) -> Self {
        Self {
            caller: identified.caller.clone(),
            rules,
            asked_at: identified.asked_at,
        }
    }

    /// The session that the caller's device has, through a rule that still reaches them. It is the one of that name, or the current one where no name
    /// is given.
    pub async fn session(&self, app: &App, name: Option<&str>) -> Result<Option<StoredSession>, Failure> {
        if let Some(name) = name {
            return self.named(app, name).await;
        }
        let names = names(&self.caller, &self.rules);
        let sessions = app.sessions.find(names, SessionFilter::Live).await?;
        if sessions.is_empty() {
            return Ok(None);
        }
        Ok(tka_core::session::current(&sessions, &self.rules, (app.clock)()).cloned())
    }

    async fn named(&self, app: &App, name: &str) -> Result<Option<StoredSession>, Failure> {
        let now = (app.clock)();
        let usable = |stored: &StoredSession| {
            let session = &stored.session;
            session.caller.key() == self.caller.key() && session.until() > now && self.rules.contains(&session.rule)
        };
        let named = app.sessions.get_for_user(&self.caller, name, SessionFilter::Live);
        Ok(named.await?.filter(usable))
    }

    /// Whether it is so long ago that they were let in that what reaches them may have changed.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        self.asked_at.elapsed() > FRESH
    }

    /// Checks that the rule of `session` still applies to the caller, who may have waited for its credential.
    pub async fn recheck(&mut self, app: &App, peer: Option<SocketAddr>, session: &Session) -> Result<(), Failure> {
        if !self.is_stale() {
            return Ok(());
        }
        *self = self.refresh(app, peer).await?;
        if self.rules.contains(&session.rule) {
            return Ok(());
        }
        Err(changed_meanwhile())
    }

    /// Checks that a token of `session` may be handed out.
    pub fn may_have_token(&self, session: &Session) -> Result<(), Refusal> {
        if session.is_elevation() {
            return Err(Refusal::ElevationToken);
        }
        if self.rules.has_tokens(&session.rule) {
            return Ok(());
        }
        let role = session.rule.role.clone();
        Err(Refusal::GatewayOnly { role })
    }

    /// Whether a session through the rule `key` is to be reached through the gateway. A caller that says nothing of it, as those of the original do, goes
    /// with a token.
    pub fn goes_through_gateway(
        &self,
        app: &App,
        via: Option<RequestedAccess>,
        key: &RuleKey,
    ) -> Result<bool, Failure> {
        let has_gateway = app.has_gateway && self.rules.has_gateway(key);
        let has_tokens = self.rules.has_tokens(key);
        let role = || key.role.clone();
        match via {
            None => Ok(false),
            Some(RequestedAccess::Default) => Ok(has_gateway && (app.gateway_default || !has_tokens)),
            Some(RequestedAccess::Direct) if has_tokens => Ok(false),
            Some(RequestedAccess::Direct) => Err(Refusal::GatewayOnly { role: role() }.into()),
            Some(RequestedAccess::Gateway) if has_gateway => Ok(true),
            Some(RequestedAccess::Gateway) if app.has_gateway => Err(Refusal::DirectOnly { role: role() }.into()),
            Some(RequestedAccess::Gateway) => Err(no_gateway()),
        }
    }

    /// Asks the tailnet again after a wait. It fails for a caller that hung up meanwhile, and for another caller.
    pub async fn refresh(&self, app: &App, peer: Option<SocketAddr>) -> Result<Self, Failure> {
        let Some(peer) = peer else {
            return Err(not_asked());
        };
        let identified = identify::ask(app, peer).await?;
        app.contact.check().map_err(|error| no_contact(&error))?;
        if identified.caller.key() != self.caller.key() {
            return Err(other_caller());
        }
        let rules = applicable_rules(app, &identified)?;
        Ok(Self::new(&identified, rules))
    }
}

/// The names that the sessions of `caller`'s device have through `rules`, but for those that are kept apart.
pub fn names(caller: &Caller, rules: &ApplicableRules) -> impl Iterator<Item = SessionName> {
    rules.keys().map(|key| SessionName::new(caller, &key, None))
}

/// The answer to a caller whose policy changed while they waited.
#[must_use]
pub fn changed_meanwhile() -> Failure {
    let message = "what the tailnet policy gives you changed while you waited";
    Failure::transient(message, &["try again"])
}

impl FromRequestParts<Arc<App>> for Authorization {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let identified = identified(parts)?;
        app.contact.check().map_err(|error| no_contact(&error))?;
        let rules = applicable_rules(app, &identified)?;
        Ok(Self::new(&identified, rules))
    }
}

// === impl Authorized ===

impl Authorized {
    /// The session that the caller's device has, as [`Authorization::session`] finds it.
    pub async fn session(&self, app: &App) -> Result<StoredSession, Failure> {
        let stored = self.0.session(app, None).await?;
        stored.ok_or_else(|| Failure::not_signed_in(StatusCode::UNAUTHORIZED))
    }
}

impl FromRequestParts<Arc<App>> for Authorized {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Failure> {
        let granted = Authorization::from_request_parts(parts, app).await?;
        granted.rules.choose(&RuleSelector::default())?;
        Ok(Self(granted))
    }
}

/// tailscaled still answers WhoIs, from what it was told before. So the rules may be outdated.
pub(crate) fn no_contact(error: &NoContact) -> Failure {
    let advice = &[
        "try again in a moment",
        "if it persists, ask an administrator to look at the tailscaled beside the server",
    ];
    let message = "tailscaled is out of touch with the tailnet, so your rules cannot be checked";
    Failure::transient(message, advice).with_cause(error)
}

/// The caller, as identified before.
fn identified(parts: &Parts) -> Result<Arc<Identified>, Failure> {
    // Absent only if a route was mounted outside of the layer that identifies. Then no caller gets in.
    parts.extensions.get::<Arc<Identified>>().cloned().ok_or_else(not_asked)
}

fn other_caller() -> Failure {
    Failure::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "this connection belongs to another caller now",
        &["try again"],
    )
}

fn no_gateway() -> Failure {
    let advice = &[
        "sign in without the gateway: leave `--via gateway` out",
        "or ask an administrator to set the server's gateway.enabled",
    ];
    Failure::new(StatusCode::FORBIDDEN, "this server has no gateway", advice)
}

pub(crate) fn not_asked() -> Failure {
    Failure::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the server did not identify the caller of this request",
        &["report this as a bug of TKA"],
    )
}

/// All rules that reach `identified`; none at all is a refusal.
pub fn applicable_rules(app: &App, identified: &Identified) -> Result<ApplicableRules, Refusal> {
    read(identified, app.machines)
}

fn read(identified: &Identified, machines: bool) -> Result<ApplicableRules, Refusal> {
    let caller = &identified.caller;
    if let (Identity::Machine { tags }, false) = (&caller.identity, machines) {
        let (device, tags) = (caller.device.name.clone(), tags.clone());
        return Err(Refusal::Machine { device, tags });
    }
    let rules = ApplicableRules::parse(identified.values.iter().map(String::as_str))?;
    if rules.rules().is_empty() {
        return Err(Refusal::NoRule);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_core::Device;

    fn with(identity: Identity, values: &[&str], machines: bool) -> Result<ApplicableRules, Refusal> {
        let device = Device::new("n1", "laptop");
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        read(
            &Identified {
                caller: Caller { identity, device },
                values,
                oversight: Vec::new(),
                addresses: Vec::new(),
                expired: false,
                asked_at: Instant::now(),
            },
            machines,
        )
    }

    fn alice() -> Identity {
        Identity::user(1, "alice@example.com")
    }

    fn machine() -> Identity {
        let tags = vec!["tag:ci".into()];
        Identity::Machine { tags }
    }

    const VIEW: &str = r#"{"role": "view", "period": "1h"}"#;

    #[test]
    fn machine_is_refused_before_its_rules_are_read() {
        assert!(matches!(with(machine(), &["{}"], false), Err(Refusal::Machine { .. })));
    }

    #[test]
    fn machine_may_have_rules_where_that_is_allowed() {
        assert!(with(machine(), &[VIEW], true).is_ok());
        assert_eq!(with(machine(), &[], true), Err(Refusal::NoRule));
    }

    #[test]
    fn malformed_is_refused_before_nothing_is() {
        let malformed = with(alice(), &[VIEW, "{}"], false);
        assert!(matches!(malformed, Err(Refusal::MalformedRule(_))));
        assert_eq!(with(alice(), &[], false), Err(Refusal::NoRule));
        assert_eq!(with(alice(), &[VIEW], false).unwrap().rules().len(), 1);
    }
}
