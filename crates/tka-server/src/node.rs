//! This server's node on the tailnet, which an administrator may rename while it serves.

use tka_tailnet::Status;
use tokio::sync::watch;

use crate::browser::Hosts;

/// What the node is called.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Node {
    /// The server's URL, as people on the tailnet reach it.
    pub url: String,
    /// The hosts by which it may be called.
    pub hosts: Hosts,
}

/// How the node is served, whatever it is called.
#[derive(Clone, Debug)]
pub struct Served {
    /// At which port.
    pub port: u16,
    /// Whether by HTTPS.
    pub https: bool,
    /// Names that are not the node's.
    pub allowed_hosts: Vec<String>,
}

// === impl Node ===

impl Node {
    /// The node that `status` is of.
    #[must_use]
    pub fn new(status: &Status, served: &Served) -> Self {
        let name = status
            .self_node
            .as_ref()
            .map_or("localhost", |node| node.dns_name.as_str());
        let url = if served.https {
            format!("https://{name}")
        } else {
            format!("http://{name}:{}", served.port)
        };
        Self {
            url,
            hosts: Hosts::new(status, &served.allowed_hosts),
        }
    }
}

/// Keeps `node` what tailscaled last said that it is, for as long as it is polled. One that is not on the tailnet says nothing of it.
pub async fn keep(mut said: watch::Receiver<Option<Status>>, served: &Served, node: &watch::Sender<Node>) {
    while said.changed().await.is_ok() {
        let new = said.borrow_and_update().as_ref().and_then(|status| {
            let is_there = status.require_running().is_ok();
            is_there.then(|| Node::new(status, served))
        });
        if let Some(new) = new {
            renew(node, new);
        }
    }
}

fn renew(node: &watch::Sender<Node>, new: Node) {
    node.send_if_modified(|node| {
        let is_new = *node != new;
        if is_new {
            tracing::info!(url = new.url, "the node has another name or address");
            *node = new;
        }
        is_new
    });
}
