//! Which addresses plain HTTP may be sent to.
//!
//! Over plain HTTP only WireGuard keeps others from reading or answering. So the other end must be on the tailnet or on this machine. The
//! check covers the addresses that are connected to. No second lookup follows, whose result could differ (DNS rebinding).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::http::uri::Authority;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Connector, DefaultConnector, NextTimeout, Transport};

use crate::net::proxy::ChosenProxy;
use crate::net::server::{Scheme, Server};
use crate::net::tailscale;

/// How long tailscaled may take to respond.
const TAILSCALED_TIMEOUT: Duration = Duration::from_secs(2);

/// Which connections are allowed.
#[derive(Debug)]
pub(super) struct ConnectionPolicy {
    server: Server,
    proxy: Option<Proxy>,
    /// tailscaled's socket, where it is not at the usual place.
    socket: Option<PathBuf>,
}

/// The proxy of the connection.
#[derive(Debug)]
struct Proxy {
    authority: Option<Authority>,
    /// Whether a setting of this program names it, and not a variable for all programs.
    is_chosen: bool,
}

/// What an address belongs to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Endpoint {
    Server,
    Proxy,
}

/// The addresses of an endpoint are not where they must be.
#[derive(Debug, thiserror::Error)]
#[error("{}", list(addresses))]
pub(super) struct OutsideTailnet {
    pub(super) endpoint: Endpoint,
    pub(super) addresses: Vec<IpAddr>,
}

fn list(addresses: &[IpAddr]) -> String {
    let words: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    words.join(", ")
}

/// An agent for requests to `server`.
pub(super) fn agent(
    config: Config,
    server: &Server,
    proxy: Option<&ChosenProxy>,
    socket: Option<PathBuf>,
) -> ureq::Agent {
    agent_with(DefaultConnector::default(), config, server, proxy, socket)
}

/// The same, with another way to connect.
pub(super) fn agent_with(
    connector: impl Connector<(), Out: Transport>,
    config: Config,
    server: &Server,
    proxy: Option<&ChosenProxy>,
    socket: Option<PathBuf>,
) -> ureq::Agent {
    let policy = ConnectionPolicy {
        server: server.clone(),
        proxy: proxy.map(|chosen| Proxy {
            authority: chosen.proxy.uri().authority().cloned(),
            is_chosen: chosen.is_chosen,
        }),
        socket,
    };
    ureq::Agent::with_parts(config, connector, policy)
}

/// Whether the proxy would connect to an address outside of the tailnet. Names are resolved by the proxy, in its own network.
pub(super) fn check_proxied_server(server: &Server, socket: Option<&PathBuf>) -> Option<OutsideTailnet> {
    let address: IpAddr = server.host().parse().ok()?;
    let is_plain = server.scheme() == Scheme::Http;
    let is_fine = !is_plain || is_tailnet_or_loopback(address) || is_tailnet_node(address, socket);
    (!is_fine).then(|| OutsideTailnet {
        endpoint: Endpoint::Server,
        addresses: vec![address],
    })
}

/// The allowed addresses of `endpoint`.
fn allowed(
    addresses: &[SocketAddr],
    endpoint: Endpoint,
    is_tailnet_node: impl Fn(IpAddr) -> bool,
) -> Result<Vec<SocketAddr>, OutsideTailnet> {
    let is_allowed = |address: IpAddr| match endpoint {
        Endpoint::Server => is_tailnet_or_loopback(address) || is_tailnet_node(address),
        Endpoint::Proxy => is_loopback(address),
    };
    let fine: Vec<_> = addresses.iter().copied().filter(|one| is_allowed(one.ip())).collect();
    if fine.is_empty() {
        let addresses = addresses.iter().map(SocketAddr::ip).collect();
        return Err(OutsideTailnet { endpoint, addresses });
    }
    Ok(fine)
}

/// Whether the address is in the tailnet's ranges or loopback.
fn is_tailnet_or_loopback(address: IpAddr) -> bool {
    is_loopback(address) || is_tailnet(address)
}

/// An IPv4 address may be written as an IPv6 one (RFC 4291, 2.5.5.2).
fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether it is in a range that Tailscale gives its nodes addresses from (`tsaddr.IsTailscaleIP`,
/// <https://pkg.go.dev/tailscale.com/net/tsaddr#IsTailscaleIP>). There are two: 100.64.0.0/10 without the range of `ChromeOS`' own
/// machines, 100.115.92.0/23, and `fd7a:115c:a1e0::/48`.
fn is_tailnet(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            in_range(address, Ipv4Addr::new(100, 64, 0, 0), 10)
                && !in_range(address, Ipv4Addr::new(100, 115, 92, 0), 23)
        }
        IpAddr::V6(address) => {
            let network = Ipv6Addr::new(0xfd7a, 0x115c, 0xa1e0, 0, 0, 0, 0, 0);
            address.segments()[..3] == network.segments()[..3]
        }
    }
}

fn in_range(address: Ipv4Addr, network: Ipv4Addr, length: u32) -> bool {
    (address.to_bits() ^ network.to_bits()) >> (32 - length) == 0
}

/// Whether tailscaled knows a node with this address. A control server may assign addresses outside of the usual ranges.
fn is_tailnet_node(address: IpAddr, socket: Option<&PathBuf>) -> bool {
    let status = tailscale::status(socket.map(PathBuf::as_path), TAILSCALED_TIMEOUT);
    status.is_ok_and(|status| status.is_running() && status.has_address(address.to_canonical()))
}

// === impl ConnectionPolicy ===

impl ConnectionPolicy {
    /// The endpoints that `authority` is. Both if the server is its own proxy.
    fn endpoints(&self, authority: Option<&Authority>) -> Vec<Endpoint> {
        let is_proxy = |proxy: &Proxy| proxy.authority.as_ref() == authority;
        let mut endpoints = vec![];
        if self.proxy.as_ref().is_some_and(is_proxy) {
            endpoints.push(Endpoint::Proxy);
        }
        if endpoints.is_empty() || authority.is_some_and(|authority| self.is_server(authority)) {
            endpoints.push(Endpoint::Server);
        }
        endpoints
    }

    fn is_server(&self, authority: &Authority) -> bool {
        let host = authority.host().trim_matches(['[', ']']);
        host.eq_ignore_ascii_case(self.server.host())
            && authority.port_u16().is_none_or(|port| port == self.server.port())
    }

    fn requires_tailnet(&self, endpoint: Endpoint) -> bool {
        let is_chosen = self.proxy.as_ref().is_some_and(|proxy| proxy.is_chosen);
        self.server.scheme() == Scheme::Http && !(endpoint == Endpoint::Proxy && is_chosen)
    }
}

impl Resolver for ConnectionPolicy {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        let mut left = found.to_vec();
        for endpoint in self.endpoints(uri.authority()) {
            if self.requires_tailnet(endpoint) {
                left = allowed(&left, endpoint, |address| {
                    is_tailnet_node(address, self.socket.as_ref())
                })
                .map_err(|outside| io::Error::new(io::ErrorKind::PermissionDenied, outside))?;
            }
        }
        let mut result = self.empty();
        for address in left {
            result.push(address);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// cases.md 11.4
    #[test]
    fn tailnet_and_loopback_by_value() {
        for inside in [
            "127.0.0.1",
            "127.255.255.254",
            "::1",
            "::ffff:127.0.0.1",
            "100.64.0.0",
            "100.64.0.1",
            "100.100.100.100",
            "100.115.91.255",
            "100.115.94.0",
            "100.127.255.255",
            "::ffff:100.64.0.1",
            "fd7a:115c:a1e0::",
            "fd7a:115c:a1e0::53",
            "fd7a:115c:a1e0:ffff:ffff:ffff:ffff:ffff",
        ] {
            assert!(is_tailnet_or_loopback(address(inside)), "{inside}");
        }
        for outside in [
            "0.0.0.0",
            "::",
            "8.8.8.8",
            "10.0.0.1",
            "100.63.255.255",
            "100.128.0.0",
            "100.115.92.0",
            "100.115.93.255",
            "169.254.169.254",
            "192.168.1.1",
            "::ffff:192.168.1.1",
            "::ffff:100.128.0.0",
            "::100.64.0.1",
            "64:ff9b::100.64.0.1",
            "fd7a:115c:a1df:ffff::",
            "fd7a:115c:a1e1::",
            "fe80::1",
            "2001:db8::1",
        ] {
            assert!(!is_tailnet_or_loopback(address(outside)), "{outside}");
        }
    }

    #[test]
    fn only_addresses_inside_are_connected_to() {
        let socket = |text: &str| SocketAddr::new(address(text), 80);
        let both = [socket("192.0.2.1"), socket("100.64.0.1")];
        let of =
            |addresses: &[SocketAddr], endpoint, is_tailnet_node| allowed(addresses, endpoint, |_| is_tailnet_node);
        assert_eq!(of(&both, Endpoint::Server, false).unwrap(), [socket("100.64.0.1")]);
        assert_eq!(of(&both, Endpoint::Server, true).unwrap(), both);
        let outside = of(&both[..1], Endpoint::Server, false).unwrap_err();
        assert_eq!(outside.addresses, [address("192.0.2.1")]);
        // A proxy can read plain HTTP, wherever it is on the tailnet.
        assert!(of(&both, Endpoint::Proxy, true).is_err());
        assert!(of(&[socket("::1")], Endpoint::Proxy, false).is_ok());
    }

    #[test]
    fn server_and_proxy_are_told_apart() {
        let policy = |server: &str, proxy: Option<(&str, bool)>| ConnectionPolicy {
            server: Server::new(server, 8080, None).unwrap(),
            proxy: proxy.map(|(authority, is_chosen)| Proxy {
                authority: authority.parse().ok(),
                is_chosen,
            }),
            socket: None,
        };
        let endpoints = |policy: &ConnectionPolicy, authority: &str| policy.endpoints(authority.parse().ok().as_ref());
        let through = policy("tka", Some(("proxy:3128", false)));
        assert_eq!(endpoints(&through, "proxy:3128"), [Endpoint::Proxy]);
        assert_eq!(endpoints(&through, "tka:8080"), [Endpoint::Server]);
        assert_eq!(endpoints(&through, "elsewhere:1"), [Endpoint::Server], "whatever it is");
        let both = policy("tka", Some(("TKA:8080", false)));
        assert_eq!(endpoints(&both, "tka:8080"), [Endpoint::Proxy, Endpoint::Server]);
        assert!(through.requires_tailnet(Endpoint::Proxy) && through.requires_tailnet(Endpoint::Server));
        let chosen = policy("tka", Some(("proxy:3128", true)));
        assert!(!chosen.requires_tailnet(Endpoint::Proxy) && chosen.requires_tailnet(Endpoint::Server));
        assert!(!policy("https://tka", None).requires_tailnet(Endpoint::Server));
    }

    #[test]
    fn address_for_a_proxy_to_connect_to_is_looked_at_too() {
        let outside = |server: &str| {
            let server = Server::new(server, 8080, None).unwrap();
            check_proxied_server(&server, Some(&"/nowhere".into())).is_some()
        };
        assert!(outside("http://192.0.2.1") && outside("[2001:db8::1]"));
        assert!(!outside("100.64.0.1") && !outside("tka") && !outside("https://192.0.2.1"));
    }
}
