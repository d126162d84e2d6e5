//! What the original's CLI decodes, with the rules of Go's `encoding/json`: a field that it does not know is read over.
//!
//! Types of its own on purpose. Those of `tka-api` change with the server, and these must not.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

/// `LoginResponse`, the body of `/login` and `/logout`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct Login {
    /// Login name.
    pub username: String,
    /// ClusterRole.
    pub role: String,
    /// End of the session.
    pub until: Timestamp,
}

/// `ErrorResponse`, the body of every refusal and failure.
#[derive(Clone, Debug, Deserialize)]
pub struct Refusal {
    /// What happened.
    pub message: String,
    /// What to do about it.
    #[serde(default)]
    pub advice: Vec<String>,
    /// What caused it.
    #[serde(default)]
    pub cause: Option<Box<Refusal>>,
}

/// `clientcmdapi.Config`, the body of `/kubeconfig` in JSON: everything keyed by name.
#[derive(Debug, Deserialize)]
pub struct Kubeconfig {
    /// Clusters.
    pub clusters: BTreeMap<String, Cluster>,
    /// Users.
    pub users: BTreeMap<String, User>,
    /// Contexts.
    pub contexts: BTreeMap<String, Context>,
    /// The context in use.
    #[serde(rename = "current-context")]
    pub current_context: String,
}

/// `clientcmdapi.Cluster`.
#[derive(Debug, Deserialize)]
pub struct Cluster {
    /// URL of the API server.
    pub server: String,
    /// Its certificate authority, PEM in base64.
    #[serde(rename = "certificate-authority-data")]
    pub authority: String,
}

/// `clientcmdapi.AuthInfo`.
#[derive(Debug, Deserialize)]
pub struct User {
    /// The credential.
    pub token: String,
}

/// `clientcmdapi.Context`.
#[derive(Debug, Deserialize)]
pub struct Context {
    /// Name of a cluster.
    pub cluster: String,
    /// Name of a user.
    pub user: String,
}

impl Refusal {
    /// The message, and that of every cause.
    #[must_use]
    pub fn messages(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{}: {}", self.message, cause.messages()),
            None => self.message.clone(),
        }
    }
}

impl Kubeconfig {
    /// The credential of the context in use.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        let context = self.contexts.get(&self.current_context)?;
        Some(&self.users.get(&context.user)?.token)
    }
}
