//! Whose request it is, and which session acts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use tka_core::{Caller, Recording, Refusal, Rule, SessionName};
use tka_gateway::request_info::Interactive;
use tka_gateway::{RequestInfo, Target, headers};
use tka_operator::{LiveSession, Standing};
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
    /// Whether it is recorded before it is carried, and as what.
    pub(super) interactive: Option<Interactive>,
    /// Whether exec and attach are recorded.
    pub(super) recording: Recording,
}

/// Finds out who sends a request, that it is they and no page in their browser, and which session of theirs acts.
pub(super) async fn access(
    app: &App,
    gateway: &Gateway,
    context: &AuditContext,
    head: &Parts,
) -> Result<Access, Failure> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        let advice = &["use a method of the Kubernetes API"];
        return Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "this method is not carried",
            advice,
        ));
    }
    let identified = identify(app, gateway, context, head).await?;
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
    let info = RequestInfo::new(&head.method, &target);
    let upgrade = headers::upgrade(&head.headers).map(|_| Interactive::Upgrade);
    Ok(Access {
        interactive: info.interactive().or(upgrade),
        recording: rules.recording(&rule.key()),
        live,
        entry,
        address: identified.addresses.first().copied(),
        info,
        target,
    })
}

async fn identify(
    app: &App,
    gateway: &Gateway,
    context: &AuditContext,
    head: &Parts,
) -> Result<Arc<Identified>, Failure> {
    let peer = context.peer().ok_or_else(not_asked)?;
    let identified = Arc::new(whois(app, peer, &head.headers).await?);
    let guarded = guard_programs(&app.node.borrow().hosts, head);
    let sign = made_by(&head.headers);
    let by = if guarded.is_ok() && sign.is_none() {
        By::Caller
    } else {
        By::Page
    };
    context.by(&identified, by);
    gateway.rates.count(&identified.caller, by)?;
    guarded?;
    // `exec` and `proxy` act by GET, and what `proxy` serves would stand on this server's own origin.
    if let Some(sign) = sign {
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
    let begun = match app.sessions.standing(&name).await? {
        Standing::Live(begun) => begun,
        Standing::Pending => {
            return Err(Failure::passing(
                "your session is not provisioned yet",
                &["try again in a moment"],
            ));
        }
        Standing::None => return Err(not_signed_in(rule)),
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

/// What to answer a caller who has no session through `rule`.
fn not_signed_in(rule: &Rule) -> Failure {
    let command = match (&rule.name, rule.require_reason) {
        (Some(name), false) => format!("sign in with `tka login --rule {name}`"),
        (Some(name), true) => format!("sign in with `tka login --rule {name} --reason TEXT`"),
        (None, true) => "sign in with `tka login --reason TEXT`".to_owned(),
        (None, false) => "sign in with `tka login`".to_owned(),
    };
    let message = format!("you are not signed in with the role {}", rule.role);
    Failure::new(StatusCode::UNAUTHORIZED, message, &[&command])
}
