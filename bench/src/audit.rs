//! Requests that one account made of the API server, counted in its audit log: exactly, whatever else asks the API server meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Outcome;

/// An audit log, and where reading begins.
#[derive(Debug)]
pub struct Since {
    log: PathBuf,
    start: u64,
}

/// An event, as far as it says what was asked by which account (`audit.k8s.io/v1`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    resource: Option<String>,
    subresource: Option<String>,
}

// === impl Since ===

impl Since {
    /// From now on.
    pub fn now(log: &Path) -> Outcome<Self> {
        Ok(Self {
            start: std::fs::metadata(log)?.len(),
            log: log.to_owned(),
        })
    }

    /// What `user` has asked since then, by verb and resource.
    pub fn of(&self, user: &str) -> Outcome<BTreeMap<String, u64>> {
        let mut file = File::open(&self.log)?;
        file.seek(SeekFrom::Start(self.start))?;
        let mut text = String::new();
        file.read_to_string(&mut text)?;
        Ok(count(&text, user))
    }
}

/// The account of a server, as the API server calls it.
#[must_use]
pub fn server_account(namespace: &str) -> String {
    format!("system:serviceaccount:{namespace}:tka")
}

/// Whether that is asked also when nothing happens: by the election, by watches that begin anew, and once a minute by the sweep. The sweep's list of
/// `TkaSignin`s stays in, because a sign-out makes one too: it is one of twenty in some runs.
#[must_use]
pub fn is_background(what: &str) -> bool {
    let swept = ["list clusterrolebindings", "list rolebindings", "list serviceaccounts"];
    what.starts_with("watch ") || what.ends_with(" leases") || swept.contains(&what)
}

/// Each request counts once, when it is answered; a watch when it begins.
fn count(log: &str, user: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    // The last line may not be whole yet.
    let events = log.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    for event in events.filter(|event| event.user.username.as_deref() == Some(user)) {
        let is_watch = event.verb == "watch";
        if event.stage
            != (if is_watch {
                "ResponseStarted"
            } else {
                "ResponseComplete"
            })
        {
            continue;
        }
        let what = match event.object_ref {
            Some(Object {
                resource,
                subresource: Some(sub),
            }) => format!("{}/{sub}", resource.unwrap_or_default()),
            Some(Object { resource, .. }) => resource.unwrap_or_default(),
            None => "other paths".to_owned(),
        };
        *counts.entry(format!("{} {what}", event.verb)).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"stage":"ResponseComplete","verb":"patch","user":{"username":"u"},"objectRef":{"resource":"tkasignins","subresource":"status"}}
{"stage":"ResponseComplete","verb":"patch","user":{"username":"other"},"objectRef":{"resource":"tkasignins"}}
{"stage":"ResponseStarted","verb":"watch","user":{"username":"u"},"objectRef":{"resource":"tkasignins"}}
{"stage":"ResponseComplete","verb":"watch","user":{"username":"u"},"objectRef":{"resource":"tkasignins"}}
{"stage":"ResponseComplete","verb":"get","user":{"username":"u"}}
{"stage":"ResponseComplete","verb":"get","user":{"usern"#;

    #[test]
    fn requests_of_one_account_are_counted_once() {
        let expected = [
            ("get other paths", 1),
            ("patch tkasignins/status", 1),
            ("watch tkasignins", 1),
        ];
        assert_eq!(
            count(LOG, "u"),
            BTreeMap::from(expected.map(|(what, count)| (what.to_owned(), count)))
        );
        assert!(count(LOG, "nobody-else").is_empty());
    }

    #[test]
    fn what_is_asked_anyway_is_told_from_what_is_asked_for() {
        for what in ["watch tkasignins", "update leases", "list serviceaccounts"] {
            assert!(is_background(what), "{what}");
        }
        for what in ["list tkasignins", "create serviceaccounts", "get tkasignins"] {
            assert!(!is_background(what), "{what}");
        }
    }

    #[test]
    fn what_was_asked_before_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("audit.log");
        std::fs::write(&log, LOG).unwrap();
        let since = Since::now(&log).unwrap();
        assert!(since.of("u").unwrap().is_empty());
        std::fs::write(&log, format!("{LOG}\n{LOG}\n")).unwrap();
        assert_eq!(since.of("u").unwrap().len(), 3);
    }
}
