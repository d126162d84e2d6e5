//! `/login`: signs in, or says who is signed in.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, RETRY_AFTER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tka_api::exec::ExecCredential;
use tka_api::http::{ErrorResponse, LoginRequest, LoginResponse, SignInResponse};
use tka_core::{Choice, Refusal, Request, Session};
use tka_operator::{Credential, SignedIn, Those};

use super::body::Body;
use super::credential::issued;
use super::view;
use crate::App;
use crate::answer::Failure;
use crate::audit::{Asked, ByRequest};
use crate::authorize::{Authorized, Granted, changed_meanwhile};

/// The longest wait. It must be over before the time limit of the answer is.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Sign in
///
/// Starts a session on the calling device through a rule that the tailnet policy gives the caller, or extends it. With
/// `Prefer: wait=N` (RFC 7240) it answers once, when the session is usable, with its credential.
#[utoipa::path(
    post,
    path = "/login",
    tag = "session",
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds until the session is usable")),
    request_body(content = Option<LoginRequest>),
    responses(
        (status = 200, description = "Signed in and usable; only with `Prefer: wait`", body = SignInResponse),
        (status = 202, description = "Signed in", body = LoginResponse),
        (status = 400, description = "Tagged node, malformed or ambiguous rules, or a request that no rule allows", body = ErrorResponse),
        (status = 403, description = "No such rule, not on this cluster, or through Funnel", body = ErrorResponse),
        (status = 408, description = "The request did not arrive in time", body = ErrorResponse),
        (status = 413, description = "The body is too large", body = ErrorResponse),
        (status = 415, description = "The body is not JSON", body = ErrorResponse),
        (status = 500, description = "Who is calling could not be found out", body = ErrorResponse),
        (status = 503, description = "The cluster could not be asked just now", body = ErrorResponse),
    )
)]
pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    Extension(asked): Extension<Arc<Asked>>,
    who: Result<Granted, Failure>,
    headers: HeaderMap,
    body: Result<Body<LoginRequest>, Failure>,
) -> Result<Response, Failure> {
    asked.begins();
    let wait = prefer_wait(&headers);
    let start = {
        let (app, asked) = (Arc::clone(&app), Arc::clone(&asked));
        async move {
            let mut role = None;
            let result = start(&app, &asked, who, body, wait.is_some(), &mut role).await;
            app.metrics
                .signed_in(role.as_deref(), result.as_ref().err().map(|failure| failure.status));
            result
        }
    };
    let (mut who, session, signed_in) = app.work.to_the_end(start).await?;
    let Some(wait) = wait else {
        return Ok(accepted(&session));
    };
    usable(&app, &asked, &mut who, session, signed_in, wait).await
}

async fn start(
    app: &App,
    asked: &Arc<Asked>,
    who: Result<Granted, Failure>,
    body: Result<Body<LoginRequest>, Failure>,
    credential: bool,
    chosen: &mut Option<String>,
) -> Result<(Granted, Session, SignedIn), Failure> {
    let mut who = who?;
    let request = read(body?.0)?;
    let (mut session, mut max_sessions) = decide(app, &who, &request, chosen)?;
    let turn = app.sessions.turn(&session.name()).await?;
    if who.is_old() {
        who = who.again(app, asked.peer()).await?;
        let name = session.name();
        (session, max_sessions) = decide(app, &who, &request, chosen)?;
        if session.name() != name {
            return Err(changed_meanwhile());
        }
    }
    asked.about(&session);
    fits_device(app, &session).await?;
    let records = ByRequest::new(&app.audit, asked);
    let sign_in = app
        .sessions
        .sign_in(&turn, &session, max_sessions, credential, &records);
    let signed_in = sign_in.await?;
    drop(turn);
    tracing::info!(
        session = %session.name(),
        username = session.caller.username(),
        device = session.caller.device.name,
        role = %session.rule.role,
        until = %session.until(),
        provisioned = signed_in.stored.provisioned,
        "signed in"
    );
    Ok((who, session, signed_in))
}

/// Refuses a session more than one device may have. Only those that are kept apart can become many: of others there is one for each of
/// the caller's rules.
async fn fits_device(app: &App, session: &Session) -> Result<(), Failure> {
    if session.label.is_none() {
        return Ok(());
    }
    let there = app.sessions.of_caller(&session.caller, Those::Live).await?;
    let max = app.max_sessions_per_device;
    let name = session.name();
    let goes_on = there.iter().any(|stored| stored.session.name() == name);
    let is_room = u32::try_from(there.len()).is_ok_and(|count| count < max.get());
    if goes_on || is_room {
        return Ok(());
    }
    Err(Refusal::TooManyOnDevice { max }.into())
}

/// The session that `who` gets, and how many of its kind they may have.
fn decide(
    app: &App,
    who: &Granted,
    request: &Request,
    chosen: &mut Option<String>,
) -> Result<(Session, Option<NonZeroU32>), Failure> {
    let rule = who.grant.choose(&request.choice)?;
    *chosen = Some(rule.role.to_string());
    let session = Session::new(who.caller.clone(), rule, request, app.limits, (app.clock)())?;
    Ok((session, rule.max_sessions))
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
    Ok(Request {
        choice: Choice {
            name: typed(body.rule)?,
            role: typed(body.role)?,
        },
        period: typed(body.period)?,
        reason: typed(body.reason)?,
        label: typed(body.session)?,
    })
}

fn accepted(session: &Session) -> Response {
    (StatusCode::ACCEPTED, Json(view::login(session))).into_response()
}

/// Answers when the session is usable, or says that it is not yet when `wait` is over.
async fn usable(
    app: &App,
    asked: &Asked,
    who: &mut Granted,
    session: Session,
    signed_in: SignedIn,
    wait: Duration,
) -> Result<Response, Failure> {
    let mut stored = signed_in.stored;
    if !stored.provisioned {
        // The reconcile loop is on it.
        let waited = tokio::time::timeout(wait, app.sessions.provisioned(&session.name())).await;
        if waited.is_err() {
            return Ok(accepted(&session));
        }
        stored.provisioned = true;
    }
    let Credential { token, expires } = issued(app, asked, who, &session, signed_in.credential).await?;
    let kubeconfig = view::with_user(app, app.cluster.info().await?, &session, token.clone().into());
    let answer = SignInResponse {
        login: view::login(&session),
        session: view::session(&stored, &session.caller),
        credential: ExecCredential::new(token, expires),
        kubeconfig,
    };
    let headers = [
        ("preference-applied", format!("wait={}", wait.as_secs())),
        (CACHE_CONTROL.as_str(), "no-store".into()),
    ];
    Ok((headers, Json(answer)).into_response())
}

/// How long the caller prefers to wait (RFC 7240, section 4.3). What is no number is no preference.
fn prefer_wait(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let preferences = values.flat_map(|value| value.split([',', ';']));
    let seconds = preferences
        .filter_map(|preference| preference.split_once('='))
        .find_map(|(name, value)| {
            let is_wait = name.trim().eq_ignore_ascii_case("wait");
            is_wait
                .then(|| value.trim().trim_matches('"').parse::<u32>().ok())
                .flatten()
        })?;
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
        (status = 500, description = "Who is calling could not be found out", body = ErrorResponse),
        (status = 503, description = "The cluster could not be asked just now", body = ErrorResponse),
    )
)]
pub(super) async fn who(State(app): State<Arc<App>>, who: Authorized) -> Result<Response, Failure> {
    let stored = who
        .session(&app)
        .await?
        .ok_or_else(|| Failure::not_signed_in(StatusCode::UNAUTHORIZED))?;
    let body = Json(view::login(&stored.session));
    if stored.provisioned {
        return Ok(body.into_response());
    }
    Ok((
        StatusCode::ACCEPTED,
        [(RETRY_AFTER, app.retry_after_seconds.to_string())],
        body,
    )
        .into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let asked = |body: LoginRequest| read(body).map_err(|failure| failure.body.message);
        let bad = |text: &str| Some(text.to_owned());
        assert!(asked(LoginRequest::default()).is_ok());
        assert!(
            asked(LoginRequest {
                period: bad("soon"),
                ..LoginRequest::default()
            })
            .unwrap_err()
            .contains("\"soon\"")
        );
        assert!(
            asked(LoginRequest {
                rule: bad("On Call"),
                ..LoginRequest::default()
            })
            .unwrap_err()
            .contains("\"On Call\"")
        );
        assert!(
            asked(LoginRequest {
                reason: bad(" "),
                ..LoginRequest::default()
            })
            .unwrap_err()
            .contains("one line")
        );
        assert!(
            asked(LoginRequest {
                session: bad("../x"),
                ..LoginRequest::default()
            })
            .unwrap_err()
            .contains("\"../x\"")
        );
    }
}

#[cfg(test)]
mod fuzz {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn prefer() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(value) = HeaderValue::from_bytes(bytes) else {
                return;
            };
            let wait = prefer_wait(&HeaderMap::from_iter([(
                axum::http::HeaderName::from_static("prefer"),
                value,
            )]));
            assert!(wait.is_none_or(|wait| wait <= LONGEST_WAIT));
        });
    }
}
