//! What the cluster has of the sessions of one server: whole ones, halves, and what belongs to none.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::{Kind, Outcome, Site};

const ROLE_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/rolebindings";
const SESSION: &str = "tka.specht-labs.de/session";

/// All that there is of one server's sessions.
#[derive(Clone, Debug)]
pub struct State {
    signins: Vec<Value>,
    accounts: Vec<Value>,
    bindings: Vec<Value>,
}

/// What there is of one user's session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// All of it, as it should be.
    Whole {
        /// The UID of its TkaSignin.
        uid: String,
        /// When it ends.
        until: Timestamp,
    },
    /// A part of it, or one that is on its way in or out; and what is wrong with it.
    Half(String),
}

// === impl State ===

impl State {
    /// What there is now. What hangs on sessions is read before the sessions, so that nothing looks like a leftover that is not.
    pub fn of(site: &Site<'_>) -> Outcome<Self> {
        let namespace = site.server.namespace();
        let cluster = &site.world.cluster;
        let mut bindings = site.objects(Kind::Binding)?;
        bindings.extend(cluster.labelled(ROLE_BINDINGS, namespace)?);
        Ok(Self {
            bindings,
            accounts: site.objects(Kind::Account)?,
            signins: site.objects(Kind::Signin)?,
        })
    }

    /// What there is of the one session of `username`.
    #[must_use]
    pub fn of_user(&self, username: &str) -> Found {
        let of_user = |signin: &&Value| signin["spec"]["username"] == username;
        let signins: Vec<_> = self.signins.iter().filter(of_user).collect();
        match signins.as_slice() {
            [] => Found::Absent,
            [signin] => self.session(signin).unwrap_or_else(Found::Half),
            several => Found::Half(format!("{} sessions of one device and rule", several.len())),
        }
    }

    /// Accounts and bindings whose session is not there.
    #[must_use]
    pub fn orphans(&self) -> Vec<String> {
        let sessions: BTreeSet<_> = self.signins.iter().map(name).collect();
        let children = self.accounts.iter().chain(&self.bindings);
        children
            .filter(|child| !sessions.contains(session_of(child)))
            .map(|child| format!("orphan {}", name(child)))
            .collect()
    }

    fn session(&self, signin: &Value) -> Result<Found, String> {
        let name = name(signin);
        let of_session = |objects: &'_ [Value]| -> Vec<Value> {
            let of_session = objects.iter().filter(|object| session_of(object) == name);
            of_session.cloned().collect()
        };
        let (accounts, bindings) = (of_session(&self.accounts), of_session(&self.bindings));
        let namespaces = signin["spec"]["namespaces"].as_array().map_or(0, Vec::len);
        let status = &signin["status"];
        let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(what.to_owned()) };
        must(signin["metadata"]["deletionTimestamp"].is_null(), "it is being ended")?;
        must(status["provisioned"] == true, "it is not provisioned")?;
        must(accounts.len() == 1, "it has no account")?;
        must(bindings.len() == namespaces.max(1), "a binding is missing, or too many")?;
        for binding in &bindings {
            must(
                binding["roleRef"]["name"] == signin["spec"]["role"],
                "a binding gives another role",
            )?;
            must(
                binding["subjects"][0]["name"] == name,
                "a binding is to another account",
            )?;
        }
        let annotated = &signin["metadata"]["annotations"]["tka.specht-labs.de/sign-in-valid-until"];
        let until = status["valid_until"].as_str().unwrap_or_default();
        must(*annotated == until, "its status tells of another end")?;
        Ok(Found::Whole {
            uid: signin["metadata"]["uid"].as_str().unwrap_or_default().to_owned(),
            until: until.parse().map_err(|error| format!("its end is no time: {error}"))?,
        })
    }
}

// === impl Found ===

impl Found {
    /// Whether it is whole, or not there: nothing in between.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self, Self::Half(_))
    }

    /// Whether it is whole, and ends later than `before`.
    #[must_use]
    pub fn is_later_than(&self, before: Option<Timestamp>) -> bool {
        matches!(self, Self::Whole { until, .. } if before.is_none_or(|before| *until > before))
    }

    /// Whether it is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. })
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn session_of(object: &Value) -> &str {
    object["metadata"]["labels"][SESSION].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn state() -> State {
        let labels = json!({SESSION: "s"});
        let until = "2026-01-01T00:00:00Z";
        State {
            signins: vec![json!({
                "metadata": {"name": "s", "uid": "u", "annotations": {"tka.specht-labs.de/sign-in-valid-until": until}},
                "spec": {"username": "a@b", "role": "view"},
                "status": {"provisioned": true, "valid_until": until},
            })],
            accounts: vec![json!({"metadata": {"name": "s", "labels": labels}})],
            bindings: vec![json!({
                "metadata": {"name": "n:s", "labels": labels},
                "roleRef": {"name": "view"},
                "subjects": [{"name": "s"}],
            })],
        }
    }

    #[test]
    fn a_session_is_whole_only_with_all_of_its_parts() {
        assert!(state().of_user("a@b").is_whole());
        assert_eq!(state().of_user("c@b"), Found::Absent);
        let without: [fn(&mut State); 6] = [
            |state| drop(state.accounts.pop()),
            |state| drop(state.bindings.pop()),
            |state| state.signins[0]["status"]["provisioned"] = json!(false),
            |state| state.signins[0]["status"]["valid_until"] = json!("2025-01-01T00:00:00Z"),
            |state| state.signins[0]["metadata"]["deletionTimestamp"] = json!("2025-01-01T00:00:00Z"),
            |state| state.bindings[0]["roleRef"]["name"] = json!("edit"),
        ];
        for spoil in without {
            let mut state = state();
            spoil(&mut state);
            assert!(!state.of_user("a@b").is_settled(), "{state:?}");
        }
    }

    #[test]
    fn what_belongs_to_no_session_is_an_orphan() {
        let mut state = state();
        assert!(state.orphans().is_empty());
        state.signins.clear();
        assert_eq!(state.orphans(), ["orphan s", "orphan n:s"]);
    }
}
