//! `/approvals`: sign-ins that wait for others.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tka_api::audit::{Look, LookedAt};
use tka_api::http::{ApprovalInfo, ApprovalList, DecisionRequest, ErrorResponse};
use tka_core::Reason;
use tka_operator::{ApprovalDecision, RequestState, WaitingSignIn};

use super::body::Body;
use super::view;
use crate::App;
use crate::answer::Failure;
use crate::approvals::emergency::Acknowledgement;
use crate::approvals::{self, Approver, Decision};
use crate::audit_context::AuditContext;
use crate::identified::Identified;

/// Sign-ins that wait for approval
///
/// What the caller may decide, and what they wait for themselves. What was denied a moment ago is among them, and so are sign-ins in an emergency that the caller
/// may acknowledge. Each look at what is others' is recorded.
#[utoipa::path(
    get,
    path = "/approvals",
    tag = "approval",
    responses(
        (status = 200, description = "The sign-ins, those that were asked for first first", body = ApprovalList),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    Extension(identified): Extension<Arc<Identified>>,
) -> Result<Response, Failure> {
    let approver = Approver::new(&identified);
    let now = (app.clock)();
    let mut all = app.sessions.waiting().map(|waiting| waiting.all()).unwrap_or_default();
    let mut broken = approver.unacknowledged(&app).await?;
    all.retain(|waiting| {
        let is_over = matches!(
            waiting.request.state(now),
            RequestState::Granted | RequestState::Expired
        );
        !is_over && (approver.owns(waiting) || approver.may_decide(waiting).is_ok())
    });
    if all.iter().any(|waiting| !approver.owns(waiting)) || !broken.is_empty() {
        let look = Look {
            at: LookedAt::Approvals,
            name: None,
            query: None,
        };
        app.audit.record_view(&context, look).await?;
    }
    all.sort_by_key(|waiting| waiting.request.requested);
    let approvers = if all.iter().any(|waiting| approver.owns(waiting)) {
        app.approvers.known(&app).await
    } else {
        None
    };
    let approvers = approvers.as_deref();
    let waiting = all
        .iter()
        .map(|waiting| view::approval(&app, waiting, &approver, approvers));
    broken.sort_by_key(|emergency| emergency.last().map(|last| last.at));
    let broken = broken
        .iter()
        .map(|emergency| view::emergency(emergency, &approver, false));
    let items = waiting.chain(broken).collect();
    Ok(([(CACHE_CONTROL, "no-store")], Json(ApprovalList { items })).into_response())
}

/// Decide about a sign-in
///
/// Approves or denies another's sign-in. When enough have approved, it answers once the session stands. A person counts once. Or acknowledges one that was given
/// in an emergency.
#[utoipa::path(
    post,
    path = "/approvals/{session}",
    tag = "approval",
    params(("session" = String, Path, description = "Name of the session that the sign-in would begin or extend")),
    request_body(content = DecisionRequest),
    responses(
        (status = 200, description = "How it stands, with the count so far", body = ApprovalInfo),
        (status = 400, description = "Not a decision", body = ErrorResponse),
        (status = 403, description = "It is the caller's own, or the caller may decide about none", body = ErrorResponse),
        (status = 404, description = "None waits for that session that the caller may decide about", body = ErrorResponse),
        (status = 408, description = "The request did not arrive in time", body = ErrorResponse),
        (status = 409, description = "It was decided, or another request waits by now", body = ErrorResponse),
        (status = 410, description = "It waits no more", body = ErrorResponse),
        (status = 413, description = "The body is too large", body = ErrorResponse),
        (status = 415, description = "The body is not JSON", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn decide(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    Extension(identified): Extension<Arc<Identified>>,
    name: Result<Path<String>, PathRejection>,
    body: Result<Body<Option<DecisionRequest>>, Failure>,
) -> Result<Json<ApprovalInfo>, Failure> {
    let Path(name) = name.map_err(|_| approvals::no_such_request())?;
    let said = read(body?.0)?;
    let tasks = app.tasks.clone();
    tasks
        .run_to_completion(async move {
            let approver = Approver::new(&identified);
            match said {
                DecisionKind::Decides(decision) => {
                    let waiting = approver.decide(&app, &context, &name, &decision).await?;
                    Ok(Json(view::approval(&app, &waiting, &approver, None)))
                }
                DecisionKind::Acknowledges(seen) => {
                    let emergency = approver.acknowledge(&app, &context, &name, &seen).await?;
                    Ok(Json(view::emergency(&emergency, &approver, true)))
                }
            }
        })
        .await
}

/// Withdraw a sign-in
///
/// The caller's own sign-in waits no more. A session that it would have extended goes on as it was.
#[utoipa::path(
    delete,
    path = "/approvals/{session}",
    tag = "approval",
    params(("session" = String, Path, description = "Name of the session that the sign-in would begin or extend")),
    responses(
        (status = 200, description = "What waited", body = ApprovalInfo),
        (status = 404, description = "None of the caller's waits for that session", body = ErrorResponse),
        (status = 409, description = "It was approved", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
        (status = 503, description = "The request could not be completed just now", body = ErrorResponse),
    )
)]
pub(super) async fn withdraw(
    State(app): State<Arc<App>>,
    Extension(context): Extension<Arc<AuditContext>>,
    Extension(identified): Extension<Arc<Identified>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<ApprovalInfo>, Failure> {
    let Path(name) = name.map_err(|_| approvals::no_such_request())?;
    let tasks = app.tasks.clone();
    tasks
        .run_to_completion(async move {
            let approver = Approver::new(&identified);
            let waiting: WaitingSignIn = approvals::withdraw(&app, &context, &approver, &name).await?;
            Ok(Json(view::approval(&app, &waiting, &approver, None)))
        })
        .await
}

/// What a caller says about a sign-in of another.
enum DecisionKind {
    Decides(Decision),
    Acknowledges(Acknowledgement),
}

fn read(body: Option<DecisionRequest>) -> Result<DecisionKind, Failure> {
    let advice =
        &["send `{\"decision\": \"approve\"}`, `\"deny\"` or `\"acknowledge\"`, and perhaps a `comment` of one line"];
    let refuse = || Failure::new(StatusCode::BAD_REQUEST, "this is no decision", advice);
    let body = body.ok_or_else(refuse)?;
    let comment = body.comment.map(Reason::try_from).transpose();
    let (comment, request) = (comment.map_err(|_| refuse())?, body.request);
    let decision = match body.decision {
        tka_api::http::Decision::Approve => ApprovalDecision::Approve,
        tka_api::http::Decision::Deny => ApprovalDecision::Deny,
        tka_api::http::Decision::Acknowledge => {
            return Ok(DecisionKind::Acknowledges(Acknowledgement { comment, request }));
        }
    };
    Ok(DecisionKind::Decides(Decision {
        decision,
        comment,
        request,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decision_is_said_and_its_comment_is_one_line() {
        let status = |body: serde_json::Value| {
            let body = serde_json::from_value::<DecisionRequest>(body).ok();
            read(body).map_or_else(|failure| failure.status.as_u16(), |_| 200)
        };
        assert_eq!(status(json!({"decision": "approve"})), 200);
        assert_eq!(
            status(json!({"decision": "deny", "comment": "not now", "request": "r1"})),
            200
        );
        for wrong in [
            json!({}),
            json!({"decision": "maybe"}),
            json!({"decision": "Approve"}),
            json!({"decision": "approve", "comment": ""}),
            json!({"decision": "approve", "comment": "a\u{1b}[2Jb"}),
            json!({"decision": "approve", "comment": "x".repeat(501)}),
            json!({"decision": "approve", "for": "alice"}),
        ] {
            assert_eq!(status(wrong.clone()), 400, "{wrong}");
        }
        assert_eq!(
            status(json!({"decision": "acknowledge", "comment": "seen", "request": "r1"})),
            200
        );
        assert!(read(None).is_err_and(|failure| failure.status == 400));
    }
}
