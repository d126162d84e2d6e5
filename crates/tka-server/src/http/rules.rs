//! `/rules`: what could the caller get?

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::future::join_all;
use tka_api::http::{ErrorResponse, RuleList};
use tka_core::{ApplicableRules, RoleName, Rule};

use super::view;
use crate::App;
use crate::answer::Failure;
use crate::authorize::Authorization;

/// Rules
///
/// The rules that reach the caller, those of higher priority first.
#[utoipa::path(
    get,
    path = "/rules",
    tag = "session",
    responses(
        (status = 200, description = "The rules", body = RuleList),
        (status = 400, description = "Tagged node, or malformed rules", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The answer took too long", body = ErrorResponse),
    )
)]
pub(super) async fn list(State(app): State<Arc<App>>, authorization: Authorization) -> Result<Json<RuleList>, Failure> {
    let mut items = view::rules(&authorization.rules);
    for (role, error) in failures(&app, &authorization.rules).await {
        for rule in items.iter_mut().filter(|rule| rule.role == role.as_str()) {
            if error.is_transient() {
                rule.unchecked = true;
            } else {
                rule.problem = Some(error.to_string());
            }
        }
    }
    for rule in &mut items {
        rule.unrecorded = rule.recording.is_some() && app.library.is_none();
    }
    Ok(Json(RuleList { items }))
}

/// The roles that cannot be given, or that cannot be asked for, and why. The cluster is asked for each role once.
async fn failures<'a>(app: &App, applicable: &'a ApplicableRules) -> Vec<(&'a RoleName, tka_operator::Error)> {
    let roles: BTreeSet<&RoleName> = applicable.rules().iter().map(|Rule { role, .. }| role).collect();
    let roles = roles.into_iter();
    let checks = roles.map(|role| async move { Some((role, app.sessions.check_role(role).await.err()?)) });
    join_all(checks).await.into_iter().flatten().collect()
}
