//! What a request to the API server asks for, in the words of its audit log.

use std::fmt;

use http::{Method, request::Parts};
use serde::Serialize;
use serde_json::Value;

/// A request, without the names of what it is about.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Request {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// The resource, in the plural, and the subresource if it is about one: `tkasignins/status`.
    pub resource: String,
    /// What tells it from others of its kind: the label that a list is selected by, the reason that an Event gives.
    pub detail: Option<String>,
}

// === impl Request ===

impl Request {
    /// What a request asks for.
    #[must_use]
    pub fn of(head: &Parts, body: &[u8]) -> Self {
        let (resource, subresource, name) = parts(head.uri.path());
        let query = head.uri.query().unwrap_or_default();
        let verb = verb(&head.method, query, name.is_some());
        let detail = match (verb, resource) {
            ("list" | "watch", _) => selected_by(query),
            ("create", "events") => reason(body),
            _ => None,
        };
        Self {
            verb,
            resource: match subresource {
                Some(subresource) => format!("{resource}/{subresource}"),
                None => resource.to_owned(),
            },
            detail,
        }
    }

    /// Whether it is `VERB RESOURCE`.
    #[must_use]
    pub fn is(&self, verb: &str, resource: &str) -> bool {
        self.verb == verb && self.resource == resource
    }

    /// Whether it is part of what a server does all the time, and not of what is asked of it: watching, keeping its Lease,
    /// sweeping.
    #[must_use]
    pub fn is_background(&self) -> bool {
        let of_one_caller = matches!(self.detail.as_deref(), Some("caller" | "user"));
        self.resource == "leases" || self.verb == "watch" || (self.verb == "list" && !of_one_caller)
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match (&self.detail, self.verb) {
            (Some(label), "list" | "watch") => write!(f, " by {label}"),
            (Some(detail), _) => write!(f, " {detail}"),
            (None, _) => Ok(()),
        }
    }
}

/// Resource, subresource and name of `/api/v1/…` or `/apis/GROUP/VERSION/…`.
fn parts(path: &str) -> (&str, Option<&str>, Option<&str>) {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (["api", _, within @ ..] | ["apis", _, _, within @ ..]) = segments.as_slice() else {
        return (path, None, None);
    };
    let within = match within {
        ["namespaces", _, rest @ ..] if !rest.is_empty() => rest,
        within => within,
    };
    let at = |index: usize| within.get(index).copied();
    (at(0).unwrap_or(path), at(2), at(1))
}

fn verb(method: &Method, query: &str, named: bool) -> &'static str {
    let watches = query
        .split('&')
        .any(|pair| matches!(pair, "watch=true" | "watch=1" | "watch"));
    match (method.as_str(), named) {
        ("GET", _) if watches => "watch",
        ("GET", true) => "get",
        ("GET", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "other",
    }
}

/// The last label of a selector, without what stands before its slash. The first is the same for all.
fn selected_by(query: &str) -> Option<String> {
    let selector = query.split('&').find_map(|pair| pair.strip_prefix("labelSelector="))?;
    let selector = selector.replace("%2C", ",").replace("%2F", "/").replace("%3D", "=");
    let last = selector.rsplit(',').next()?;
    let key = last.split('=').next()?;
    Some(key.rsplit('/').next()?.to_owned())
}

fn reason(body: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(body).ok()?;
    Some(event["reason"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(method: &str, uri: &str, body: &str) -> String {
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        Request::of(&request.into_parts().0, body.as_bytes()).to_string()
    }

    #[test]
    fn requests_are_told_as_in_the_audit_log() {
        let signins = "/apis/tka.specht-labs.de/v1alpha1/namespaces/n/tkasignins";
        assert_eq!(
            told("PATCH", &format!("{signins}/a?force=true"), ""),
            "patch tkasignins"
        );
        assert_eq!(
            told("PATCH", &format!("{signins}/a/status"), ""),
            "patch tkasignins/status"
        );
        assert_eq!(told("DELETE", &format!("{signins}/a"), ""), "delete tkasignins");
        assert_eq!(
            told("GET", &format!("{signins}?watch=true&x=y"), ""),
            "watch tkasignins"
        );
        let list =
            format!("{signins}?&labelSelector=app.kubernetes.io%2Fmanaged-by%3Dtka%2Ctka.specht-labs.de%2Fcaller%3Dx");
        assert_eq!(told("GET", &list, ""), "list tkasignins by caller");
        assert_eq!(
            told("POST", "/api/v1/namespaces/n/serviceaccounts/a/token", "{}"),
            "create serviceaccounts/token"
        );
        assert_eq!(
            told("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view", ""),
            "get clusterroles"
        );
        assert_eq!(
            told(
                "POST",
                "/apis/events.k8s.io/v1/namespaces/n/events",
                r#"{"reason":"Expired"}"#
            ),
            "create events Expired"
        );
        assert_eq!(told("GET", "/api/v1/namespaces/n", ""), "get namespaces");
    }

    #[test]
    fn what_goes_on_all_the_time_is_background() {
        let background = |method: &str, uri: &str| {
            let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
            Request::of(&request.into_parts().0, b"").is_background()
        };
        assert!(background("PUT", "/apis/coordination.k8s.io/v1/namespaces/n/leases/a"));
        assert!(background(
            "GET",
            "/api/v1/namespaces/n/serviceaccounts?labelSelector=a%3Db"
        ));
        assert!(!background("GET", "/api/v1/x?labelSelector=a%3Db%2Ct%2Fuser%3Dc"));
        assert!(!background("GET", "/api/v1/namespaces/n/serviceaccounts/a"));
    }
}
