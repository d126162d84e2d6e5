//! Identifiers that must not be taken for one another.

use std::fmt;

use serde::Deserialize;

/// A node's ID that outlives its key, its name and its address (`tailcfg.StableNodeID`). Never empty.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct StableNodeId(String);

/// A node's numeric ID on its control server (`tailcfg.NodeID`). Prefer [`StableNodeId`] for anything that is kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct NodeId(pub i64);

/// A user's numeric ID on the control server (`tailcfg.UserID`). All tagged nodes share one that stands for no user.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub struct UserId(pub i64);

// === impl StableNodeId ===

impl StableNodeId {
    /// The ID as the control server writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `None` for the empty string, which Go's zero value becomes.
    pub(crate) fn new(id: String) -> Option<Self> {
        (!id.is_empty()).then_some(Self(id))
    }
}

impl TryFrom<String> for StableNodeId {
    type Error = &'static str;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::new(id).ok_or("a node without a stable ID")
    }
}

impl fmt::Display for StableNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
