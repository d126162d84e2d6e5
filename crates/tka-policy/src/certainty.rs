//! Answers of three values: yes, no, and what cannot be known from the policy alone.

use std::collections::BTreeSet;
use std::fmt;

use tka_core::shorten;

/// Whether something holds, as far as it can be known.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Certainty {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It depends on what is not in the policy.
    Unknown(BTreeSet<UnknownReason>),
}

/// What is not in the policy.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum UnknownReason {
    /// Whose node it is.
    Owner,
    /// Which address it has.
    Address,
    /// It depends on by which of its addresses it connects.
    OneOfAddresses,
    /// Who is in an autogroup.
    Autogroup(String),
    /// Who is in a group that an identity provider keeps.
    Synced(String),
    /// Which user that is, at headscale: it may be a name, or an identity provider's ID.
    UserName(String),
    /// Whether the control server takes capitals for other letters.
    Case(String),
    /// Whether the device is as a posture demands.
    Posture(String),
    /// Whether a grant with `via` gives capabilities.
    Via,
}

// === impl Certainty ===

impl Certainty {
    /// It cannot be known, for one reason.
    #[must_use]
    pub fn unknown(why: UnknownReason) -> Self {
        Self::Unknown(BTreeSet::from([why]))
    }

    /// Whether it holds for sure.
    #[must_use]
    pub fn is_yes(&self) -> bool {
        *self == Self::Yes
    }

    /// Whether it does not hold for sure.
    #[must_use]
    pub fn is_no(&self) -> bool {
        *self == Self::No
    }

    /// Whether both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, other) | (other, Self::Yes) => other,
            (Self::Unknown(mut one), Self::Unknown(other)) => {
                one.extend(other);
                Self::Unknown(one)
            }
        }
    }

    /// Whether one of them holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Yes, _) | (_, Self::Yes) => Self::Yes,
            (Self::No, other) | (other, Self::No) => other,
            (Self::Unknown(mut one), Self::Unknown(other)) => {
                one.extend(other);
                Self::Unknown(one)
            }
        }
    }

    /// Whether any of them holds.
    pub(crate) fn any(all: impl IntoIterator<Item = Self>) -> Self {
        let mut found = Self::No;
        for one in all {
            found = found.or(one);
            if found.is_yes() {
                break;
            }
        }
        found
    }
}

impl From<bool> for Certainty {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl fmt::Display for UnknownReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owner => f.write_str("whose node it is: say its user or its tags"),
            Self::Address => f.write_str("which address the device has"),
            Self::OneOfAddresses => f.write_str("from which of its addresses the device connects"),
            Self::Autogroup(name) => write!(f, "who is in {}", shorten(name)),
            Self::Synced(name) => write!(f, "who is in {}, which the identity provider keeps", shorten(name)),
            Self::UserName(name) => write!(
                f,
                "which user {} is: the policy names a user by another name",
                shorten(name)
            ),
            Self::Case(name) => write!(f, "whether {}, which has other capitals, is the same", shorten(name)),
            Self::Posture(name) => write!(f, "whether the device fulfils {}", shorten(name)),
            Self::Via => f.write_str("whether a grant with `via` gives capabilities"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_decides_only_where_nothing_else_does() {
        let unknown = || Certainty::unknown(UnknownReason::Address);
        assert_eq!(unknown().and(Certainty::No), Certainty::No);
        assert_eq!(unknown().and(Certainty::Yes), unknown());
        assert_eq!(unknown().or(Certainty::Yes), Certainty::Yes);
        assert_eq!(unknown().or(Certainty::No), unknown());
        assert_eq!(Certainty::any([]), Certainty::No);
        let both = unknown().and(Certainty::unknown(UnknownReason::Owner));
        assert_eq!(
            both,
            Certainty::Unknown(BTreeSet::from([UnknownReason::Owner, UnknownReason::Address]))
        );
    }
}
