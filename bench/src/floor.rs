//! What a session costs the API server at the least. Its objects are written and deleted without anything around that, as the server's own account
//! and under the guard.

use std::time::{Duration, Instant};

use futures::future::try_join;
use http::Method;
use serde_json::{Value, json};

use crate::Outcome;
use crate::api::Api;

const SIGNINS: &str = "/apis/tka.specht-labs.de/v1alpha1";
/// The path of all `ClusterRoleBinding`s.
pub const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
/// Digits of what ends a session's name.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// How many such digits there are.
const NAME_DIGITS: usize = 32;

/// Writes and deletes what sessions are made of, in a namespace whose server does not run.
#[derive(Clone)]
pub struct Floor {
    api: Api,
    namespace: String,
}

// === impl Floor ===

impl Floor {
    /// `api` is the server's of that namespace.
    #[must_use]
    pub fn new(api: Api, namespace: &str) -> Self {
        Self {
            api,
            namespace: namespace.to_owned(),
        }
    }

    /// Writes a session: its object, then account and binding side by side, then a token. Returns how long that took.
    pub async fn sign_in(&self, number: usize) -> Outcome<Duration> {
        let (name, namespace) = (name(number), &self.namespace);
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let start = Instant::now();
        let signin = self
            .api
            .must(Method::POST, &self.signins(), Some(&self.signin(&name)))
            .await?;
        let signin: Value = serde_json::from_slice(&signin.body)?;
        let account = self.account(&name, &signin["metadata"]["uid"]);
        let binding = self.binding(&name);
        try_join(
            self.api.must(Method::POST, &accounts, Some(&account)),
            self.api.must(Method::POST, BINDINGS, Some(&binding)),
        )
        .await?;
        let token = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": { "audiences": [], "expirationSeconds": 3600 },
        });
        self.api
            .must(Method::POST, &format!("{accounts}/{name}/token"), Some(&token))
            .await?;
        Ok(start.elapsed())
    }

    /// Deletes a session: binding and account side by side, then its object. Returns how long that took.
    pub async fn sign_out(&self, number: usize) -> Outcome<Duration> {
        let (name, namespace) = (name(number), &self.namespace);
        let start = Instant::now();
        try_join(
            self.delete(format!("{BINDINGS}/{namespace}:{name}")),
            self.delete(format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}")),
        )
        .await?;
        self.delete(format!("{}/{name}", self.signins())).await?;
        Ok(start.elapsed())
    }

    /// Deletes, and asks again as long as the API server has too much to do.
    async fn delete(&self, path: String) -> Outcome {
        loop {
            let answer = self.api.send(Method::DELETE, &path, None).await?;
            match answer.retry_after {
                Some(seconds) if answer.status.as_u16() == 429 => {
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                }
                _ if answer.status.is_success() => return Ok(()),
                _ => return Err(format!("DELETE {path} answered {}", answer.status).into()),
            }
        }
    }

    fn signins(&self) -> String {
        format!("{SIGNINS}/namespaces/{}/tkasignins", self.namespace)
    }

    fn labels(&self, name: &str) -> Value {
        json!({
            "app.kubernetes.io/managed-by": "tka",
            "tka.specht-labs.de/session": name,
            "tka.specht-labs.de/namespace": self.namespace,
            "tka.specht-labs.de/caller": "floor",
            "tka.specht-labs.de/user": "floor",
        })
    }

    fn signin(&self, name: &str) -> Value {
        json!({
            "apiVersion": "tka.specht-labs.de/v1alpha1",
            "kind": "TkaSignin",
            "metadata": {
                "name": name,
                "labels": self.labels(name),
                "annotations": {
                    "tka.specht-labs.de/last-attempted-sign-in": "2026-01-01T00:00:00Z",
                    "tka.specht-labs.de/sign-in-valid-until": "2026-01-01T01:00:00Z",
                },
            },
            "spec": {
                "username": "floor@example.com", "role": "view", "validity_period": "1h", "user_id": 1,
                "device": { "stable_id": "nfloor", "name": "floor" },
            },
        })
    }

    fn account(&self, name: &str, uid: &Value) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "name": name,
                "labels": self.labels(name),
                "ownerReferences": [{ "apiVersion": "tka.specht-labs.de/v1alpha1", "kind": "TkaSignin", "name": name, "uid": uid }],
            },
            "automountServiceAccountToken": false,
        })
    }

    fn binding(&self, name: &str) -> Value {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": { "name": format!("{}:{name}", self.namespace), "labels": self.labels(name) },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" },
            "subjects": [{ "kind": "ServiceAccount", "name": name, "namespace": self.namespace }],
        })
    }
}

/// The path of the `TkaSignin`s of a namespace.
#[must_use]
pub fn signins(namespace: &str) -> String {
    format!("{SIGNINS}/namespaces/{namespace}/tkasignins")
}

/// The name of a session that is made by hand. It has the form of a real one, which the guard looks at.
fn name(number: usize) -> String {
    let mut rest = number;
    let mut digits: Vec<_> = (0..NAME_DIGITS)
        .map(|_| {
            let digit = DIGITS[rest % DIGITS.len()];
            rest /= DIGITS.len();
            char::from(digit)
        })
        .collect();
    digits.reverse();
    format!("tka-floor-{}", String::from_iter(digits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_and_have_the_form_of_a_sessions() {
        assert_eq!(name(0), format!("tka-floor-{}", "a".repeat(32)));
        assert_eq!(name(33), format!("tka-floor-{}bb", "a".repeat(30)));
        let many: std::collections::BTreeSet<_> = (0..2000).map(name).collect();
        assert_eq!(many.len(), 2000);
    }
}
