//! The status of this device's tailscaled, by its LocalAPI.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::sys::command_output;

/// The default path of tailscaled's socket.
const SOCKET: &str = "/var/run/tailscale/tailscaled.sock";
/// The state of a node on the tailnet (`ipn.State`).
const RUNNING: &str = "Running";

/// The status of tailscaled and its node (`ipnstate.Status`), as far as needed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Status {
    #[serde(default)]
    pub(crate) backend_state: String,
    #[serde(rename = "Self")]
    own: Option<Node>,
    #[serde(default)]
    peer: Option<BTreeMap<String, Node>>,
}

/// A node of the tailnet (`ipnstate.PeerStatus`).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Node {
    /// Its full name, with a final dot.
    #[serde(rename = "DNSName", default)]
    dns_name: String,
    #[serde(rename = "TailscaleIPs", default)]
    addresses: Option<Vec<IpAddr>>,
    #[serde(default)]
    tags: Option<Vec<String>>,
    /// Whether it is connected to the control server.
    #[serde(default)]
    pub(crate) online: bool,
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TailscaleError {
    #[error("no tailscaled listens at {}", .0.display())]
    NotListening(PathBuf),
    #[error("tailscaled at {} refuses your requests", .0.display())]
    Forbidden(PathBuf),
    #[error("cannot read the status of tailscaled: {0}")]
    NoAnswer(String),
}

/// The status from tailscaled's socket, or else from the command `tailscale`.
pub(crate) fn status(socket: Option<&Path>, limit: Duration) -> Result<Status, TailscaleError> {
    let text = match request_status(socket.unwrap_or_else(|| SOCKET.as_ref()), limit) {
        // On macOS and Windows only the command knows how to connect.
        Err(error @ TailscaleError::NotListening(_)) if socket.is_none() => {
            command_output::within("tailscale", &["status", "--json"], limit).map_err(|_| error)
        }
        other => other,
    }?;
    serde_json::from_slice(&text).map_err(|error| TailscaleError::NoAnswer(error.to_string()))
}

#[cfg(unix)]
fn request_status(socket: &Path, limit: Duration) -> Result<Vec<u8>, TailscaleError> {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    // An HTTP/1.0 response ends with the connection, and is not chunked.
    const REQUEST: &[u8] = b"GET /localapi/v0/status HTTP/1.0\r\nHost: local-tailscaled.sock\r\n\r\n";
    let exchange = || -> io::Result<Vec<u8>> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        stream.write_all(REQUEST)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    };
    let answer = exchange().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused | io::ErrorKind::NotADirectory => {
            TailscaleError::NotListening(socket.to_owned())
        }
        io::ErrorKind::PermissionDenied => TailscaleError::Forbidden(socket.to_owned()),
        io::ErrorKind::WouldBlock => TailscaleError::NoAnswer(format!("no answer within {} s", limit.as_secs_f64())),
        _ => TailscaleError::NoAnswer(error.to_string()),
    })?;
    body(&answer, socket)
}

#[cfg(not(unix))]
fn request_status(socket: &Path, _: Duration) -> Result<Vec<u8>, TailscaleError> {
    Err(TailscaleError::NotListening(socket.to_owned()))
}

/// The body of a successful HTTP response.
#[cfg(unix)]
fn body(answer: &[u8], socket: &Path) -> Result<Vec<u8>, TailscaleError> {
    const END: &[u8] = b"\r\n\r\n";
    let end = answer.windows(END.len()).position(|window| window == END);
    let head = String::from_utf8_lossy(&answer[..end.unwrap_or(answer.len())]);
    let first = head.lines().next().unwrap_or_default();
    match (first.split(' ').nth(1), end) {
        (Some("200"), Some(end)) => Ok(answer[end + END.len()..].to_vec()),
        (Some("403"), _) => Err(TailscaleError::Forbidden(socket.to_owned())),
        _ => Err(TailscaleError::NoAnswer(format!("it answers `{first}`"))),
    }
}

// === impl Status ===

impl Status {
    /// Whether the node is on the tailnet.
    pub(crate) fn is_running(&self) -> bool {
        self.backend_state == RUNNING
    }

    /// This node's full name.
    pub(crate) fn own_name(&self) -> &str {
        self.own.as_ref().map_or("", Node::name)
    }

    /// Whether this node is tagged, and so a machine.
    pub(crate) fn is_tagged(&self) -> bool {
        let tags = self.own.as_ref().and_then(|node| node.tags.as_ref());
        tags.is_some_and(|tags| !tags.is_empty())
    }

    pub(crate) fn peers(&self) -> impl Iterator<Item = &Node> {
        self.peer.iter().flat_map(BTreeMap::values)
    }

    /// This node and its peers.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.own.iter().chain(self.peers())
    }

    /// Whether this node or a peer has `address`.
    pub(crate) fn has_address(&self, address: IpAddr) -> bool {
        let mut addresses = self.nodes().flat_map(|node| node.addresses.iter().flatten());
        addresses.any(|own| *own == address)
    }

    /// The nodes that an administrator gave the very tags of `node`, without it.
    pub(crate) fn siblings(&self, node: &Node) -> Vec<&Node> {
        let tags = node.sorted_tags();
        let is_sibling = |other: &&Node| other.name() != node.name() && other.sorted_tags() == tags;
        if tags.is_empty() {
            return vec![];
        }
        let mut siblings: Vec<_> = self.nodes().filter(is_sibling).collect();
        siblings.sort_by_key(|other| (!other.online, other.name().to_owned()));
        siblings
    }

    /// The node with that full name, short name or address.
    pub(crate) fn node(&self, host: &str) -> Option<&Node> {
        self.nodes().find(|node| node.is_called(host))
    }
}

// === impl Node ===

impl Node {
    /// Its full name.
    pub(crate) fn name(&self) -> &str {
        self.dns_name.trim_end_matches('.')
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.addresses.iter().flatten().next().copied()
    }

    /// Its tags, in order and each once.
    pub(crate) fn sorted_tags(&self) -> Vec<String> {
        let mut tags = self.tags.clone().unwrap_or_default();
        tags.sort();
        tags.dedup();
        tags
    }

    pub(crate) fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().flatten().any(|own| own == tag)
    }

    fn is_called(&self, host: &str) -> bool {
        let name = self.name();
        let short = name.split('.').next().unwrap_or_default();
        let is_address = || self.addresses.iter().flatten().any(|own| own.to_string() == host);
        !name.is_empty() && (name.eq_ignore_ascii_case(host) || short.eq_ignore_ascii_case(host)) || is_address()
    }
}

impl TailscaleError {
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::NotListening(_) => {
                "start tailscaled, or set the path of its socket with `tka config tailscale.socket PATH`".to_owned()
            }
            Self::Forbidden(_) => {
                "ask an administrator of this machine to make you its operator: `tailscale set --operator=$USER`".into()
            }
            Self::NoAnswer(_) => "look at `tailscale status` and at tailscaled's log".to_owned(),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const STATUS: &str = r#"{"BackendState":"Running","Self":{"DNSName":"laptop.example.ts.net.","TailscaleIPs":["100.64.0.1"],"Online":true},
        "Peer":{"nodekey:1":{"DNSName":"tka.example.ts.net.","TailscaleIPs":["100.64.0.2","fd7a::2"],"Tags":["tag:tka"]},
                "nodekey:2":{"DNSName":"","TailscaleIPs":null,"Tags":null}}}"#;

    #[test]
    fn nodes_are_found_by_any_of_their_names() {
        let status: Status = serde_json::from_str(STATUS).unwrap();
        assert!(status.is_running());
        for host in ["tka", "TKA.example.ts.net", "100.64.0.2", "fd7a::2"] {
            assert!(status.node(host).unwrap().has_tag("tag:tka"), "{host}");
        }
        assert_eq!(status.node("laptop").unwrap().name(), status.own_name());
        for host in ["", "tk", "tka.other.ts.net"] {
            assert!(status.node(host).is_none(), "{host}");
        }
    }

    #[test]
    fn siblings_have_the_very_same_tags() {
        let node =
            |name: &str, tags: &str| format!(r#"{{"DNSName":"{name}.example.ts.net.","Tags":{tags},"Online":true}}"#);
        let tka = r#"["tag:tka","tag:prod"]"#;
        let nodes = [
            ("a", tka),
            ("b", r#"["tag:prod","tag:tka"]"#),
            ("c", r#"["tag:tka"]"#),
            ("d", "null"),
            ("e", "[]"),
        ];
        let peers: Vec<_> = nodes
            .iter()
            .map(|(name, tags)| format!(r#""{name}":{}"#, node(name, tags)))
            .collect();
        let text = format!(
            r#"{{"BackendState":"Running","Self":{},"Peer":{{{}}}}}"#,
            node("own", "null"),
            peers.join(",")
        );
        let status: Status = serde_json::from_str(&text).unwrap();
        let of = |name: &str| {
            let siblings = status.siblings(status.node(name).unwrap());
            siblings.iter().map(|node| node.name().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(of("a"), ["b.example.ts.net"]);
        assert_eq!(of("b"), ["a.example.ts.net"]);
        for alone in ["c", "d", "e", "own"] {
            assert!(of(alone).is_empty(), "{alone}");
        }
    }

    #[test]
    fn nothing_is_known_of_a_node_that_is_on_no_tailnet() {
        let status: Status = serde_json::from_str(r#"{"BackendState":"NeedsLogin","Self":null,"Peer":null}"#).unwrap();
        assert!(!status.is_running() && status.own_name().is_empty() && status.peers().next().is_none());
    }

    #[test]
    fn answers_by_value() {
        let of = |answer: &[u8]| body(answer, "/x".as_ref());
        assert_eq!(of(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}").unwrap(), b"{}");
        assert!(matches!(
            of(b"HTTP/1.0 403 F\r\n\r\n"),
            Err(TailscaleError::Forbidden(_))
        ));
        for broken in [&b""[..], b"HTTP/1.0 200 OK\r\nA", b"HTTP/1.0 500 X\r\n\r\n", b"\xff"] {
            assert!(matches!(of(broken), Err(TailscaleError::NoAnswer(_))));
        }
    }
}

#[cfg(all(test, unix))]
mod fuzz {
    use super::*;

    #[test]
    fn local_api() {
        bolero::check!().for_each(|answer: &[u8]| {
            let Ok(body) = body(answer, "/x".as_ref()) else { return };
            if let Ok(status) = serde_json::from_slice::<Status>(&body) {
                let _ = (status.own_name(), status.node("tka"));
            }
        });
    }
}
