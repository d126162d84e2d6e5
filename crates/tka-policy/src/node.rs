//! Nodes of the tailnet, as far as a person says what they are: a caller's device, and the server.

use std::collections::BTreeSet;
use std::net::IpAddr;

use thiserror::Error;
use tka_core::shorten;

use crate::policy::Policy;

/// What is known of a node.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Node {
    /// Whose it is, by login name.
    pub user: Option<String>,
    /// Its tags. One with tags has no owner.
    pub tags: BTreeSet<String>,
    /// Its addresses: those that it may connect from.
    pub addresses: Vec<IpAddr>,
    /// Autogroups, and groups that an identity provider keeps, in which its user is. Only the caller knows.
    pub member_of: BTreeSet<String>,
}

/// Why a text says nothing of a node.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum NodeError {
    /// It is neither.
    #[error(
        "{0:?} is no tag, no user, no address, and no host of the policy: write it as tag:tka, alice@example.com or 100.64.0.7"
    )]
    Unknown(String),
    /// It has an owner of both kinds.
    #[error("a node is a user's or it has tags, and not both: say one of them")]
    Both,
}

// === impl Node ===

impl Node {
    /// A user's device.
    #[must_use]
    pub fn of_user(login_name: &str) -> Self {
        Self {
            user: Some(login_name.to_owned()),
            ..Self::default()
        }
    }

    /// A tagged device.
    pub fn tagged<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        Self {
            tags: tags.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Adds what a text says of the node: a tag, a user, an address, or a host of the policy with one address.
    pub fn say(&mut self, text: &str, policy: &Policy) -> Result<(), NodeError> {
        if text.starts_with("tag:") {
            self.tags.insert(text.to_owned());
        } else if let Ok(address) = text.parse() {
            self.addresses.push(address);
        } else if text.contains('@') {
            self.user = Some(text.to_owned());
        } else {
            let address = policy.hosts.get(text).and_then(crate::net::Range::only);
            let unknown = || NodeError::Unknown(shorten(text));
            self.addresses.push(address.ok_or_else(unknown)?);
        }
        self.check()
    }

    /// Whether it is what a node can be.
    pub fn check(&self) -> Result<(), NodeError> {
        if self.user.is_some() && !self.tags.is_empty() {
            return Err(NodeError::Both);
        }
        Ok(())
    }

    pub(crate) fn has_owner(&self) -> bool {
        self.user.is_some() || !self.tags.is_empty()
    }
}
