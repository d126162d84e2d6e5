//! Roles, from kubectl or from a file, and what follows from them.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tka_core::{Escalation, MinorVersion, RoleRule, escalations};

use super::{PolicyError, file};
use crate::sys::command_output;

/// How long kubectl may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A list as `kubectl get clusterroles -o json` prints it, or one role.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Printed {
    List { items: Vec<Role> },
    One(Role),
}

#[derive(Debug, Deserialize)]
struct Role {
    metadata: Metadata,
    /// What a role has that aggregates others is among them: the API server writes it there.
    rules: Option<Vec<RoleRule>>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
}

/// What kubectl says of the API server's version.
#[derive(Debug, Deserialize)]
struct Version {
    minor: String,
}

/// A role, and what its holder gets beyond what it says.
#[derive(Debug, Serialize)]
pub(crate) struct RoleRisks {
    pub(crate) name: String,
    pub(crate) escalations: Vec<Escalation>,
}

/// Where roles are from.
#[derive(Debug)]
pub(crate) enum Origin<'a> {
    /// The cluster of kubectl's context.
    Kubectl {
        /// Another context than the current one.
        context: Option<&'a str>,
    },
    File(&'a Path),
}

// === impl Origin ===

impl Origin<'_> {
    /// What follows from the roles of these names; from all if there are none. `minor` is the version of Kubernetes, where it is said.
    pub(crate) fn risks(&self, names: &[String], minor: Option<u32>) -> Result<Vec<RoleRisks>, PolicyError> {
        let roles = self.roles()?;
        let version = minor.or_else(|| self.minor()).map(MinorVersion);
        if let Some(gone) = names
            .iter()
            .find(|name| !roles.iter().any(|role| role.metadata.name == **name))
        {
            return Err(PolicyError::NoSuchRole(gone.clone()));
        }
        let is_meant = |role: &Role| names.is_empty() || names.contains(&role.metadata.name);
        let risks = roles.into_iter().filter(is_meant).map(|role| RoleRisks {
            name: role.metadata.name,
            escalations: escalations(&role.rules.unwrap_or_default(), version),
        });
        Ok(risks.collect())
    }

    fn roles(&self) -> Result<Vec<Role>, PolicyError> {
        let (origin, text) = match self {
            Self::Kubectl { .. } => {
                let printed = self.kubectl(&["get", "clusterroles", "--output=json"]);
                ("kubectl".to_owned(), printed.map_err(PolicyError::Kubectl)?)
            }
            Self::File(path) => (path.display().to_string(), file::text(path)?.into_bytes()),
        };
        match serde_json::from_slice(&text) {
            Ok(Printed::List { items }) => Ok(items),
            Ok(Printed::One(role)) => Ok(vec![role]),
            Err(source) => Err(PolicyError::NoRoles { origin, source }),
        }
    }

    /// The minor version of the cluster; none where it cannot be known.
    fn minor(&self) -> Option<u32> {
        let Self::Kubectl { .. } = self else { return None };
        let printed = self.kubectl(&["get", "--raw=/version"]).ok()?;
        let version: Version = serde_json::from_slice(&printed).ok()?;
        version.minor.trim_end_matches('+').parse().ok()
    }

    fn kubectl(&self, arguments: &[&str]) -> std::io::Result<Vec<u8>> {
        let context = match self {
            Self::Kubectl { context: Some(context) } => Some(format!("--context={context}")),
            _ => None,
        };
        let arguments: Vec<&str> = arguments.iter().copied().chain(context.as_deref()).collect();
        command_output::within("kubectl", &arguments, LIMIT)
    }
}
