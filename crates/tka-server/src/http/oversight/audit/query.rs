//! Which records are asked for.

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;
use tka_api::audit::{Decision, Record, Who};
use utoipa::IntoParams;

use crate::audit::{AuditQuery, LogPosition};
use crate::http::oversight::is_device;
use crate::http::page_size::page_size;

/// Which records.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AuditParameters {
    /// Those about this login name, or the tagged device of this name: what they did, and what others decided about their sign-ins.
    #[param(inline, nullable = false)]
    user: Option<String>,
    /// Those about this device: its name, the name's first label, or its stable ID.
    #[param(inline, nullable = false)]
    device: Option<String>,
    /// Those about this session.
    #[param(inline, nullable = false)]
    session: Option<String>,
    /// Those of this decision.
    #[param(inline, nullable = false)]
    decision: Option<Decision>,
    /// Those of then or later (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime, nullable = false)]
    since: Option<Timestamp>,
    /// Those of before then (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime, nullable = false)]
    until: Option<Timestamp>,
    /// Those before a place in the files: `next` of the page before.
    #[param(inline, nullable = false, pattern = "^[0-9a-f]{1,16}(-[0-9a-f]{1,16}){2}$")]
    before: Option<String>,
    /// How many at the most; 100 when absent.
    #[param(inline, nullable = false, minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// What of a question cannot be understood.
#[derive(Debug, Eq, Error, PartialEq)]
pub(super) enum QuestionError {
    #[error("`before` is no place in the records")]
    Before,
    #[error("`limit` is not between 1 and 1000")]
    Limit,
}

// === impl AuditParameters ===

impl AuditParameters {
    /// The same, understood.
    pub(super) fn question(self) -> Result<AuditQuery, QuestionError> {
        let limit = page_size(self.limit).ok_or(QuestionError::Limit)?;
        let before = self.before.as_deref();
        let before = before.map(|before| LogPosition::parse(before).ok_or(QuestionError::Before));
        Ok(AuditQuery {
            before: before.transpose()?,
            limit,
            since: self.since,
            until: self.until,
            means: Box::new(move |record| self.means(record)),
        })
    }

    fn means(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        self.decision.is_none_or(|decision| record.decision == decision)
            && is(&self.session, &|name| {
                record.session.as_ref().is_some_and(|session| session.name == name)
            })
            && is(&self.user, &|user| is_about_user(record, user))
            && is(&self.device, &|device| is_about_device(record, device))
    }
}

/// Whether they are who did what is recorded, or whose sign-in it is about.
fn is_about_user(record: &Record, user: &str) -> bool {
    let is_who = match (&record.who, &record.device) {
        (Some(Who::User { login_name, .. }), _) => login_name == user,
        (Some(Who::Machine { .. }), Some(device)) => device.name == user,
        _ => false,
    };
    is_who
        || record
            .approval
            .as_ref()
            .is_some_and(|approval| approval.username == user)
        || record
            .break_glass
            .as_ref()
            .is_some_and(|emergency| emergency.username == user)
}

fn is_about_device(record: &Record, asked: &str) -> bool {
    let is_from = |device: &tka_api::audit::Device| is_device(asked, &device.stable_id, &device.name);
    record.device.as_ref().is_some_and(is_from)
        || record
            .approval
            .as_ref()
            .is_some_and(|approval| approval.device == asked)
        || record
            .break_glass
            .as_ref()
            .is_some_and(|emergency| emergency.device == asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Query;
    use serde_json::json;

    fn question(query: &str) -> Result<AuditQuery, String> {
        let uri = format!("/oversight/audit?{query}").parse().map_err(|_| "no URI")?;
        let Query(wanted) = Query::<AuditParameters>::try_from_uri(&uri).map_err(|error| error.body_text())?;
        wanted.question().map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_misspelt_is_refused_and_searches_nothing() {
        for (query, why) in [
            ("usr=alice", "unknown field `usr`"),
            ("user=a&user=b", "duplicate field `user`"),
            ("limit=0", "`limit` is not"),
            ("limit=1001", "`limit` is not"),
            ("decision=signedin", "unknown variant"),
            ("decision=SignedIn", "unknown variant"),
            ("since=yesterday", "since"),
            ("before=..%2f..", "`before` is no place"),
            ("before=1-2-3-4", "`before` is no place"),
        ] {
            let error = question(query).err().unwrap_or_default();
            assert!(error.contains(why), "{query}: {error}");
        }
        let asked = question("decision=end_requested&before=1-2-3").unwrap();
        assert_eq!((asked.limit, asked.before), (100, LogPosition::parse("1-2-3")));
    }

    #[test]
    fn all_that_is_asked_for_must_be_so() {
        let record: Record = serde_json::from_value(json!({
            "version": "audit.tka.specht-labs.de/v1", "time": "2026-01-02T15:04:05Z", "decision": "approved", "outcome": "granted",
            "who": {"user": {"id": 7, "login_name": "alice@example.com"}},
            "device": {"stable_id": "n1", "name": "laptop.example.ts.net"},
            "session": {"name": "tka-bob-x", "namespace": "tka", "until": "2026-01-02T16:04:05Z", "rule": {"role": "view", "period": "1h0m0s"}},
            "approval": {"request": "r", "username": "bob@example.com", "device": "n2", "count": 1, "needed": 1},
        }))
        .unwrap();
        for (query, expected) in [
            ("", true),
            (
                "user=alice@example.com&device=laptop&session=tka-bob-x&decision=approved",
                true,
            ),
            ("user=alice@example.com&decision=denied", false),
            ("user=bob@example.com", true),
            ("user=bob@example.com&device=n2", true),
            ("user=carol@example.com", false),
            ("user=alice", false),
            ("user=", false),
            ("device=n1", true),
            ("device=", false),
            ("session=tka-bob", false),
        ] {
            assert_eq!((question(query).unwrap().means)(&record), expected, "{query}");
        }
        let machine: Record = serde_json::from_value(json!({
            "version": "audit.tka.specht-labs.de/v1", "time": "2026-01-02T15:04:05Z", "decision": "refused", "outcome": "refused",
            "who": {"machine": {"tags": ["tag:ci"]}}, "device": {"stable_id": "n3", "name": "ci-1"},
        }))
        .unwrap();
        assert!((question("user=ci-1").unwrap().means)(&machine));
        assert!(!(question("user=tag:ci").unwrap().means)(&machine));
    }
}
