//! `/login`: signs in, or says who is signed in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{IntoResponse, Response};
use tka_api::http::{ErrorResponse, LoginResponse};
use tka_core::Session;
use tka_core::session::check_period;
use tka_operator::StoredSession;

use super::login_response;
use crate::App;
use crate::answer::Failure;
use crate::authorize::Authorized;

/// Sign in
///
/// Starts a session on the calling device through the rule that the tailnet policy gives the caller, or extends it.
#[utoipa::path(
    post,
    path = "/login",
    tag = "session",
    responses(
        (status = 202, description = "Signed in", body = LoginResponse),
        (status = 400, description = "Tagged node, or malformed or ambiguous rules", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 500, description = "Who is calling could not be found out", body = ErrorResponse),
        (status = 503, description = "The cluster could not be asked just now", body = ErrorResponse),
    )
)]
pub(super) async fn sign_in(
    State(app): State<Arc<App>>,
    who: Result<Authorized, Failure>,
) -> Result<(StatusCode, Json<LoginResponse>), Failure> {
    let role = who.as_ref().ok().map(|who| who.rule.role.to_string());
    let result = match who {
        Ok(who) => start(&app, who).await,
        Err(failure) => Err(failure),
    };
    app.metrics
        .signed_in(role.as_deref(), result.as_ref().err().map(|failure| failure.status));
    Ok((StatusCode::ACCEPTED, Json(login_response(&result?.session))))
}

async fn start(app: &App, who: Authorized) -> Result<StoredSession, Failure> {
    check_period(&who.rule, app.min_period)?;
    let session = Session::new(who.caller, &who.rule, (app.clock)());
    let stored = app.sessions.sign_in(&session).await?;
    tracing::info!(
        session = %session.name(),
        username = session.caller.username(),
        device = session.caller.device.name,
        role = %session.role,
        until = %session.until(),
        provisioned = stored.provisioned,
        "signed in"
    );
    Ok(stored)
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
    let body = Json(login_response(&stored.session));
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
