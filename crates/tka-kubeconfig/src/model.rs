//! What kubectl reads in a kubeconfig.
//!
//! The fields are those of <https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/>, read as Go reads JSON into them. Unknown keys
//! are ignored, null is the zero value, and only a text or null is read as a text.
//!
//! `tka_api::kubeconfig` has types of these names for what crosses the wire. Those are not merged with these. Serde reads and writes them,
//! the `OpenAPI` document describes them, and they hold the fields that a server sends. These are read from any user's file by Go's rules,
//! which serde's are not. They are never written, and they hold no token.

mod decode;
mod merge;

use std::fmt;

pub use merge::{Merged, merge, sources};

use crate::{Unreadable, yaml};

/// A kubeconfig as kubectl sees it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Kubeconfig {
    /// Name of the current context; empty where none is set.
    pub current_context: String,
    /// In their order.
    pub clusters: Vec<Named<Cluster>>,
    /// In their order.
    pub users: Vec<Named<User>>,
    /// In their order.
    pub contexts: Vec<Named<Context>>,
}

/// An item of a list, which is empty where nothing names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named<T> {
    /// No other in the list has it.
    pub name: String,
    /// What it names.
    pub item: T,
}

/// How to reach an API server. Texts are empty where nothing is said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Cluster {
    /// URL of the API server.
    pub server: String,
    /// Name by which to verify the server's certificate, where it is not the URL's.
    pub tls_server_name: String,
    /// Whether to skip verifying the server's certificate.
    pub insecure_skip_tls_verify: bool,
    /// File with the certificate authority.
    pub certificate_authority: String,
    /// The certificate authority itself.
    pub certificate_authority_data: Vec<u8>,
    /// URL of a proxy.
    pub proxy_url: String,
}

/// A credential, as far as it matters who asks for it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct User {
    /// What kubectl runs for it.
    pub exec: Option<ExecConfig>,
    /// Whether it has a token and nothing else.
    pub is_token: bool,
    /// Whether it has nothing at all.
    pub is_empty: bool,
}

/// What kubectl runs for a user's credential.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExecConfig {
    /// API version of what it prints.
    pub api_version: String,
    /// The program.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
}

/// A cluster together with a user. Texts are empty where nothing is said.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Context {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the user.
    pub user: String,
    /// Namespace to work in.
    pub namespace: String,
}

// === impl Kubeconfig ===

impl Kubeconfig {
    /// What kubectl reads in a file with these bytes.
    ///
    /// # Errors
    ///
    /// Where kubectl cannot read it either.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        Self::from_text(&crate::encoding::decode(bytes)?)
    }

    /// What kubectl reads in a file with this text.
    ///
    /// # Errors
    ///
    /// Where kubectl cannot read it either.
    pub fn from_text(text: &str) -> Result<Self, Unreadable> {
        Self::from_node(yaml::parse(text)?.root.as_deref())
    }
}

/// The item of that name, if a list has one.
#[must_use]
pub fn find<'l, T>(list: &'l [Named<T>], name: &str) -> Option<&'l T> {
    list.iter().find(|named| named.name == name).map(|named| &named.item)
}

// === impl User ===

impl User {
    /// Whether it has nothing, or a token and nothing else.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.is_token || self.is_empty
    }
}

/// Not what it says, which may be tokens.
impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User(exec: {}, is_token: {})", self.exec.is_some(), self.is_token)
    }
}
