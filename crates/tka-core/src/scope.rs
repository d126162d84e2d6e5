//! Where a role holds: in the whole cluster, or in some namespaces.

use std::collections::BTreeSet;

use serde::Deserialize;
use thiserror::Error;

use crate::Namespace;
use crate::digest::Digest;
use crate::names::NameError;

/// How many namespaces a rule may name. A `TkaSignin` holds no more, and each is a binding to make before a caller is in.
pub const MAX_NAMESPACES: usize = 100;

/// Where a role holds. No list of namespaces, be it empty, means the whole cluster.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Scope {
    /// In the whole cluster.
    Cluster,
    /// In these namespaces alone.
    Namespaces(Namespaces),
}

/// From one to [`MAX_NAMESPACES`] namespaces.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "BTreeSet<Namespace>")]
pub struct Namespaces(BTreeSet<Namespace>);

/// Why a list is no [`Namespaces`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NamespacesError {
    /// It is empty, which was meant to restrict and restricts nothing.
    #[error("`namespaces` is empty: leave it out for the whole cluster, or name at least one")]
    Empty,
    /// It is too long.
    #[error("`namespaces` names more than {MAX_NAMESPACES}")]
    TooMany,
    /// One of its items is no name.
    #[error(transparent)]
    Name(#[from] NameError),
}

// === impl Scope ===

impl Scope {
    /// The scope that a `TkaSignin` of these `namespaces` has. The resource leaves the list out for the whole cluster.
    pub fn from_stored(namespaces: &[String]) -> Result<Self, NamespacesError> {
        if namespaces.is_empty() {
            return Ok(Self::Cluster);
        }
        let names = namespaces.iter().cloned().map(Namespace::try_from);
        Namespaces::try_from(names.collect::<Result<BTreeSet<_>, _>>()?).map(Self::Namespaces)
    }

    /// The names of the namespaces, as resources, answers and records list them: none for the whole cluster.
    #[must_use]
    pub fn to_names(&self) -> Vec<String> {
        self.namespaces().map(ToString::to_string).collect()
    }

    /// The namespaces; none for the whole cluster.
    pub fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let named = match self {
            Self::Cluster => None,
            Self::Namespaces(Namespaces(names)) => Some(names),
        };
        named.into_iter().flatten()
    }

    /// Whether a role that holds in `self` holds wherever one does that holds in `other`.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cluster, _) => true,
            (Self::Namespaces(_), Self::Cluster) => false,
            (Self::Namespaces(Namespaces(own)), Self::Namespaces(Namespaces(others))) => others.is_subset(own),
        }
    }

    /// The names of sessions rest on it: the whole cluster is written as no namespaces.
    pub(crate) fn write_to(&self, digest: &mut Digest) {
        digest.field(&self.namespaces().count().to_string());
        for namespace in self.namespaces() {
            digest.field(namespace.as_str());
        }
    }
}

// === impl Namespaces ===

impl TryFrom<BTreeSet<Namespace>> for Namespaces {
    type Error = NamespacesError;

    fn try_from(names: BTreeSet<Namespace>) -> Result<Self, NamespacesError> {
        match names.len() {
            0 => Err(NamespacesError::Empty),
            1..=MAX_NAMESPACES => Ok(Self(names)),
            _ => Err(NamespacesError::TooMany),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(names: &[&str]) -> Scope {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        Scope::from_stored(&names).unwrap()
    }

    #[test]
    fn what_is_stored_is_read_back() {
        assert_eq!(stored(&[]), Scope::Cluster);
        let some = stored(&["ops", "dev", "ops"]);
        assert_eq!(some.to_names(), ["dev", "ops"]);
        assert_eq!(Scope::from_stored(&some.to_names()), Ok(some));
        assert!(Scope::from_stored(&[String::new()]).is_err());
    }

    #[test]
    fn cluster_covers_all_and_namespaces_only_theirs() {
        let (all, some, one) = (Scope::Cluster, stored(&["dev", "ops"]), stored(&["dev"]));
        assert!(all.covers(&all) && all.covers(&some) && some.covers(&one) && one.covers(&one));
        assert!(!some.covers(&all) && !one.covers(&some) && !one.covers(&stored(&["ops"])));
    }
}
