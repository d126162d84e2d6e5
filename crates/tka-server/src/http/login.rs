//! `/login`: signs in, or says who is signed in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Deserialize;
use tka_api::exec::ExecCredential;
use tka_api::http::{ErrorResponse, LoginRequest, LoginResponse, RequestedAccess, SignInResponse};
use tka_core::{Request, RuleSelector, Session, SessionLabel, SessionName};
use tka_operator::{Credential, RequestOutcome, SessionFilter, SignedIn, StoredSession, WaitingSignIn};
use tokio::time::{Instant, timeout_at};
use utoipa::IntoParams;

use super::body::Body;
use super::credential::issued;
use super::view;
use crate::App;
use crate::answer::{Failure, pending};
use crate::approvals::{self, WaitOutcome};
use crate::audit_context::AuditContext;
use crate::authorize::{Authorization, Authorized, changed_meanwhile};
use crate::gateway;
use crate::sign_in::{AnswerOptions, SignInRequest};

/// The longest wait. It must be over before the time limit of the answer is.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// By which way the caller wants to reach the cluster.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LoginQuery {
    /// By which way the session is to reach the cluster. Without it the answer has a token, or is 202 where the rule gives none.
    #[serde(default)]
    #[param(inline)]
    via: Option<RequestedAccess>,
    /// The request for approval that the caller waits for, as an answer named it. Where that was withdrawn or is over, this says so, and asks for no other.
    request: Option<String>,
}

/// What is wanted of a session that is signed in to.
#[derive(Clone, Copy, Debug)]
struct LoginOptions {
    /// How long to wait until it is usable.
    wait: Duration,
    /// By which way it is to reach the cluster.
    via: Option<RequestedAccess>,
    /// Whether the caller chose its rule.
    is_chosen: bool,
}

/// Sign in
///
/// Starts a session on the calling device through a rule that the tailnet policy gives the caller, or extends it. With
/// `Prefer: wait=N` (RFC 7240) it answers once, when the session is usable, with its credential.
#[utoipa::path(
    post,
    path = "/login",
    tag = "session",
    params(LoginQuery, ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds until the session is usable. `tell-approval`: answer at once where that begins to wait for others")),
    request_body(content = Option<LoginRequest>),
    responses(
        (status = 200, description = "Signed in and usable; only with `Prefer: wait`", body = SignInResponse),
        (status = 202, description = "Signed in, or it waits for others: `approval` says for how many", body = LoginResponse),
        (status = 400, description = "Tagged node, malformed or ambiguous rules, or a request that no rule allows", body = ErrorResponse),
        (status = 403, description = "No such rule, not on this cluster, denied or not answered by others, or through Funnel", body = ErrorResponse),
        (status = 408, description = "The request did not arrive in time", body = ErrorResponse),
        (status = 413, description = "The body is too large", body = ErrorResponse),
        (status = 415, description = "The body is not JSON", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    authorization: Result<Authorization, Failure>,
    way: Result<Query<LoginQuery>, QueryRejection>,
    headers: HeaderMap,
    body: Result<Body<LoginRequest>, Failure>,
) -> Result<Response, Failure> {
    context.mark_begun();
    let wait = prefer_wait(&headers);
    let way = way.map(|Query(way)| way).map_err(|error| no_such_way(&error));
    let via = way.as_ref().ok().and_then(|way| way.via);
    let is_chosen = |body: &Body<LoginRequest>| body.0.rule.is_some() || body.0.role.is_some();
    let is_chosen = body.as_ref().is_ok_and(is_chosen);
    let start = {
        let (app, context) = (Arc::clone(&app), Arc::clone(&context));
        async move {
            let mut role = None;
            let started = start(&app, &context, authorization, body, wait.is_some(), way, &mut role);
            let result = Box::pin(started).await;
            // What only asks others has signed in nothing yet. Giving the access counts that.
            if !matches!(result, Ok((_, Started::Requested(..)))) {
                let failed = result.as_ref().err().map(|failure| failure.status);
                app.metrics.signed_in(role.as_deref(), failed);
            }
            result
        }
    };
    let (mut authorization, started) = app.tasks.run_to_completion(start).await?;
    let (stored, credential) = match started {
        Started::SignedIn(signed_in) => (signed_in.stored.clone(), signed_in.credential.clone()),
        Started::Requested(session, asked) => {
            match granted(&app, &session, asked, wait, tells_at_once(&headers)).await? {
                Ok(stored) => (stored, None),
                Err(waiting) => return Ok(waits(&app, &session, &waiting).await),
            }
        }
    };
    let Some(wait) = wait else {
        return Ok(accepted(&stored.session));
    };
    let wanted = LoginOptions { wait, via, is_chosen };
    usable(&app, &context, &mut authorization, stored, credential, wanted).await
}

/// What came of a sign-in.
enum Started {
    SignedIn(Arc<SignedIn>),
    /// Others are asked to approve this session.
    Requested(Box<Session>, RequestOutcome),
}

async fn start(
    app: &App,
    context: &Arc<AuditContext>,
    authorization: Result<Authorization, Failure>,
    body: Result<Body<LoginRequest>, Failure>,
    credential: bool,
    query: Result<LoginQuery, Failure>,
    role: &mut Option<String>,
) -> Result<(Authorization, Started), Failure> {
    let (authorization, request, query) = (authorization?, read(body?.0)?, query?);
    let LoginQuery { via, request: joins } = query;
    if request.is_elevation() && via == Some(RequestedAccess::Direct) {
        return Err(elevation_is_not_direct());
    }
    let options = AnswerOptions { credential, via };
    let sign_in = SignInRequest::new(app, context, authorization, request, options, role)?;
    if sign_in.needs_approval() {
        let session = Box::new(sign_in.session().clone());
        let (authorization, asked) = Box::pin(sign_in.ask(joins.as_deref())).await?;
        return Ok((authorization, Started::Requested(session, asked)));
    }
    // What its caller waits for is a decision of others, and nothing else may begin by it.
    if let Some(id) = joins {
        return Err(needs_no_approval(app, &sign_in.session().name(), &id).await?);
    }
    let (authorization, signed_in) = sign_in.run().await?;
    Ok((authorization, Started::SignedIn(signed_in)))
}

/// Why none answers the request `id` for approval, where the rule wants none. This server may not know the newest policy yet, or there is no such request.
async fn needs_no_approval(app: &App, name: &SessionName, id: &str) -> Result<Failure, Failure> {
    let waiting = app.sessions.waiting_named(name.as_str()).await?;
    let is_open = |waiting: &WaitingSignIn| waiting.request.id == id && waiting.request.state((app.clock)()).is_open();
    Ok(match waiting.as_ref().filter(|waiting| is_open(waiting)) {
        Some(_) => changed_meanwhile(),
        None => approvals::unanswered(),
    })
}

/// The session that others let the caller have, or what still waits when `wait` is over.
async fn granted(
    app: &App,
    session: &Session,
    asked: RequestOutcome,
    wait: Option<Duration>,
    tells_at_once: bool,
) -> Result<Result<StoredSession, Box<WaitingSignIn>>, Failure> {
    let waiting = match asked {
        RequestOutcome::Granted(stored) => return Ok(Ok(*stored)),
        RequestOutcome::Denied(denied) => return Err(approvals::denied(&denied)),
        RequestOutcome::Gone => return Err(approvals::unanswered()),
        // A person who waits wants to know it.
        RequestOutcome::Waits { waiting, is_new: true } if tells_at_once => return Ok(Err(waiting)),
        RequestOutcome::Waits { waiting, .. } => waiting,
    };
    let Some(wait) = wait else {
        return Ok(Err(waiting));
    };
    let id = waiting.request.id.clone();
    match approvals::decided(app, *waiting, wait).await? {
        WaitOutcome::Not(waiting) => Ok(Err(waiting)),
        WaitOutcome::Denied(denied) => {
            app.sessions.mark_notified(&session.name(), &id).await?;
            Err(approvals::denied(&denied))
        }
        WaitOutcome::Over => Err(approvals::unanswered()),
        WaitOutcome::Granted => {
            app.sessions.mark_notified(&session.name(), &id).await?;
            let stored = app.sessions.find([session.name()], SessionFilter::Live).await?;
            let stored = stored.into_iter().next();
            Ok(Ok(stored.ok_or_else(changed_meanwhile)?))
        }
    }
}

async fn waits(app: &App, session: &Session, waiting: &WaitingSignIn) -> Response {
    let body = Json(view::awaiting(app, session, waiting).await);
    (StatusCode::ACCEPTED, [(CACHE_CONTROL, "no-store")], body).into_response()
}

/// What a caller asks for, in the words of the decision.
fn read(body: LoginRequest) -> Result<Request, Failure> {
    fn typed<T: TryFrom<String, Error: std::error::Error + 'static>>(
        text: Option<String>,
    ) -> Result<Option<T>, Failure> {
        text.map(T::try_from)
            .transpose()
            .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string(), &["correct the request"]))
    }
    let label: Option<SessionLabel> = typed(body.session)?;
    let label = match (body.elevate, label) {
        (true, Some(_)) => return Err(apart_and_elevated()),
        (true, None) => Some(SessionLabel::elevation()),
        (false, Some(label)) if label.is_elevation() => return Err(reserved()),
        (false, label) => label,
    };
    Ok(Request {
        choice: RuleSelector {
            name: typed(body.rule)?,
            role: typed(body.role)?,
        },
        period: typed(body.period)?,
        reason: typed(body.reason)?,
        label,
        on_use: false,
    })
}

fn apart_and_elevated() -> Failure {
    let advice = &["leave `session` out to be elevated, or `elevate` for a session apart"];
    let message = "`elevate` and `session` exclude each other: an elevation has a label of its own";
    Failure::new(StatusCode::BAD_REQUEST, message, advice)
}

fn reserved() -> Failure {
    let advice = &[
        "ask for an elevation with `\"elevate\": true`, as `tka elevate` does",
        "or choose another label",
    ];
    let message = "the label `elevation` is reserved for elevations";
    Failure::new(StatusCode::BAD_REQUEST, message, advice)
}

fn elevation_is_not_direct() -> Failure {
    let advice = &["leave `via` out: an elevation has no token"];
    let message = "an elevation acts through the gateway alone, and `via=direct` asks for another way";
    Failure::new(StatusCode::BAD_REQUEST, message, advice)
}

fn no_such_way(error: &QueryRejection) -> Failure {
    let advice = &["ask for `via=direct`, `via=gateway` or `via=default`"];
    Failure::new(StatusCode::BAD_REQUEST, "there is no such way to the cluster", advice).with_cause(error)
}

fn accepted(session: &Session) -> Response {
    (StatusCode::ACCEPTED, Json(view::login(session))).into_response()
}

/// Answers when the session is usable, or says that it is not yet when `wait` is over.
async fn usable(
    app: &App,
    context: &AuditContext,
    authorization: &mut Authorization,
    mut stored: StoredSession,
    credential: Option<Credential>,
    LoginOptions { wait, via, is_chosen }: LoginOptions,
) -> Result<Response, Failure> {
    let session = &stored.session.clone();
    let until = Instant::now() + wait;
    if !stored.provisioned {
        // The reconcile loop is on it.
        let waited = timeout_at(until, app.sessions.wait_until_provisioned(&session.name())).await;
        if waited.is_err() {
            return Ok(accepted(session));
        }
        stored.provisioned = true;
    }
    // The caller's next request is to be elevated.
    if session.is_elevation()
        && !matches!(
            timeout_at(until, gateway::wait_until_known(app, session)).await,
            Ok(Ok(true))
        )
    {
        return Ok(accepted(session));
    }
    let via = if session.is_elevation() {
        Some(RequestedAccess::Gateway)
    } else {
        via
    };
    let applied = [("preference-applied", format!("wait={}", wait.as_secs()))];
    let no_store = [(CACHE_CONTROL, "no-store")];
    if authorization.goes_through_gateway(app, via, &session.rule)? {
        let answer = SignInResponse {
            login: view::login(session),
            session: view::session(&stored, &session.caller),
            credential: None,
            kubeconfig: view::gateway(app, &authorization.rules, session, is_chosen)?,
        };
        return Ok((applied, no_store, Json(answer)).into_response());
    }
    if !authorization.rules.has_tokens(&session.rule) {
        // It is usable, through the gateway.
        return Ok(accepted(session));
    }
    let Credential { token, expires } = issued(app, context, authorization, session, credential).await?;
    let kubeconfig = view::with_user(app, app.cluster.info().await?, session, token.clone().into());
    let answer = SignInResponse {
        login: view::login(session),
        session: view::session(&stored, &session.caller),
        credential: Some(ExecCredential::new(token, expires)),
        kubeconfig,
    };
    Ok((applied, no_store, Json(answer)).into_response())
}

/// What the caller prefers (RFC 7240, section 2).
fn preferences(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split([',', ';']))
}

/// Whether the caller prefers to be told at once that others must approve, although they wait for what they decide: a preference of TKA's own.
fn tells_at_once(headers: &HeaderMap) -> bool {
    preferences(headers).any(|preference| preference.trim().eq_ignore_ascii_case("tell-approval"))
}

/// How long the caller prefers to wait (RFC 7240, section 4.3). What is no number is no preference.
fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let pairs = preferences(headers).filter_map(|preference| preference.split_once('='));
    let mut waits = pairs.filter(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
    let seconds = waits.find_map(|(_, value)| value.trim().trim_matches('"').parse::<u32>().ok())?;
    Some(Duration::from_secs(seconds.into()).min(LONGEST_WAIT))
}

/// Who is signed in
///
/// Says who is signed in on the calling device, as what, and until when.
#[utoipa::path(
    get,
    path = "/login",
    tag = "session",
    responses(
        (status = 200, description = "Signed in", body = LoginResponse),
        (status = 202, description = "Signed in, not provisioned yet", body = LoginResponse,
            headers(("Retry-After" = u32, description = "When to ask again, in seconds"))),
        (status = 400, description = "Tagged node, or malformed or ambiguous rules", body = ErrorResponse),
        (status = 401, description = "Not signed in", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn who(State(app): State<Arc<App>>, authorized: Authorized) -> Result<Response, Failure> {
    let stored = authorized.session(&app).await?;
    let body = Json(view::login(&stored.session));
    if stored.provisioned {
        return Ok(body.into_response());
    }
    Ok(pending(app.retry_after_seconds, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn wait(values: &[&str]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("prefer", value.parse().unwrap());
        }
        prefer_wait(&headers).map(|wait| wait.as_secs())
    }

    #[test]
    fn preference_to_wait_is_read() {
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&["wait=10"]), Some(10));
        assert_eq!(wait(&["wait=3600"]), Some(10));
        assert_eq!(wait(&["respond-async, Wait = \"5\""]), Some(5));
        assert_eq!(wait(&["respond-async", "wait=5; foo"]), Some(5));
        assert_eq!(wait(&["wait=soon"]), None);
        assert_eq!(wait(&["wait=-1"]), None);
        assert_eq!(wait(&["wait"]), None);
    }

    #[test]
    fn what_is_asked_for_is_checked() {
        assert!(read(LoginRequest::default()).is_ok());
        for (body, why) in [
            (json!({"period": "soon"}), "\"soon\""),
            (json!({"rule": "On Call"}), "\"On Call\""),
            (json!({"reason": " "}), "one line"),
            (json!({"session": "../x"}), "\"../x\""),
            (json!({"session": "elevation"}), "reserved"),
            (json!({"session": "shell-1", "elevate": true}), "exclude each other"),
            (json!({"session": "elevation", "elevate": true}), "exclude each other"),
        ] {
            let failure = read(serde_json::from_value(body).unwrap()).unwrap_err();
            assert_eq!(failure.status, StatusCode::BAD_REQUEST);
            assert!(failure.body.message.contains(why), "{why}: {failure:?}");
        }
    }

    #[test]
    fn elevation_is_asked_for_by_a_field_of_its_own() {
        let read = |body| read(serde_json::from_value(body).unwrap()).unwrap();
        assert!(read(json!({"elevate": true, "rule": "oncall"})).is_elevation());
        for body in [json!({"elevate": false}), json!({}), json!({"session": "elevation-1"})] {
            assert!(!read(body).is_elevation());
        }
        for odd in [
            json!({"elevate": null}),
            json!({"elevate": "true"}),
            json!({"elevate": 1}),
        ] {
            assert!(serde_json::from_value::<LoginRequest>(odd).is_err());
        }
    }
}

#[cfg(test)]
mod fuzz {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn prefer() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(value) = HeaderValue::from_bytes(bytes) else {
                return;
            };
            let wait = prefer_wait(&HeaderMap::from_iter([(HeaderName::from_static("prefer"), value)]));
            assert!(wait.is_none_or(|wait| wait <= LONGEST_WAIT));
        });
    }
}
