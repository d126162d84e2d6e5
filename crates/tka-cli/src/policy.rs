//! Tailnet policies in files, and roles of a cluster.

pub(crate) mod chart;
pub(crate) mod file;
pub(crate) mod roles;

use std::io;
use std::path::PathBuf;

use tka_policy::{ExpectError, NodeError};

use crate::exit::Exit;

/// Why nothing can be said of a policy or of roles.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It is no `HuJSON`.
    #[error("{place}: this is no HuJSON: {what}")]
    Syntax { place: String, what: String },
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The policy has several tags that may be the servers', or none.
    #[error("the policy does not show which nodes are TKA servers")]
    NoServer,
    #[error("the expectations in {} cannot be used", path.display())]
    Expect { path: PathBuf, source: ExpectError },
    /// The values of the chart are no values.
    #[error("the roles in {} cannot be read", path.display())]
    Values {
        path: PathBuf,
        source: Box<serde_saphyr::Error>,
    },
    #[error("cannot run kubectl")]
    Kubectl(#[source] io::Error),
    /// It printed nothing, or something else.
    #[error("{origin} gave no ClusterRoles")]
    NoRoles { origin: String, source: serde_json::Error },
    #[error("there is no ClusterRole {0}")]
    NoSuchRole(String),
}

// === impl PolicyError ===

impl PolicyError {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Node(_) | Self::NoServer => Exit::Usage,
            Self::Syntax { .. } | Self::Expect { .. } | Self::Values { .. } => Exit::PolicyUnreadable,
            Self::Read { .. } | Self::Kubectl(_) | Self::NoRoles { .. } | Self::NoSuchRole(_) => Exit::Failure,
        }
    }

    /// What to do.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                vec!["save it as UTF-8".into()]
            }
            Self::Read { .. } => vec!["name a file that you may read, or - for standard input".into()],
            Self::Syntax { .. } => {
                vec!["correct the file there: HuJSON is JSON with comments and with commas after the last element".into()]
            }
            Self::Node(_) => vec!["say of the caller who it is with --as or --tag, and of the server with --to".into()],
            Self::NoServer => vec!["say what the server's node is, as with `--to tag:tka`".into()],
            Self::Expect { .. } => {
                vec!["correct the file: docs/book/src/how-to/policy-checks.md has its fields and an example".into()]
            }
            Self::Values { .. } => vec!["name a file with values of the chart, or list the roles with --roles".into()],
            Self::Kubectl(_) | Self::NoRoles { .. } => vec![
                "see with `kubectl get clusterroles` whether you may read them".into(),
                "or give them as a file: `kubectl get clusterroles -o json > roles.json`, `tka policy roles -f roles.json`".into(),
            ],
            Self::NoSuchRole(_) => vec!["look at `kubectl get clusterroles` for its name".into()],
        }
    }
}
