//! Which recordings are asked for.

use jiff::Timestamp;
use serde::Deserialize;
use thiserror::Error;
use tka_api::http::RecordingAbout;
use tka_recording::RecordingName;
use utoipa::IntoParams;

use crate::http::page_size::page_size;

/// What stands before a role where a rule is asked for.
const ROLE: &str = "role:";

/// Which recordings.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct RecordingParameters {
    /// Those of this login name, or of the tagged device of this name.
    #[param(inline, nullable = false)]
    user: Option<String>,
    /// Those of this session.
    #[param(inline, nullable = false)]
    session: Option<String>,
    /// Those of sessions through the rule of this name, or of this role: `role:edit`.
    #[param(inline, nullable = false)]
    rule: Option<String>,
    /// Those of this pod: `NAME`, or `NAMESPACE/NAME`.
    #[param(inline, nullable = false)]
    pod: Option<String>,
    /// Those that began then or later (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime, nullable = false)]
    since: Option<Timestamp>,
    /// Those that began before then (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime, nullable = false)]
    until: Option<Timestamp>,
    /// Those that are older than the one of this name: `next` of the page before.
    #[param(
        inline,
        nullable = false,
        pattern = "^[0-9]{8}T[0-9]{6}[.][0-9]{3}Z-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
    )]
    before: Option<String>,
    /// How many at the most; 100 when absent.
    #[param(inline, nullable = false, minimum = 1, maximum = 1000)]
    limit: Option<u32>,
}

/// The same, understood.
#[derive(Debug)]
pub(super) struct Filter {
    wanted: RecordingParameters,
    before: Option<RecordingName>,
    pub(super) limit: usize,
}

/// What of a question cannot be understood.
#[derive(Debug, Eq, Error, PartialEq)]
pub(super) enum FilterError {
    #[error("`before` is no name of a recording")]
    Before,
    #[error("`limit` is not between 1 and 1000")]
    Limit,
}

// === impl Filter ===

impl Filter {
    pub(super) fn new(wanted: RecordingParameters) -> Result<Self, FilterError> {
        let limit = page_size(wanted.limit).ok_or(FilterError::Limit)?;
        let before = wanted.before.as_deref();
        let before = before.map(|before| RecordingName::parse(before).ok_or(FilterError::Before));
        Ok(Self {
            before: before.transpose()?,
            limit,
            wanted,
        })
    }

    /// Whether a recording may be meant, by its name.
    pub(super) fn has_name(&self, name: &RecordingName) -> bool {
        let began = name.began();
        self.before.as_ref().is_none_or(|before| name < before)
            && self.wanted.since.is_none_or(|since| began >= since)
            && self.wanted.until.is_none_or(|until| began < until)
    }

    /// Whether only what is inside says whether a recording is meant.
    pub(super) fn looks_inside(&self) -> bool {
        let RecordingParameters {
            user,
            session,
            rule,
            pod,
            ..
        } = &self.wanted;
        [user, session, rule, pod].into_iter().any(Option::is_some)
    }

    /// Whether a recording is meant, by what is inside.
    pub(super) fn means(&self, about: &RecordingAbout) -> bool {
        let is = |wanted: &Option<String>, is: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(is);
        is(&self.wanted.user, &|user| about.username == user)
            && is(&self.wanted.session, &|session| about.session == session)
            && is(&self.wanted.rule, &|rule| match rule.strip_prefix(ROLE) {
                Some(role) => about.role == role,
                None => about.rule.as_deref() == Some(rule),
            })
            && is(&self.wanted.pod, &|pod| match pod.split_once('/') {
                Some((namespace, pod)) => about.namespace == namespace && about.pod == pod,
                None => about.pod == pod,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Query;

    fn filter(query: &str) -> Result<Filter, String> {
        let uri = format!("/recordings?{query}").parse().map_err(|_| "no URI")?;
        let Query(wanted) = Query::<RecordingParameters>::try_from_uri(&uri).map_err(|error| error.body_text())?;
        Filter::new(wanted).map_err(|error| error.to_string())
    }

    fn name(began: &str) -> RecordingName {
        RecordingName::new(began.parse().unwrap(), "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11").unwrap()
    }

    #[test]
    fn what_is_misspelt_is_refused_and_lists_nothing_more() {
        for (query, why) in [
            ("usr=alice", "unknown field `usr`"),
            ("user=a&user=b", "duplicate field `user`"),
            ("limit=0", "`limit` is not"),
            ("limit=1001", "`limit` is not"),
            ("limit=many", "limit"),
            ("since=yesterday", "since"),
            ("before=..%2f..", "`before` is no name"),
        ] {
            let error = filter(query).unwrap_err();
            assert!(error.contains(why), "{query}: {error}");
        }
        assert_eq!(filter("").unwrap().limit, 100);
    }

    #[test]
    fn times_are_from_and_before() {
        let began = name("2026-11-26T17:00:00Z");
        for (query, expected) in [
            ("", true),
            ("since=2026-11-26T17:00:00Z", true),
            ("since=2026-11-26T17:00:00.001Z", false),
            ("until=2026-11-26T17:00:00Z", false),
            ("until=2026-11-26T18:00:01%2B01:00", true),
            ("since=2026-11-26T16:00:00Z&until=2026-11-26T16:30:00Z", false),
        ] {
            assert_eq!(filter(query).unwrap().has_name(&began), expected, "{query}");
        }
        let page = filter(&format!("before={began}")).unwrap();
        assert!(!page.has_name(&began) && page.has_name(&name("2026-11-26T16:59:59Z")));
        assert!(!page.has_name(&name("2026-11-26T17:00:01Z")) && !page.looks_inside());
    }

    #[test]
    fn all_that_is_asked_for_must_be_so() {
        let about = RecordingAbout {
            username: "alice@example.com".into(),
            session: "tka-alice-x".into(),
            role: "edit".into(),
            rule: Some("oncall".into()),
            namespace: "shop".into(),
            pod: "web".into(),
            ..RecordingAbout::default()
        };
        for (query, expected) in [
            ("user=alice@example.com", true),
            ("user=alice", false),
            ("user=", false),
            ("session=tka-alice-x&rule=oncall&pod=web", true),
            ("session=tka-alice-y&rule=oncall&pod=web", false),
            ("rule=role:edit", true),
            ("rule=edit", false),
            ("rule=role:oncall", false),
            ("pod=shop/web", true),
            ("pod=other/web", false),
            ("pod=we", false),
        ] {
            let filter = filter(query).unwrap();
            assert!(filter.looks_inside());
            assert_eq!(filter.means(&about), expected, "{query}");
        }
    }
}
