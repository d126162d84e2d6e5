//! This server's node on the tailnet, which an administrator may rename while it serves.

use tka_tailnet::Status;

use crate::browser::Hosts;
use crate::listen::HTTPS;

/// What the node is called. Until that is known it is called nothing, and every request is refused.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
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
}

// === impl Node ===

impl Node {
    /// Its name, as its URL has it.
    #[must_use]
    pub fn name(&self) -> &str {
        let host = self.url.split_once("://").map_or("", |(_, host)| host);
        host.split(':').next().unwrap_or_default()
    }

    /// The node that `status` is of.
    #[must_use]
    pub fn new(status: &Status, served: &Served) -> Self {
        let own = status.self_node.as_ref();
        let name = own.map_or("localhost", |node| node.dns_name.as_str());
        let url = match (served.https, served.port) {
            (true, HTTPS) => format!("https://{name}"),
            (true, port) => format!("https://{name}:{port}"),
            (false, port) => format!("http://{name}:{port}"),
        };
        Self {
            url,
            hosts: Hosts::new(status),
        }
    }
}
