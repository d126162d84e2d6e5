//! `/sessions`: the caller's own, on whatever device.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::{Extension, Json};
use tka_api::http::{ErrorResponse, SessionInfo, SessionList};
use tka_operator::SessionFilter;

use super::{logout, view};
use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::authorize::applicable_rules;
use crate::identified::Identified;

/// Sessions
///
/// The caller's sessions, on whatever device.
#[utoipa::path(
    get,
    path = "/sessions",
    tag = "session",
    responses(
        (status = 200, description = "The sessions", body = SessionList),
        (status = 400, description = "Tagged node, or malformed rules", body = ErrorResponse),
        (status = 403, description = "No rule and no session, or through Funnel", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(identified): Extension<Arc<Identified>>,
) -> Result<Json<SessionList>, Failure> {
    let sessions = app.sessions.of_user(&identified.caller, SessionFilter::Live).await?;
    if sessions.is_empty() {
        applicable_rules(&app, &identified)?;
    }
    let items = sessions.iter().map(|stored| view::session(stored, &identified.caller));
    Ok(Json(SessionList { items: items.collect() }))
}

/// End a session
///
/// Ends one of the caller's sessions. When this answers, its credentials have no access any more.
#[utoipa::path(
    delete,
    path = "/sessions/{name}",
    tag = "session",
    params(("name" = String, Path, description = "Name of the session")),
    responses(
        (status = 200, description = "What has ended", body = SessionInfo),
        (status = 400, description = "Tagged node, or malformed rules", body = ErrorResponse),
        (status = 403, description = "No rule and no session, or through Funnel", body = ErrorResponse),
        (status = 404, description = "No session of that name is the caller's", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn end(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    Extension(identified): Extension<Arc<Identified>>,
    Path(name): Path<String>,
) -> Result<Json<SessionInfo>, Failure> {
    let sessions = &app.sessions;
    let named = sessions.get_for_user(&identified.caller, &name, SessionFilter::WithTerminating);
    let Some(stored) = named.await? else {
        applicable_rules(&app, &identified)?;
        return Err(view::no_such_session());
    };
    logout::end(&app, &context, stored.session.clone()).await?;
    Ok(Json(view::session(&stored, &identified.caller)))
}
