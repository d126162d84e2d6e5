//! What tailscaled says about itself.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use crate::client::{LocalApi, LocalApiCall};
use crate::excerpt::excerpt;
use crate::json::{self, null_is_default};
use crate::{BackendState, Error, StableNodeId, UserId};

const ENDPOINT: &str = "status";

/// The state of tailscaled and of its node (`ipnstate.Status`).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    /// tailscaled's long version.
    #[serde(default)]
    pub version: String,
    /// Whether tailscaled has a network interface. If not, it runs in userspace mode: connections from the tailnet
    /// arrive on loopback.
    #[serde(rename = "TUN")]
    pub tun: bool,
    /// Whether the node is on a tailnet.
    pub backend_state: BackendState,
    /// This node. Most of it is empty until the node was on a tailnet.
    #[serde(rename = "Self", default)]
    pub self_node: Option<SelfNode>,
    /// The tailnet. `None` while the node is on none.
    #[serde(default)]
    pub current_tailnet: Option<Tailnet>,
    /// The names that tailscaled can get certificates for ([`LocalApi::certificate`]). Empty unless HTTPS is enabled
    /// for the tailnet.
    #[serde(default, deserialize_with = "null_is_default")]
    pub cert_domains: Vec<String>,
    /// What tailscaled finds wrong, in words. Empty is good.
    #[serde(default, deserialize_with = "null_is_default")]
    pub health: Vec<String>,
    /// The other nodes that this one knows. Empty unless they were [asked for](LocalApi::status_with_peers).
    #[serde(rename = "Peer", default, deserialize_with = "peers")]
    pub peers: Vec<Peer>,
}

/// Another node (the part of `ipnstate.PeerStatus` that says who it is).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Peer {
    /// Its ID for keeps.
    #[serde(rename = "ID")]
    pub id: StableNodeId,
    /// Its domain name in MagicDNS, without the final dot.
    #[serde(rename = "DNSName", default, deserialize_with = "json::domain")]
    pub dns_name: String,
    /// Its addresses on the tailnet.
    #[serde(rename = "TailscaleIPs", default, deserialize_with = "null_is_default")]
    pub tailscale_ips: Vec<IpAddr>,
    /// Its user. Of a tagged node it says nothing.
    #[serde(rename = "UserID", default)]
    pub user_id: Option<UserId>,
    /// Its tags, each with `tag:` before it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    /// Whether it is connected to the control server.
    #[serde(default)]
    pub online: bool,
    /// Whether its key has ended.
    #[serde(default)]
    pub expired: bool,
    /// When its key ends. `None`: never, or it is not known.
    #[serde(default, deserialize_with = "json::time")]
    pub key_expiry: Option<Timestamp>,
}

/// This node (the part of `ipnstate.PeerStatus` that says who it is).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct SelfNode {
    /// Its ID for keeps. `None` until the node was on a tailnet.
    #[serde(rename = "ID", default, deserialize_with = "id_once_known")]
    pub id: Option<StableNodeId>,
    /// The machine's own name, which need not be unique.
    #[serde(default)]
    pub host_name: String,
    /// Its domain name in MagicDNS, without the final dot. Empty until the node was on a tailnet.
    #[serde(rename = "DNSName", default, deserialize_with = "json::domain")]
    pub dns_name: String,
    /// Its addresses on the tailnet.
    #[serde(rename = "TailscaleIPs", default, deserialize_with = "null_is_default")]
    pub tailscale_ips: Vec<IpAddr>,
    /// Its tags, each with `tag:` before it.
    #[serde(default, deserialize_with = "null_is_default")]
    pub tags: Vec<String>,
    /// Whether it is connected to its control server. Connections between nodes may work without.
    #[serde(default)]
    pub online: bool,
    /// When its key ends, and with it its place on the tailnet. `None`: never, or it is not known.
    #[serde(default, deserialize_with = "json::time")]
    pub key_expiry: Option<Timestamp>,
}

/// A tailnet (`ipnstate.TailnetStatus`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase")]
pub struct Tailnet {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The domain of all its nodes' names, without dots around it: `tail-scale.ts.net`.
    #[serde(rename = "MagicDNSSuffix", default, deserialize_with = "json::domain")]
    pub magic_dns_suffix: String,
    /// Whether those names resolve.
    #[serde(rename = "MagicDNSEnabled", default)]
    pub magic_dns_enabled: bool,
}

// === impl LocalApi ===

impl LocalApi {
    /// The state of tailscaled and of its node. Peers are not asked for.
    pub async fn status(&self) -> Result<Status, Error> {
        let question = LocalApiCall {
            endpoint: ENDPOINT,
            path: "status?peers=false",
            time: self.limits().call,
        };
        json::read(ENDPOINT, &self.ask(question).await?)
    }

    /// The same with all [peers](Status::peers), as they are at one moment. The answer grows with the tailnet, some 2 KB
    /// for each of them, up to [`Limits::notification_bytes`](crate::Limits::notification_bytes).
    pub async fn status_with_peers(&self) -> Result<Status, Error> {
        let question = LocalApiCall {
            endpoint: ENDPOINT,
            path: "status?peers=true",
            time: self.limits().call,
        };
        json::read(
            ENDPOINT,
            &self.ask_up_to(question, self.limits().notification_bytes).await?,
        )
    }
}

// === impl Status ===

impl Status {
    /// This node, if it is on the tailnet.
    ///
    /// # Errors
    /// [`Error::NotRunning`] in every other state.
    pub fn require_running(&self) -> Result<&SelfNode, Error> {
        if self.backend_state != BackendState::Running {
            let state = self.backend_state.clone();
            let said = (!self.health.is_empty()).then(|| excerpt(&self.health.join("; ")));
            return Err(Error::NotRunning { state, said });
        }
        self.self_node.as_ref().ok_or_else(|| Error::Malformed {
            endpoint: ENDPOINT,
            why: "it runs, and has no node of its own".to_owned(),
        })
    }
}

/// tailscaled has them by their keys, which they say themselves.
fn peers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Peer>, D::Error> {
    let peers: BTreeMap<String, Peer> = null_is_default(deserializer)?;
    Ok(peers.into_values().collect())
}

fn id_once_known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StableNodeId>, D::Error> {
    null_is_default(deserializer).map(StableNodeId::new)
}
