//! `/rules`: what could the caller get?

use axum::Json;
use tka_api::http::{ErrorResponse, RuleList};

use super::view;
use crate::answer::Failure;
use crate::authorize::Granted;

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
        (status = 500, description = "Who is calling could not be found out", body = ErrorResponse),
        (status = 503, description = "The answer took too long", body = ErrorResponse),
    )
)]
pub(super) async fn list(who: Granted) -> Result<Json<RuleList>, Failure> {
    Ok(Json(RuleList {
        items: view::rules(&who.grant),
    }))
}
