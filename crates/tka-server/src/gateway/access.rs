//! Whose request it is, and which session acts.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use tka_core::session::elevation_names;
use tka_core::{RecordingMode, Refusal, Request, Rule, RuleSelector, Session, SessionName};
use tka_gateway::request_info::PodAccess;
use tka_gateway::{RequestInfo, Target, headers};
use tka_operator::{LiveSession, SessionState, WatchedSessions};
use tokio::time::{Instant, timeout};

use super::elevations::Elevation;
use super::shared::Gateway;
use super::streams::GatewaySession;
use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::authorize::{Authorization, applicable_rules, no_contact, not_asked};
use crate::browser::{guard_programs, made_by};
use crate::identified::Identified;
use crate::identify::whois;
use crate::rates::Requester;
use crate::sign_in::{AnswerOptions, SignInRequest};

/// How long to wait for the watch to report a session that the API server already has.
const WATCH_WAIT: Duration = Duration::from_secs(3);

/// A request that may be carried.
#[derive(Debug)]
pub(super) struct AuthorizedRequest {
    pub(super) live: LiveSession,
    pub(super) entry: Arc<GatewaySession>,
    /// The caller's address on the tailnet.
    pub(super) address: Option<IpAddr>,
    pub(super) target: Target,
    /// What the request is.
    pub(super) info: RequestInfo,
    /// Whether it is recorded before it is carried, and as what.
    pub(super) interactive: Option<PodAccess>,
    /// Whether exec and attach are recorded.
    pub(super) recording: RecordingMode,
}

/// Identifies the caller, refuses browsers, and finds the session that the request acts as. What the caller is to be told beside the answer is left in `notice`.
pub(super) async fn access(
    app: &App,
    gateway: &Gateway,
    context: &Arc<AuditContext>,
    head: &Parts,
    notice: &mut Option<String>,
) -> Result<AuthorizedRequest, Failure> {
    if head.method == Method::CONNECT || head.method == Method::TRACE {
        let advice = &["use a method of the Kubernetes API"];
        return Err(Failure::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "the gateway does not support this method",
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
    let authorization = Authorization::new(&identified, rules);
    let (live, recording) = match elevation(app, gateway, &authorization, &target) {
        Some(live) => {
            let recording = authorization.rules.recording(&live.session.rule);
            (live, recording)
        }
        None => ordinary(app, gateway, context, authorization, &target, notice).await?,
    };
    context.set_session(&live.session);
    let entry = gateway.streams.get_or_replace(&live);
    entry.last_use().used(Instant::now());
    let info = RequestInfo::new(&head.method, &target);
    let upgrade = headers::upgrade(&head.headers).map(|_| PodAccess::Upgrade);
    Ok(AuthorizedRequest {
        interactive: info.interactive().or(upgrade),
        recording,
        live,
        entry,
        address: identified.addresses.first().copied(),
        info,
        target,
    })
}

/// The elevation that acts for a request that names no rule and no session: of several the one that was signed in to last. Only through a rule that still reaches the
/// caller.
fn elevation(app: &App, gateway: &Gateway, authorization: &Authorization, target: &Target) -> Option<LiveSession> {
    if !target.is_unqualified() {
        return None;
    }
    let (watched, now) = (gateway.streams.watched(), (app.clock)());
    let caller = &authorization.caller;
    let live = elevation_names(caller, &authorization.rules).filter_map(|name| watched.named(&name, now));
    // Replicas agree on one of two that were signed in to in the same second.
    let live = live.max_by_key(|live| (live.session.signed_in, live.session.name()))?;
    let rule = &live.session.rule;
    gateway.elevations.record_active(&caller.key(), rule, live.until, now);
    Some(live)
}

/// The session that acts for a request that no elevation acts for, and whether exec and attach of it are recorded.
async fn ordinary(
    app: &App,
    gateway: &Gateway,
    context: &Arc<AuditContext>,
    mut authorization: Authorization,
    target: &Target,
    notice: &mut Option<String>,
) -> Result<(LiveSession, RecordingMode), Failure> {
    let key = authorization.caller.key();
    let over = target.is_unqualified().then(|| {
        let now = (app.clock)();
        gateway.elevations.record_over(&key, now);
        gateway.elevations.over(&key, now)
    });
    let over = over.flatten();
    *notice = over.as_ref().map(Elevation::ended_notice);
    // Where the address names none, rules that need approval or are for emergencies do not count.
    if target.choice == RuleSelector::default() {
        authorization.rules = authorization.rules.prefer_ordinary_rules();
    }
    let rules = &authorization.rules;
    let rule = rules.choose(&target.choice)?.clone();
    if !rules.has_gateway(&rule.key()) {
        return Err(Refusal::DirectOnly { role: rule.role }.into());
    }
    let recording = rules.recording(&rule.key());
    let live = session(app, gateway, context, authorization, target, &rule).await?;
    *notice = over.map(|over| over.fallback_notice(&rule.role));
    Ok((live, recording))
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
        Requester::Caller
    } else {
        Requester::BrowserPage
    };
    context.set_caller(&identified, by);
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

/// The session of a caller through `rule`, which is the one that `target` means. Where the rule says so, this request begins it, but none with a
/// label: that ends with the command that it is of.
async fn session(
    app: &App,
    gateway: &Gateway,
    context: &Arc<AuditContext>,
    authorization: Authorization,
    target: &Target,
    rule: &Rule,
) -> Result<LiveSession, Failure> {
    let name = SessionName::new(&authorization.caller, &rule.key(), target.label.as_ref());
    let watched = gateway.streams.watched();
    if let Some(live) = watched.named(&name, (app.clock)()) {
        return Ok(live);
    }
    // It may have begun a moment ago, at another replica too.
    let state = match app.sessions.session_state(&name).await? {
        SessionState::None if target.label.is_none() && authorization.rules.begins_on_use(&rule.key()) => {
            begin(app, gateway, context, authorization, &target.choice, rule).await?;
            app.sessions.session_state(&name).await?
        }
        state => state,
    };
    let (uid, not_yet) = match state {
        SessionState::Live(begun) => (Some(begun.uid), "your session is not known to this replica yet"),
        // Another request begins it at this moment.
        SessionState::Pending => (None, "your session is not provisioned yet"),
        SessionState::None => return Err(not_signed_in(rule, "you are not signed in")),
    };
    let live = wait_until_watched(app, watched, &name, uid.as_deref()).await;
    live.ok_or_else(|| Failure::transient(not_yet, &["try again in a moment"]))
}

/// Begins the session of that name through `rule`, because it is used. All requests that come meanwhile share that.
///
/// If the caller hangs up, this stops, so waiting requests are bounded by connections. The reconcile loop completes what was begun, or ends it.
async fn begin(
    app: &App,
    gateway: &Gateway,
    context: &Arc<AuditContext>,
    authorization: Authorization,
    choice: &RuleSelector,
    rule: &Rule,
) -> Result<(), Failure> {
    let name = SessionName::new(&authorization.caller, &rule.key(), None);
    if let Some(refused) = gateway.refusals.get(&name, Instant::now()) {
        return Err(refused);
    }
    let request = Request {
        choice: choice.clone(),
        on_use: true,
        ..Request::default()
    };
    let sign_in = SignInRequest::new(
        app,
        context,
        authorization,
        request,
        AnswerOptions::default(),
        &mut None,
    )?;
    let begun = sign_in.run().await.map(drop);
    begun.map_err(|failure| {
        let failure = match failure.status {
            StatusCode::UNAUTHORIZED => not_signed_in(rule, "your session was ended"),
            _ => failure,
        };
        gateway.refusals.remember(&name, &failure, Instant::now());
        failure
    })
}

/// Whether requests to this replica find `session`, which is provisioned. Waits for that.
pub(crate) async fn wait_until_known(app: &App, session: &Session) -> Result<bool, Failure> {
    let name = session.name();
    let Some(watched) = &app.watched else {
        return Ok(false);
    };
    let SessionState::Live(begun) = app.sessions.session_state(&name).await? else {
        return Ok(false);
    };
    Ok(wait_until_watched(app, watched, &name, Some(&begun.uid))
        .await
        .is_some())
}

/// Waits until the watch reports the session as live, because streams are gated by the watch. `uid`, if given, must match.
async fn wait_until_watched(
    app: &App,
    watched: &WatchedSessions,
    name: &SessionName,
    uid: Option<&str>,
) -> Option<LiveSession> {
    let mut changes = watched.changes();
    let live = async {
        loop {
            changes.borrow_and_update();
            let live = watched.named(name, (app.clock)());
            if let Some(live) = live.filter(|live| uid.is_none_or(|uid| live.uid == uid)) {
                return Some(live);
            }
            changes.changed().await.ok()?;
        }
    };
    timeout(WATCH_WAIT, live).await.ok().flatten()
}

/// What to answer a caller who has no session through `rule`.
fn not_signed_in(rule: &Rule, what: &str) -> Failure {
    let command = match (&rule.name, rule.require_reason) {
        (Some(name), false) => format!("sign in with `tka login --rule {name}`"),
        (Some(name), true) => format!("sign in with `tka login --rule {name} --reason TEXT`"),
        (None, true) => "sign in with `tka login --reason TEXT`".to_owned(),
        (None, false) => "sign in with `tka login`".to_owned(),
    };
    let message = format!("{what} with the role {}", rule.role);
    Failure::new(StatusCode::UNAUTHORIZED, message, &[&command])
}
