//! The two control servers that read tailnet policies, and what each takes.
//!
//! Tailscale's is as its documentation says: <https://tailscale.com/docs/reference/syntax/policy-file>. headscale's is as version 0.29 reads policies
//! (`hscontrol/policy/v2` of github.com/juanfont/headscale), which the testbed runs.

use serde::{Deserialize, Serialize};

/// Which control server reads the policy.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Tailscale's own.
    #[default]
    Tailscale,
    /// headscale.
    Headscale,
}

/// Sections that both have.
const SECTIONS: [&str; 11] = [
    "groups",
    "hosts",
    "tagOwners",
    "acls",
    "grants",
    "nodeAttrs",
    "autoApprovers",
    "ssh",
    "tests",
    "sshTests",
    "randomizeClientPort",
];
/// Sections that only Tailscale has.
const TAILSCALE_SECTIONS: [&str; 8] = [
    "ipsets",
    "postures",
    "defaultSrcPosture",
    "derpMap",
    "disableIPv4",
    "OneCGNATRoute",
    "extraDNSRecords",
    "nodeAttributes",
];
/// Fields of a grant that both have.
const GRANT: [&str; 5] = ["src", "dst", "ip", "app", "via"];
/// Fields of a grant that only Tailscale has.
const TAILSCALE_GRANT: [&str; 1] = ["srcPosture"];
/// Fields of a node attribute that both have.
const NODE_ATTRIBUTE: [&str; 3] = ["target", "attr", "ipPool"];
/// Fields of a node attribute that only Tailscale has.
const TAILSCALE_NODE_ATTRIBUTE: [&str; 1] = ["app"];
/// Autogroups that headscale has in `src` of a grant.
const SOURCES: [&str; 3] = ["autogroup:member", "autogroup:tagged", "autogroup:danger-all"];
/// Those that Tailscale has there too. Who is in them is not in the policy, but for the first, which is another word for `autogroup:member`.
const TAILSCALE_SOURCES: [&str; 8] = [
    "autogroup:members",
    "autogroup:owner",
    "autogroup:admin",
    "autogroup:it-admin",
    "autogroup:network-admin",
    "autogroup:billing-admin",
    "autogroup:auditor",
    "autogroup:shared",
];
/// Autogroups that headscale has in `dst` of a grant.
const DESTINATIONS: [&str; 4] = [
    "autogroup:internet",
    "autogroup:member",
    "autogroup:tagged",
    "autogroup:self",
];

// === impl Dialect ===

impl Dialect {
    fn is(self, name: &str, both: &[&str], tailscale: &[&str]) -> bool {
        let among = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        among(both) || self == Self::Tailscale && among(tailscale)
    }

    /// Whether a policy has such a section.
    #[must_use]
    pub fn has_section(self, name: &str) -> bool {
        self.is(name, &SECTIONS, &TAILSCALE_SECTIONS)
    }

    /// Whether a grant has such a field.
    #[must_use]
    pub fn has_grant_field(self, name: &str) -> bool {
        self.is(name, &GRANT, &TAILSCALE_GRANT)
    }

    /// Whether an entry of `nodeAttrs` has such a field.
    #[must_use]
    pub fn has_node_attribute_field(self, name: &str) -> bool {
        self.is(name, &NODE_ATTRIBUTE, &TAILSCALE_NODE_ATTRIBUTE)
    }

    /// Whether this autogroup may be in `src` of a grant.
    #[must_use]
    pub fn has_source(self, autogroup: &str) -> bool {
        SOURCES.contains(&autogroup) || self == Self::Tailscale && TAILSCALE_SOURCES.contains(&autogroup)
    }

    /// Whether this autogroup may be in `dst` of a grant.
    #[must_use]
    pub fn has_destination(self, autogroup: &str) -> bool {
        DESTINATIONS.contains(&autogroup) || self == Self::Tailscale && TAILSCALE_SOURCES.contains(&autogroup)
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tailscale => "Tailscale",
            Self::Headscale => "headscale",
        })
    }
}
