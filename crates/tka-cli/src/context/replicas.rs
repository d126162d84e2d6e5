//! The replicas of a server as this device knows them, and the tailnet that they must be on.

use std::time::Duration;

use super::{connect, way_to};
use crate::api::client::{Client, Route, Tailnet};
use crate::api::deadline::Deadline;
use crate::config;
use crate::error::Error;
use crate::kubeconfig::known_replicas::KnownReplicas;
use crate::kubeconfig::store::KubeconfigStore;
use crate::net::server::Server;
use crate::net::tailscale::{self, Status};

/// How long tailscaled may take to show the nodes of replicas.
const TAILSCALED_TIMEOUT: Duration = Duration::from_secs(2);
/// How long connecting to a replica may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// One of the replicas of a server.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) server: Server,
    /// The tags that its node must have; none where the user named it.
    tags: Option<Vec<String>>,
}

/// The tailnet, as this device's tailscaled shows it.
struct OwnTailnet {
    known: KnownReplicas,
    store: KubeconfigStore,
    route: config::RouteSettings,
    debug: bool,
}

/// `client`, with the replicas that its server is known to have.
pub(super) fn known_to(
    client: Client,
    store: Option<&KubeconfigStore>,
    route: &config::RouteSettings,
    debug: bool,
) -> Client {
    let Some((store, known)) = store.and_then(|store| Some((store, KnownReplicas::load(store)?))) else {
        return client;
    };
    let servers = known.servers(client.server());
    let tailnet = OwnTailnet {
        known,
        store: store.clone(),
        route: route.clone(),
        debug,
    };
    client.with_replicas(servers, tailnet)
}

/// All replicas of `server` that are known, itself first.
pub(super) fn all(server: &Server, store: Option<&KubeconfigStore>) -> Vec<Replica> {
    let known = store.and_then(KnownReplicas::load);
    let named = Replica {
        server: server.clone(),
        tags: None,
    };
    let others = known.iter().flat_map(|known| {
        let others = known.servers(server).into_iter().filter(|one| one != server);
        others.map(|one| Replica {
            server: one,
            tags: Some(known.tags.clone()),
        })
    });
    std::iter::once(named).chain(others).collect()
}

/// Whether `replica` is a node that this device sees on its tailnet, with the tags that an administrator gave the replicas.
fn is_replica_node(replica: &Server, tags: &[String], status: &Status) -> bool {
    let node = status.node(replica.host()).filter(|_| status.is_running());
    node.is_some_and(|node| !tags.is_empty() && node.sorted_tags() == tags)
}

// === impl Replica ===

impl Replica {
    /// A connection to just this one, with a time limit of its own. Not to what the tailnet does not show as a node that replicas run on.
    pub(crate) fn client(&self, route: config::RouteSettings, limit: Duration, debug: bool) -> Result<Client, Error> {
        let is_replica = self.tags.as_ref().is_none_or(|tags| {
            let status = tailscale::status(route.socket.as_deref(), TAILSCALED_TIMEOUT);
            status.is_ok_and(|status| is_replica_node(&self.server, tags, &status))
        });
        if !is_replica {
            let server = self.server.to_string();
            return Err(Error::NotAReplica { server });
        }
        connect(&self.server, Deadline::new(limit), debug, route)
    }
}

// === impl OwnTailnet ===

impl Tailnet for OwnTailnet {
    fn route(&self, replica: &Server) -> Option<Route> {
        let status = tailscale::status(self.route.socket.as_deref(), TAILSCALED_TIMEOUT).ok()?;
        if !is_replica_node(replica, &self.known.tags, &status) {
            return None;
        }
        way_to(replica, CONNECT_LIMIT, self.debug, self.route.clone()).ok()
    }

    fn prefer(&self, replica: &Server) {
        // A sign-in may have learned more meanwhile. A command does not fail if this fails.
        let known = KnownReplicas::load(&self.store).unwrap_or_else(|| self.known.clone());
        let _ = KnownReplicas::save(Some(&known.preferring(replica)), &self.store);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn replica_is_a_node_of_the_tailnet_with_the_same_tags() {
        let status = |state: &str| -> Status {
            serde_json::from_value(json!({
                "BackendState": state,
                "Self": {"DNSName": "laptop.example.ts.net.", "TailscaleIPs": ["100.64.0.1"]},
                "Peer": {
                    "1": {"DNSName": "tka-1.example.ts.net.", "TailscaleIPs": ["100.64.0.2"], "Tags": ["tag:tka"]},
                    "2": {"DNSName": "phone.example.ts.net.", "TailscaleIPs": ["100.64.0.3"]},
                    "3": {"DNSName": "ci.example.ts.net.", "TailscaleIPs": ["100.64.0.4"], "Tags": ["tag:ci"]}
                }
            }))
            .unwrap()
        };
        let tags = vec!["tag:tka".to_owned()];
        let is = |host: &str, tags: &[String], state: &str| {
            is_replica_node(&Server::new(host, 8080, None).unwrap(), tags, &status(state))
        };
        assert!(is("tka-1.example.ts.net", &tags, "Running") && is("100.64.0.2", &tags, "Running"));
        for host in [
            "evil.example.com",
            "192.0.2.1",
            "127.0.0.1",
            "laptop",
            "phone",
            "ci",
            "tka-1.evil.com",
        ] {
            assert!(!is(host, &tags, "Running"), "{host}");
        }
        assert!(!is("tka-1.example.ts.net", &tags, "Stopped"));
        assert!(!is("phone", &[], "Running"), "untagged nodes are people's");
    }
}
