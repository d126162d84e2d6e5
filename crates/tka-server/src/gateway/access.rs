//! Whose request it is, and which session acts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::http::request::Parts;
use tka_core::{Caller, Refusal, Rule, SessionName};
use tka_gateway::{RequestInfo, Target};
use tka_operator::{LiveSession, SessionFilter};
use tokio::time::timeout;

use super::shared::Gateway;
use super::streams::Entry;
use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::authorize::{applicable_rules, no_contact, not_asked};
use crate::browser::{guard_programs, made_by};
use crate::identified::Identified;
use crate::identify::whois;
use crate::rates::By;

/// How long a session that the API server has may be unknown to the watch.
const TOLD: Duration = Duration::from_secs(3);

/// A request that may be carried.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) live: LiveSession,
    pub(super) entry: Arc<Entry>,
    /// The caller's address on the tailnet.
    pub(super) address: Option<IpAddr>,
    pub(super) target: Target,
    /// What the request is.
    pub(super) info: RequestInfo,
}

/// Finds out who sends a request, that it is they and no page in their browser, and which session of theirs acts.
pub(super) async fn access(
    app: &App,
    gateway: &Gateway,
    context: &AuditContext,
    head: &Parts,
) -> Result<Access, Failure> {
    let identified = Arc::new(identify(app, gateway, context, head).await?);
    app.contact.check().map_err(|error| no_contact(&error))?;
    let rules = applicable_rules(app, &identified)?;
    let target = Target::parse(&head.uri).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            error.to_string(),
            &["give the path of a Kubernetes API"],
        )
    })?;
    let rule = rules.choose(&target.choice)?;
    if !rules.has_gateway(&rule.key()) {
        return Err(Refusal::DirectOnly {
            role: rule.role.clone(),
        }
        .into());
    }
    let live = session(app, gateway, &identified.caller, rule).await?;
    context.about(&live.session);
    let entry = gateway.streams.entry(&live);
    Ok(Access {
        live,
        entry,
        address: identified.addresses.first().copied(),
        info: RequestInfo::new(&head.method, &target),
        target,
    })
}

async fn identify(app: &App, gateway: &Gateway, context: &AuditContext, head: &Parts) -> Result<Identified, Failure> {
    let peer = context.peer().ok_or_else(not_asked)?;
    let identified = whois(app, peer, &head.headers).await?;
    let shared = Arc::new(identified.clone());
    let guarded = guard_programs(&app.node.borrow().hosts, head);
    let by = if guarded.is_ok() { By::Caller } else { By::Page };
    context.by(&shared, by);
    gateway.rates.count(&identified.caller, by)?;
    guarded?;
    // `exec` and `proxy` act by GET, and what `proxy` serves would stand on this server's own origin.
    if let Some(sign) = made_by(&head.headers) {
        return Err(browser(sign.as_str()));
    }
    Ok(identified)
}

fn browser(sign: &str) -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        format!(
            "a browser gets nothing below /k8s, because any page could act through it; this request has its header {sign}"
        ),
        &["use kubectl, or another program that sends no header of a browser's"],
    )
}

/// The session of `caller` through `rule`, as the watch tells of it.
async fn session(app: &App, gateway: &Gateway, caller: &Caller, rule: &Rule) -> Result<LiveSession, Failure> {
    let name = SessionName::new(caller, &rule.key(), None);
    let watched = gateway.streams.watched();
    if let Some(live) = watched.named(&name, (app.clock)()) {
        return Ok(live);
    }
    // It may have begun a moment ago, at another replica too.
    let Some(begun) = app.sessions.live(&name).await? else {
        return Err(none(app, &name, rule).await?);
    };
    let mut changes = watched.changes();
    let told = async {
        loop {
            changes.borrow_and_update();
            let live = watched.named(&name, (app.clock)());
            if let Some(live) = live.filter(|live| live.uid == begun.uid) {
                return Some(live);
            }
            changes.changed().await.ok()?;
        }
    };
    let told = timeout(TOLD, told).await.ok().flatten();
    told.ok_or_else(|| {
        Failure::passing(
            "your session is not known to this replica yet",
            &["try again in a moment"],
        )
    })
}

/// What to answer a caller who has no session that stands.
async fn none(app: &App, name: &SessionName, rule: &Rule) -> Result<Failure, Failure> {
    let there = app.sessions.find([name.clone()], SessionFilter::Live).await?;
    if there
        .iter()
        .any(|stored| !stored.provisioned && stored.session.until() > (app.clock)())
    {
        return Ok(Failure::passing(
            "your session is not provisioned yet",
            &["try again in a moment"],
        ));
    }
    let command = match (&rule.name, rule.require_reason) {
        (Some(name), false) => format!("sign in with `tka login --rule {name}`"),
        (Some(name), true) => format!("sign in with `tka login --rule {name} --reason TEXT`"),
        (None, true) => "sign in with `tka login --reason TEXT`".to_owned(),
        (None, false) => "sign in with `tka login`".to_owned(),
    };
    let message = format!("you are not signed in with the role {}", rule.role);
    Ok(Failure::new(StatusCode::UNAUTHORIZED, message, &[&command]))
}
