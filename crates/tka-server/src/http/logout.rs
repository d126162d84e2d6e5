//! `/logout`: ends the calling device's session.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Extension, Json};
use futures::future::{try_join, try_join_all};
use tka_api::http::{ErrorResponse, LoginResponse};
use tka_core::SessionName;
use tka_operator::StoredSession;

use super::login_response;
use crate::App;
use crate::answer::Failure;
use crate::authorize::authorize;
use crate::identify::Identified;

/// Sign out
///
/// Ends the calling device's session. When this answers, its credentials have no access any more.
#[utoipa::path(
    post,
    path = "/logout",
    tag = "session",
    responses(
        (status = 200, description = "Signed out: what has ended", body = LoginResponse),
        (status = 400, description = "Tagged node, or malformed or ambiguous rules", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 404, description = "Not signed in", body = ErrorResponse),
        (status = 500, description = "Who is calling could not be found out", body = ErrorResponse),
        (status = 503, description = "The cluster could not be asked just now", body = ErrorResponse),
    )
)]
pub(super) async fn sign_out(
    State(app): State<Arc<App>>,
    Extension(who): Extension<Arc<Identified>>,
) -> Result<Json<LoginResponse>, Failure> {
    let sessions = sessions(&app, &who).await?;
    let Some(last) = sessions.values().max_by_key(|stored| stored.session.signed_in) else {
        // A caller whom the policy no longer gives anything may still leave; only who has nothing to leave hears why not.
        authorize(&who)?;
        return Err(Failure::not_signed_in(StatusCode::NOT_FOUND));
    };
    try_join_all(sessions.keys().map(|name| app.sessions.end(name))).await?;
    for name in sessions.keys() {
        tracing::info!(session = %name, username = who.caller.username(), device = who.caller.device.name, "signed out");
    }
    Ok(Json(login_response(&last.session)))
}

/// The device's sessions: those of the rules that reach the caller, read at this moment, and those of rules that no longer do.
async fn sessions(app: &App, who: &Identified) -> Result<BTreeMap<SessionName, StoredSession>, Failure> {
    let granted: Vec<SessionName> = authorize(who)
        .map(|who| {
            who.grant
                .keys()
                .map(|key| SessionName::new(&who.caller, &key))
                .collect()
        })
        .unwrap_or_default();
    let key = who.caller.key();
    let (current, all) = try_join(app.sessions.find(granted), app.sessions.of_caller(&key)).await?;
    Ok(current
        .into_iter()
        .chain(all)
        .map(|stored| (stored.session.name(), stored))
        .collect())
}
