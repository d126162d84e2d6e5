//! `/credential`: a fresh credential of a session.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tka_api::exec::ExecCredential;
use tka_api::http::{CredentialRequest, ErrorResponse};
use tka_core::Session;
use tka_operator::Credential;

use super::body::Body;
use crate::App;
use crate::answer::{Failure, pending};
use crate::audit_context::AuditContext;
use crate::authorize::Authorization;

/// Credential
///
/// A fresh credential of a session of the calling device, as kubectl's exec plugins hand it over. The session's rule must still
/// reach the caller.
#[utoipa::path(
    post,
    path = "/credential",
    tag = "session",
    request_body(content = Option<CredentialRequest>),
    responses(
        (status = 200, description = "The credential", body = ExecCredential),
        (status = 202, description = "Signed in, not provisioned yet",
            headers(("Retry-After" = u32, description = "When to ask again, in seconds"))),
        (status = 400, description = "Tagged node, malformed or ambiguous rules, or not such a body", body = ErrorResponse),
        (status = 401, description = "Not signed in, or not any more", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 408, description = "The request did not arrive in time", body = ErrorResponse),
        (status = 413, description = "The body is too large", body = ErrorResponse),
        (status = 415, description = "The body is not JSON", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn issue(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    mut authorization: Authorization,
    Body(request): Body<CredentialRequest>,
) -> Result<Response, Failure> {
    let stored = authorization.session(&app, request.session.as_deref()).await?;
    let stored = stored.ok_or_else(|| Failure::not_signed_in(StatusCode::UNAUTHORIZED))?;
    if !stored.provisioned {
        return Ok(pending(app.retry_after_seconds, ()));
    }
    let credential = issued(&app, &context, &mut authorization, &stored.session, None).await?;
    let answer = Json(ExecCredential::new(credential.token, credential.expires));
    Ok(([(CACHE_CONTROL, "no-store")], answer).into_response())
}

/// A credential of `session` that is recorded, and may be handed out: one that was issued on the way, or else a fresh one.
///
/// WhoIs is asked again when its last answer is a while ago, before and after. The API server may take its time, and what it has
/// issued is no caller's before it is handed out.
pub(super) async fn issued(
    app: &App,
    context: &AuditContext,
    authorization: &mut Authorization,
    session: &Session,
    on_the_way: Option<Credential>,
) -> Result<Credential, Failure> {
    context.refuse_browser()?;
    authorization.may_have_token(session)?;
    let credential = if let Some(credential) = on_the_way {
        credential
    } else {
        authorization.recheck(app, context.peer(), session).await?;
        app.sessions.credential(session).await?
    };
    authorization.recheck(app, context.peer(), session).await?;
    authorization.may_have_token(session)?;
    app.audit.credential_issued(context, session, &credential).await?;
    Ok(credential)
}
