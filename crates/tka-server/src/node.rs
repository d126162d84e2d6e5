//! This server's node on the tailnet, which an administrator may rename while it serves.

use std::time::Duration;

use futures::StreamExt;
use tka_tailnet::{LocalApi, Status};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::browser::Hosts;

/// How soon tailscaled is listened to again, when the connection broke.
const RETRY: Duration = Duration::from_secs(1);

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

/// Keeps `node` what tailscaled says that it is, for as long as it is polled.
pub async fn keep(tailnet: &LocalApi, served: &Served, node: &watch::Sender<Node>) {
    loop {
        if let Ok(mut notifications) = tailnet.watch().await {
            while let Some(Ok(notification)) = notifications.next().await {
                if notification.netmap_changed || notification.state.is_some() {
                    refresh(tailnet, served, node).await;
                }
            }
        }
        sleep(RETRY).await;
    }
}

/// A tailscaled that does not answer, or is not on the tailnet, says nothing new of the node.
async fn refresh(tailnet: &LocalApi, served: &Served, node: &watch::Sender<Node>) {
    let Ok(status) = tailnet.status().await else { return };
    if status.require_running().is_err() {
        return;
    }
    let new = Node::new(&status, served);
    node.send_if_modified(|node| {
        let is_new = *node != new;
        if is_new {
            tracing::info!(url = new.url, "the node has another name or address");
            *node = new;
        }
        is_new
    });
}
