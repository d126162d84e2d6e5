//! Who is at the other end of a connection.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::{LocalApi, LocalApiCall, escape};
use crate::json::{self, null_is_default};
use crate::{Error, NodeId, StableNodeId, UserId};

const ENDPOINT: &str = "whois";

/// Who is behind an address, and what the tailnet policy grants them towards this node (`apitype.WhoIsResponse`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct WhoIs {
    /// The node that the connection comes from.
    pub node: Node,
    /// Its user. Of a tagged node it says nothing: see [`Node::is_tagged`].
    pub user_profile: UserProfile,
    /// The capabilities that the policy's grants (`app`) give this node towards the one that was asked, each with the
    /// values of all grants that apply.
    #[serde(default, deserialize_with = "capabilities")]
    pub cap_map: BTreeMap<String, Vec<Box<RawValue>>>,
}

/// A node of the tailnet (the part of `tailcfg.Node` that says who it is).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Node {
    /// Its number on the control server.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Its ID for keeps.
    #[serde(rename = "StableID")]
    pub stable_id: StableNodeId,
    /// Its domain name in MagicDNS, without the final dot: `laptop.tail-scale.ts.net`.
    #[serde(deserialize_with = "json::domain")]
    pub name: String,
    /// The name that user interfaces show: the first label of [`name`](Self::name), mostly.
    #[serde(default)]
    pub computed_name: Option<String>,
    /// Its own addresses on the tailnet.
    #[serde(default, deserialize_with = "json::single_addresses")]
    pub addresses: Vec<IpAddr>,
    /// Its tags, each with `tag:` before it. A node with tags belongs to no user.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    /// Its public key (`nodekey:…`). It changes when the node signs in again.
    pub key: String,
    /// When that key ends. `None`: never, or it is not known.
    #[serde(default, deserialize_with = "json::time")]
    pub key_expiry: Option<Timestamp>,
    /// Whether that was before now, by the control server's clock. An expired node has no proven owner any more, and tailscaled
    /// still answers for it.
    #[serde(default)]
    pub expired: bool,
}

/// A user of the tailnet (`tailcfg.UserProfile`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct UserProfile {
    /// Their number on the control server.
    #[serde(rename = "ID")]
    pub id: UserId,
    /// Their login name, usually an address: `alice@example.com`. `tagged-devices` for every tagged node.
    pub login_name: String,
    /// Their name for people. May be empty.
    #[serde(default, deserialize_with = "null_is_default")]
    pub display_name: String,
}

// === impl LocalApi ===

impl LocalApi {
    /// Who is behind `addr`, the other end of a TCP connection that came over the tailnet to this machine.
    ///
    /// That is an address of the tailnet. Where tailscaled runs in userspace mode and hands connections on to loopback, it is
    /// the loopback address that the connection comes from.
    ///
    /// # Errors
    /// [`Error::NotFound`] if tailscaled knows no node there, and as every call.
    pub async fn whois(&self, addr: SocketAddr) -> Result<WhoIs, Error> {
        // A listener on [::] sees IPv4 callers as ::ffff:a.b.c.d, which tailscaled used not to know.
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let question = LocalApiCall {
            endpoint: ENDPOINT,
            path: &format!("whois?addr={}&proto=tcp", escape(&addr.to_string())),
            time: self.limits().call,
        };
        match self.ask(question).await {
            Err(Error::Refused { status: 404, .. }) => Err(Error::NotFound { addr }),
            answer => json::read(ENDPOINT, &answer?),
        }
    }
}

// === impl WhoIs ===

impl WhoIs {
    /// The values of a capability. None if it is not granted, or granted without values:
    /// [`has_capability`](Self::has_capability) tells which.
    #[must_use]
    pub fn capability(&self, name: &str) -> &[Box<RawValue>] {
        self.cap_map.get(name).map_or(&[], Vec::as_slice)
    }

    /// Whether a capability is granted, with or without values.
    #[must_use]
    pub fn has_capability(&self, name: &str) -> bool {
        self.cap_map.contains_key(name)
    }
}

// === impl Node ===

impl Node {
    /// Whether the node acts for itself and not for a user (`tailcfg.Node.IsTagged`). The user profile that comes with
    /// it must not be taken for a person then.
    #[must_use]
    pub fn is_tagged(&self) -> bool {
        !self.tags.is_empty()
    }

    /// Whether its key has ended by `now`, so that its owner is not proven any more. Both count: `tailcfg.Node.Expired`, and an
    /// expiry that the control server may not have acted on yet.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expired || self.key_expiry.is_some_and(|end| end <= now)
    }
}

/// A capability without values is a nil slice in Go, so `null`.
fn capabilities<'de, D>(deserializer: D) -> Result<BTreeMap<String, Vec<Box<RawValue>>>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let map: BTreeMap<String, Option<Vec<Box<RawValue>>>> = null_is_default(deserializer)?;
    let values = map.into_iter();
    Ok(values
        .map(|(name, values)| (name, values.unwrap_or_default()))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_is_expired_by_the_control_servers_word_or_by_the_clock() {
        let is_expired = |fields: &str, now: &str| {
            let node = format!(r#"{{"ID": 1, "StableID": "n1", "Name": "laptop.", "Key": "nodekey:1"{fields}}}"#);
            let node: Node = serde_json::from_str(&node).unwrap();
            node.is_expired(now.parse().unwrap())
        };
        let now = "2026-01-01T00:00:00Z";
        assert!(!is_expired("", now));
        assert!(!is_expired(r#", "KeyExpiry": "0001-01-01T00:00:00Z""#, now));
        assert!(is_expired(r#", "Expired": true"#, now));
        let key_expiry = r#", "KeyExpiry": "2026-01-01T00:00:00Z""#;
        assert!(is_expired(key_expiry, now));
        assert!(!is_expired(key_expiry, "2025-12-31T23:59:59Z"));
        assert!(is_expired(
            &format!(r#"{key_expiry}, "Expired": true"#),
            "2025-12-31T23:59:59Z"
        ));
    }
}
