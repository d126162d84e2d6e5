//! What is kept of a node, and what it is called.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Attempt, Error, Result},
    facts::Facts,
    files,
    layout::Layout,
    tailnet::local_api,
};

/// The node that the server is reached through.
pub(crate) const SERVER: &str = "tka";

/// Whose a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// A user's, by login name.
    User(String),
    /// A machine with tags, which has no user.
    Tags(Vec<String>),
}

/// A node of the tailnet.
#[derive(Debug, Clone)]
pub struct Node {
    pub(super) record: Record,
    pub(super) socket: PathBuf,
}

/// What is kept of a node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) hostname: String,
    pub(super) owner: Owner,
    pub(super) proxy: u16,
    pub(super) socks: u16,
    /// Empty until it has joined.
    pub(super) addresses: Vec<String>,
}

// === impl Owner ===

impl Owner {
    /// A user's, by login name.
    #[must_use]
    pub fn user(login: &str) -> Self {
        Self::User(login.to_owned())
    }

    /// A machine with one tag, such as `tag:ci`.
    #[must_use]
    pub fn tag(tag: &str) -> Self {
        Self::Tags(vec![tag.to_owned()])
    }
}

// === impl Node ===

impl Node {
    /// Its name on the tailnet, without the domain.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.record.hostname
    }

    /// Whose it is.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        &self.record.owner
    }

    /// The HTTP proxy through which a program on this node reaches the tailnet: for `HTTP_PROXY`.
    #[must_use]
    pub fn proxy(&self) -> String {
        format!("http://{}", self.proxy_address())
    }

    /// The SOCKS5 proxy that does the same.
    #[must_use]
    pub fn socks_proxy(&self) -> String {
        format!("socks5h://127.0.0.1:{}", self.record.socks)
    }

    /// The unix socket of its tailscaled's `LocalAPI`.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its addresses on the tailnet, IPv4 first.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.record.addresses
    }

    /// What its tailscaled answers to a GET of a path below `/localapi/v0/`.
    pub fn local_api(&self, path: &str) -> Result<Value> {
        local_api::get(&self.socket, path)
    }

    pub(crate) fn proxy_address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.record.proxy).into()
    }

    pub(super) fn new(facts: &Facts, record: Record) -> Self {
        Self {
            socket: facts.socket(&record.hostname),
            record,
        }
    }
}

/// The part that a node's tailscaled is.
pub(crate) fn part(hostname: &str) -> String {
    format!("node-{hostname}")
}

/// The node of that name, in either case.
pub(crate) fn find(layout: &Layout, facts: &Facts, name: &str) -> Result<Node> {
    let hostname = name.to_ascii_lowercase();
    let record = files::read_json(&record_file(layout, &hostname))?;
    let record = record.ok_or_else(|| Error::Name(format!("the testbed's tailnet has no node {name}")))?;
    Ok(Node::new(facts, record))
}

/// Every node that has been joined and not removed.
pub(crate) fn all(layout: &Layout, facts: &Facts) -> Result<Vec<Node>> {
    let what = || format!("cannot read {}", layout.nodes().display());
    let mut nodes = Vec::new();
    for entry in fs::read_dir(layout.nodes()).attempt(what)? {
        let hostname = entry.attempt(what)?.file_name();
        let record = files::read_json(&record_file(layout, &hostname.to_string_lossy()))?;
        nodes.extend(record.map(|record| Node::new(facts, record)));
    }
    Ok(nodes)
}

pub(super) fn record_file(layout: &Layout, hostname: &str) -> PathBuf {
    layout.node(hostname).join("node.json")
}
