//! Selectors: the texts in `src` and `dst` of a grant, and in groups.

use crate::dialect::Dialect;
use crate::net::Range;

/// Which nodes a text means.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Selector {
    /// `*`
    All,
    /// The devices of a user, by login name.
    User(String),
    /// `user:*@example.com`: the devices of all users of a domain. Tailscale alone has it.
    Domain(String),
    /// `group:…`
    Group(String),
    /// `tag:…`
    Tag(String),
    /// `autogroup:…`
    Autogroup(String),
    /// `ipset:…`. Tailscale alone has it.
    IpSet(String),
    /// Nodes with such an address.
    Addresses(Range),
    /// A name of `hosts`.
    Host(String),
    /// `svc:…`: a service, which is no node. Tailscale alone has it.
    Service(String),
    /// Something else.
    Unknown(String),
}

// === impl Selector ===

impl Selector {
    /// Reads one, in the order in which the control server tries the kinds. Both take blanks around it off.
    #[must_use]
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Self {
        let text = text.trim();
        let owned = text.to_owned();
        if text == "*" {
            return Self::All;
        }
        // Without a range of two addresses, which only IP sets have: it would be a host's name.
        if let Some(range) = Range::parse(text).filter(|_| !text.contains('-')) {
            return Self::Addresses(range);
        }
        match (dialect, text.split_once(':')) {
            // headscale looks for the sign before it looks for a prefix.
            (Dialect::Headscale, _) | (Dialect::Tailscale, None) if text.contains('@') => Self::User(owned),
            (Dialect::Tailscale, Some(("user", domain))) if domain.starts_with("*@") => {
                Self::Domain(domain[2..].to_lowercase())
            }
            (Dialect::Tailscale, Some(("ipset", _))) => Self::IpSet(owned),
            (Dialect::Tailscale, Some(("svc", _))) => Self::Service(owned),
            (_, Some(("group", _))) => Self::Group(owned),
            (_, Some(("tag", _))) => Self::Tag(owned),
            (_, Some(("autogroup", _))) => Self::Autogroup(owned),
            (_, None) if !text.is_empty() => Self::Host(owned),
            _ => Self::Unknown(owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_tried_as_the_control_servers_do() {
        let of = |text: &str, dialect| Selector::parse(text, dialect);
        for dialect in [Dialect::Tailscale, Dialect::Headscale] {
            assert_eq!(of("*", dialect), Selector::All);
            assert_eq!(of(" tag:ci ", dialect), Selector::Tag("tag:ci".into()));
            assert_eq!(
                of("alice@example.com", dialect),
                Selector::User("alice@example.com".into())
            );
            assert_eq!(of("web-1", dialect), Selector::Host("web-1".into()));
            assert!(matches!(of("100.64.0.0/10", dialect), Selector::Addresses(_)));
            assert!(matches!(of("fd7a::1", dialect), Selector::Addresses(_)));
            assert!(matches!(of("1.2.3.4-1.2.3.5", dialect), Selector::Host(_)));
            assert!(matches!(of("", dialect), Selector::Unknown(_)));
        }
    }

    /// What only Tailscale has.
    #[test]
    fn dialects_differ_in_these() {
        for (text, tailscale, headscale) in [
            (
                "user:*@Example.com",
                Selector::Domain("example.com".into()),
                Selector::User("user:*@Example.com".into()),
            ),
            (
                "group:sre@example.com",
                Selector::Group("group:sre@example.com".into()),
                Selector::User("group:sre@example.com".into()),
            ),
            (
                "ipset:prod",
                Selector::IpSet("ipset:prod".into()),
                Selector::Unknown("ipset:prod".into()),
            ),
            (
                "svc:db",
                Selector::Service("svc:db".into()),
                Selector::Unknown("svc:db".into()),
            ),
        ] {
            assert_eq!(Selector::parse(text, Dialect::Tailscale), tailscale);
            assert_eq!(Selector::parse(text, Dialect::Headscale), headscale);
        }
    }
}
