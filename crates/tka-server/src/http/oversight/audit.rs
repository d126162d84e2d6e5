//! `/oversight/audit`: the records that this replica keeps in files.

mod query;

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, RawQuery, State};
use axum::http::StatusCode;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use tka_api::audit::LookedAt;
use tka_api::http::{AuditPage, AuditSearched, ErrorResponse};

use self::query::AuditParameters;
use crate::App;
use crate::answer::Failure;
use crate::audit::{Found, SearchError};
use crate::overseer::{Overseer, ViewAudit};

/// Audit records
///
/// The records of this replica, newest first: those in the file of `audit.path`, and in files beside it that were rotated away. For callers whose oversight has `audit`. Each
/// request is recorded.
#[utoipa::path(
    get,
    path = "/oversight/audit",
    operation_id = "search_records",
    tag = "oversight",
    params(AuditParameters),
    responses(
        (status = 200, description = "Records, and what was searched", body = AuditPage),
        (status = 400, description = "Not such a question", body = ErrorResponse),
        (status = 404, description = "The caller has no such oversight, or the server writes its records to no file", body = ErrorResponse),
        (status = 410, description = "The file in which the search was to go on is gone: begin anew", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller", body = ErrorResponse),
    )
)]
pub(in crate::http) async fn list(
    State(app): State<Arc<App>>,
    overseer: Overseer<ViewAudit>,
    RawQuery(raw): RawQuery,
    wanted: Result<Query<AuditParameters>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(wanted) = wanted.map_err(|error| wrong_question().with_cause(&error))?;
    let question = wanted.question().map_err(|error| wrong_question().with_cause(&error))?;
    overseer.looks_at_list(&app, LookedAt::Audit, raw.as_deref()).await?;
    let found = app.audit.search(question).await.map_err(|error| unsearched(&error))?;
    let replica = app.node.borrow().name().to_owned();
    Ok(([(CACHE_CONTROL, "no-store")], Json(page(found, replica))).into_response())
}

fn page(found: Found, replica: String) -> AuditPage {
    AuditPage {
        searched: AuditSearched {
            replica,
            since: found.reaches,
            complete: found.next.is_none() && found.not_searched.is_empty(),
            not_searched: found.not_searched,
            skipped_lines: found.no_records,
        },
        next: found.next.map(|next| next.to_string()),
        // Nothing in a record fails to serialize: no map, no float, no path.
        items: found
            .records
            .iter()
            .filter_map(|record| serde_json::to_value(record).ok())
            .collect(),
    }
}

fn wrong_question() -> Failure {
    let advice = &["ask by user, device, session, decision, since, until, before and limit: see /swagger"];
    Failure::new(StatusCode::BAD_REQUEST, "records cannot be searched by that", advice)
}

fn unsearched(error: &SearchError) -> Failure {
    match error {
        SearchError::NoFile | SearchError::NotPlain(_) => {
            let advice = &[
                "ask an administrator of TKA to set audit.path to a file (docs/audit.md)",
                "until then, search where the records are collected",
            ];
            Failure::new(StatusCode::NOT_FOUND, error.to_string(), advice)
        }
        SearchError::Moved => {
            let advice = &["begin anew, without `before`, and with `until` as the time of the last record"];
            Failure::new(StatusCode::GONE, error.to_string(), advice)
        }
        SearchError::Io { .. } => {
            let advice = &[
                "try again in a moment",
                "if it persists, ask an administrator of TKA to look at the folder of audit.path",
            ];
            Failure::transient("the audit records cannot be read just now", advice).with_cause(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_says_whether_all_was_searched() {
        let whole = page(Found::default(), "tka-0".to_owned());
        assert!(whole.searched.complete && whole.next.is_none());
        let packed = Found {
            not_searched: vec!["audit.log.2.gz".to_owned()],
            ..Found::default()
        };
        assert!(!page(packed, "tka-0".to_owned()).searched.complete);
    }

    #[test]
    fn statuses_say_what_to_do() {
        let status = |error: &SearchError| unsearched(error).status.as_u16();
        assert_eq!(status(&SearchError::NoFile), 404);
        assert_eq!(status(&SearchError::NotPlain("/dev/stdout".into())), 404);
        assert_eq!(status(&SearchError::Moved), 410);
        let source = std::io::Error::other("no");
        let path = "/var/log/audit.log".into();
        assert_eq!(status(&SearchError::Io { path, source }), 503);
        // None is taken for a path that does not exist, and so for a lack of oversight.
        assert_ne!(unsearched(&SearchError::NoFile).body, Failure::no_such_path().body);
    }
}
