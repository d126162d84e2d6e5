//! `/rules`: what could the caller get?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use futures::future::join_all;
use tka_api::http::{ErrorResponse, RuleList};

use super::view;
use crate::App;
use crate::answer::Failure;
use crate::authorize::Authorization;
use crate::rule_checks::RuleCheck;

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
    let rules = authorization.rules.rules();
    let checks = rules
        .iter()
        .map(|rule| app.rule_checks.check(&app.sessions, &rule.role, &rule.scope));
    let checks = join_all(checks).await;
    let mut items = view::rules(&authorization.rules);
    for (rule, check) in items.iter_mut().zip(checks) {
        rule.unchecked = check == RuleCheck::Unchecked;
        if let RuleCheck::Unusable(why) = check {
            rule.problem = Some(why);
        }
        rule.unrecorded = rule.recording.is_some() && app.archive.is_none();
    }
    Ok(Json(RuleList { items }))
}
