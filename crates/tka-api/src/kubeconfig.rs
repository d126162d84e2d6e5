//! The kubeconfig in both its shapes.
//!
//! The HTTP API's JSON carries clusters, users and contexts as objects keyed by name ([`KeyedKubeconfig`]). The original's
//! CLI decodes that. kubectl reads lists of named entries ([`KubeconfigFile`]), see
//! <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Token;

/// A kubeconfig whose entries are keyed by name, as the HTTP API's JSON carries it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KeyedKubeconfig {
    /// Always `Config`.
    pub kind: String,
    /// Always `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Clusters by name.
    #[serde(default)]
    pub clusters: BTreeMap<String, Cluster>,
    /// Users by name.
    #[serde(default)]
    pub users: BTreeMap<String, User>,
    /// Contexts by name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
    /// Name of the context in use.
    #[serde(rename = "current-context", default)]
    pub current_context: String,
}

/// A kubeconfig as kubectl reads it from a file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct KubeconfigFile {
    /// Always `v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `Config`.
    pub kind: String,
    /// Clusters.
    #[serde(default)]
    pub clusters: Vec<NamedCluster>,
    /// Users.
    #[serde(default)]
    pub users: Vec<NamedUser>,
    /// Contexts.
    #[serde(default)]
    pub contexts: Vec<NamedContext>,
    /// Name of the context in use.
    #[serde(rename = "current-context", default)]
    pub current_context: String,
}

/// How to reach an API server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// URL of the API server.
    pub server: String,
    /// The certificate authority, PEM in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// Whether to skip verifying the server's certificate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_skip_tls_verify: bool,
    /// Name by which to verify the server's certificate, where it is not the URL's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
}

/// A credential.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct User {
    /// Bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub token: Option<Token>,
    /// A program that kubectl asks for a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<Exec>,
}

/// A program that kubectl asks for a credential
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins>).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// API version of what it prints.
    pub api_version: String,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Whether it may talk to the person.
    pub interactive_mode: String,
    /// What to say when the program is not there.
    pub install_hint: String,
}

/// A cluster together with a user.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Context {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the user.
    pub user: String,
    /// Namespace to work in; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// A cluster and its name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedCluster {
    /// Name that contexts refer to.
    pub name: String,
    /// How to reach it.
    pub cluster: Cluster,
}

/// A user and its name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedUser {
    /// Name that contexts refer to.
    pub name: String,
    /// Its credential.
    pub user: User,
}

/// A context and its name.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NamedContext {
    /// Name that `kubectl --context` takes.
    pub name: String,
    /// What it selects.
    pub context: Context,
}

/// The names under which a kubeconfig lists its one cluster, user and context.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EntryNames {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the user.
    pub user: String,
    /// Name of the context.
    pub context: String,
}

// === impl EntryNames ===

impl EntryNames {
    /// These names.
    pub fn new(cluster: impl Into<String>, user: impl Into<String>, context: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            user: user.into(),
            context: context.into(),
        }
    }
}

// === impl KeyedKubeconfig ===

impl KeyedKubeconfig {
    /// A kubeconfig with one cluster, one user and one context that is current.
    #[must_use]
    pub fn new(names: EntryNames, cluster: Cluster, user: User) -> Self {
        let context = Context {
            cluster: names.cluster.clone(),
            user: names.user.clone(),
            namespace: None,
        };
        Self {
            kind: "Config".into(),
            api_version: "v1".into(),
            clusters: BTreeMap::from([(names.cluster, cluster)]),
            users: BTreeMap::from([(names.user, user)]),
            contexts: BTreeMap::from([(names.context.clone(), context)]),
            current_context: names.context,
        }
    }

    /// The same, with `namespace` as the one that its context works in.
    #[must_use]
    pub fn in_namespace(mut self, namespace: Option<String>) -> Self {
        if let Some(context) = self.contexts.get_mut(&self.current_context) {
            context.namespace = namespace;
        }
        self
    }
}

// === impl User ===

impl From<Token> for User {
    fn from(token: Token) -> Self {
        Self {
            token: Some(token),
            exec: None,
        }
    }
}

impl From<Exec> for User {
    fn from(exec: Exec) -> Self {
        Self {
            token: None,
            exec: Some(exec),
        }
    }
}

// === impl KubeconfigFile ===

impl From<KeyedKubeconfig> for KubeconfigFile {
    fn from(keyed: KeyedKubeconfig) -> Self {
        let cluster = |(name, cluster)| NamedCluster { name, cluster };
        let user = |(name, user)| NamedUser { name, user };
        let context = |(name, context)| NamedContext { name, context };
        Self {
            api_version: keyed.api_version,
            kind: keyed.kind,
            clusters: keyed.clusters.into_iter().map(cluster).collect(),
            users: keyed.users.into_iter().map(user).collect(),
            contexts: keyed.contexts.into_iter().map(context).collect(),
            current_context: keyed.current_context,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alice() -> KeyedKubeconfig {
        KeyedKubeconfig::new(
            EntryNames::new("tka-cluster", "tka-user-alice", "tka-context-alice"),
            Cluster {
                server: "https://k:6443".into(),
                certificate_authority_data: Some("UEVN".into()),
                ..Cluster::default()
            },
            Token::from("secret".to_owned()).into(),
        )
    }

    #[test]
    fn json_is_keyed_by_name() {
        assert_eq!(
            serde_json::to_value(alice()).unwrap(),
            json!({
                "kind": "Config",
                "apiVersion": "v1",
                "clusters": {"tka-cluster": {"server": "https://k:6443", "certificate-authority-data": "UEVN"}},
                "users": {"tka-user-alice": {"token": "secret"}},
                "contexts": {"tka-context-alice": {"cluster": "tka-cluster", "user": "tka-user-alice"}},
                "current-context": "tka-context-alice"
            })
        );
    }

    #[test]
    fn file_lists_named_entries() {
        let file = serde_json::to_value(KubeconfigFile::from(alice())).unwrap();
        let users = json!([{"name": "tka-user-alice", "user": {"token": "secret"}}]);
        assert_eq!(file["users"], users);
        assert_eq!(file["contexts"][0]["context"]["user"], "tka-user-alice");
    }

    #[test]
    fn namespace_is_that_of_the_context() {
        let context = |kubeconfig: KeyedKubeconfig| kubeconfig.contexts["tka-context-alice"].namespace.clone();
        let in_shop = context(alice().in_namespace(Some("shop".into())));
        assert_eq!(in_shop.as_deref(), Some("shop"));
        assert_eq!(context(alice().in_namespace(None)), None);
    }

    #[test]
    fn what_the_original_adds_is_read_over() {
        let original = json!({
            "kind": "Config", "apiVersion": "v1", "preferences": {}, "extensions": {},
            "clusters": {"c": {"LocationOfOrigin": "", "server": "https://k", "certificate-authority-data": "UEVN"}},
            "users": {"u": {"token": "t"}},
            "contexts": {"x": {"cluster": "c", "user": "u"}},
            "current-context": "x"
        });
        let read: KeyedKubeconfig = serde_json::from_value(original).unwrap();
        assert_eq!(read.users["u"].token.as_ref().map(Token::expose), Some("t"));
    }

    #[test]
    fn debug_shows_no_token() {
        assert!(!format!("{:?}", alice()).contains("secret"));
    }
}
