//! Who is at the other end of a connection.

use crate::digest::Digest;
use crate::text::text_type;

/// A user's ID on the tailnet. Never given to another user, unlike a login name
/// (`tailcfg.UserID`, <https://pkg.go.dev/tailscale.com/tailcfg#UserID>).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserId(pub i64);

/// The node that the caller's connection comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// The node's stable ID (`tailcfg.StableNodeID`): it survives a new key and a new name.
    pub stable_id: String,
    /// The node's name on the tailnet, for people to read.
    pub name: String,
}

/// What a caller is known as.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Identity {
    /// A person, signed in to the tailnet.
    User {
        /// Their ID.
        id: UserId,
        /// Their login name, usually an address. The tailnet guarantees nothing about its form.
        login_name: String,
    },
    /// A tagged node. It has no user: the device itself is the identity.
    Machine {
        /// The node's tags, `tag:` included.
        tags: Vec<String>,
    },
}

/// Who is at the other end of a connection: a user on a device, or a machine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// What they are known as.
    pub identity: Identity,
    /// Where they come from.
    pub device: Device,
}

/// A short text that stands for one caller, or one user, and no other, fit for a Kubernetes label value: lower-case letters and
/// digits.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CallerKey(String);

// === impl Device ===

impl Device {
    /// The device of that stable ID and name.
    #[must_use]
    pub fn new(stable_id: impl Into<String>, name: impl Into<String>) -> Self {
        let (stable_id, name) = (stable_id.into(), name.into());
        Self { stable_id, name }
    }
}

// === impl Identity ===

impl Identity {
    /// The user of that ID and login name.
    #[must_use]
    pub fn user(id: i64, login_name: impl Into<String>) -> Self {
        let (id, login_name) = (UserId(id), login_name.into());
        Self::User { id, login_name }
    }

    /// A machine with these tags.
    pub fn machine(tags: impl IntoIterator<Item: Into<String>>) -> Self {
        let tags = tags.into_iter().map(Into::into).collect();
        Self::Machine { tags }
    }
}

// === impl Caller ===

impl Caller {
    /// What people call the caller: the login name of a user, the device name of a machine.
    #[must_use]
    pub fn username(&self) -> &str {
        match &self.identity {
            Identity::User { login_name, .. } => login_name,
            Identity::Machine { .. } => &self.device.name,
        }
    }

    /// A short form of [`Caller::username`] for names that people read: lower-case letters, digits and dashes. It identifies no caller.
    ///
    /// That of every machine is the same: a machine that is renamed is still the same caller, and keeps its sessions.
    #[must_use]
    pub fn short_name(&self) -> String {
        match &self.identity {
            Identity::User { login_name, .. } => Some(slug(login_name)).filter(|slug| !slug.is_empty()),
            Identity::Machine { .. } => Some("machine".into()),
        }
        .unwrap_or_else(|| "user".into())
    }

    /// The key under which all sessions of this caller, on this device, are found.
    #[must_use]
    pub fn key(&self) -> CallerKey {
        let mut digest = Digest::new("caller");
        self.write_to(&mut digest);
        CallerKey(digest.finish())
    }

    /// The key under which all sessions of this user are found, whatever the device. A machine has but its own.
    #[must_use]
    pub fn user_key(&self) -> CallerKey {
        let mut digest = Digest::new("user");
        self.write_identity(&mut digest);
        CallerKey(digest.finish())
    }

    /// The login name is part of it beside the ID: a renamed account starts anew instead of inheriting.
    pub(crate) fn write_to(&self, digest: &mut Digest) {
        self.write_identity(digest);
        digest.field(&self.device.stable_id);
    }

    fn write_identity(&self, digest: &mut Digest) {
        match &self.identity {
            Identity::User { id, login_name } => {
                digest.field("user");
                digest.field(&id.0.to_string());
                digest.field(login_name);
            }
            Identity::Machine { .. } => {
                digest.field("machine");
                digest.field(&self.device.stable_id);
            }
        }
    }
}

// === impl CallerKey ===

text_type!(CallerKey);

/// What can be read of the local part of `text` as lower-case letters, digits and single dashes: at most 20 characters, perhaps
/// none.
fn slug(text: &str) -> String {
    let local_part = text.split('@').next().unwrap_or_default();
    let mut slug = String::new();
    for c in local_part.chars() {
        let c = if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        };
        if c != '-' || !(slug.is_empty() || slug.ends_with('-')) {
            slug.push(c);
        }
        if slug.len() == 20 {
            break;
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    slug
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slug_keeps_what_can_be_read() {
        assert_eq!(slug("alice@example.com"), "alice");
        assert_eq!(slug("Ann-Marie.O'Neil@example.com"), "ann-marie-o-neil");
        assert_eq!(slug("@example.com"), "");
        assert_eq!(slug(".."), "");
        assert_eq!(slug("日本語"), "");
        assert_eq!(slug("a..b@c"), "a-b");
        assert_eq!(slug("averyveryverylongname-x@c").len(), 20);
    }

    proptest! {
        #[test]
        fn slug_is_a_label_or_empty(text in ".*") {
            let slug = slug(&text);
            prop_assert!(slug.len() <= 20);
            prop_assert!(slug.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'));
            prop_assert!(!slug.starts_with('-') && !slug.ends_with('-'));
        }
    }
}
