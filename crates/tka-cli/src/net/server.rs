//! The server's address: from the configured text to the base URL of the API.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

/// The port for HTTPS. On any other port the server speaks HTTP, which WireGuard encrypts.
pub(crate) const HTTPS_PORT: u16 = 443;

/// How many characters of a path the names of files have.
const SLUG: usize = 24;

/// A valid server address. No part of it can break a URL or a file name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Server {
    scheme: Scheme,
    host: String,
    port: u16,
    /// The path before the API's prefix: empty, or with a leading and without a trailing slash.
    path: String,
}

/// The scheme of the URL.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Scheme {
    Http,
    Https,
}

/// Why a text is not a server address.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum InvalidServer {
    #[error("`{0}` has a scheme other than http and https")]
    Scheme(String),
    #[error("`{0}` is not a host name or address")]
    Host(String),
    #[error("`{0}` is not a port from 1 to 65535")]
    Port(String),
    #[error("a server's address must not have a user, password, query or fragment")]
    Extras,
}

/// The parts of a server address as written.
struct Parts<'a> {
    scheme: Option<Scheme>,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
}

// === impl Server ===

impl Server {
    /// Reads `server`: a short name, a full name, an address, each with or without a port, or a URL.
    ///
    /// A short name is completed with `tailnet`. Without a scheme, `port` decides it. A port in `server` overrides `port`.
    pub(crate) fn new(server: &str, port: u16, tailnet: Option<&str>) -> Result<Self, InvalidServer> {
        let parts = Parts::parse(server.trim())?;
        let port = match (parts.port, parts.scheme) {
            (Some(port), _) => port,
            // The default port does not apply to a pasted http:// URL; another port does.
            (None, Some(Scheme::Http)) if port == HTTPS_PORT => Scheme::Http.default_port(),
            _ => port,
        };
        Ok(Self {
            scheme: parts.scheme.unwrap_or(Scheme::usual(port)),
            host: full_name(parts.host, tailnet)?,
            port,
            path: base_path(parts.path)?.to_owned(),
        })
    }

    /// The same at another host and port, by the same scheme and path.
    pub(crate) fn moved_to(&self, host: &str, port: u16) -> Result<Self, InvalidServer> {
        Ok(Self {
            host: full_name(host, None)?,
            port,
            ..self.clone()
        })
    }

    /// The URL of one of the API's paths.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{self}{}{path}", tka_api::http::PREFIX)
    }

    /// The host, lower case, an IPv6 address without its brackets.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Whether the host name has no domain, so that a tailnet or search domain must complete it.
    pub(crate) fn has_short_name(&self) -> bool {
        !self.host.contains(['.', ':']) && self.host != "localhost"
    }

    /// The stem of the server's files, valid on every file system. A `+` is in no host.
    pub(crate) fn file_stem(&self) -> String {
        let mut stem = format!("{}_{}", self.host.replace(':', "-"), self.port);
        if self.scheme != Scheme::usual(self.port) {
            stem = format!("{stem}+{}", self.scheme.as_str());
        }
        if !self.path.is_empty() {
            stem = format!("{stem}+{}", short_name(&self.path));
        }
        stem
    }

    /// Whether the address says more than host and port, with which most servers are told apart.
    pub(crate) fn has_more_than_host_and_port(&self) -> bool {
        !self.path.is_empty() || self.scheme != Scheme::usual(self.port)
    }

    /// Whether `url` is the address of another server, as this program writes it into files.
    pub(crate) fn is_other(&self, url: &str) -> bool {
        let is_address = || Self::new(url, HTTPS_PORT, None).is_ok_and(|server| server.to_string() == url);
        url != self.to_string() && is_address()
    }

    /// Whether both differ in their hosts at most.
    pub(crate) fn differs_only_in_host(&self, other: &Self) -> bool {
        (self.scheme, self.port, &self.path) == (other.scheme, other.port, &other.path)
    }
}

/// The base URL, without the scheme's default port.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme.as_str();
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]", self.host)?;
        } else {
            write!(f, "{scheme}://{}", self.host)?;
        }
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(&self.path)
    }
}

// === impl Scheme ===

impl Scheme {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The scheme of a server of which only the port is known.
    fn usual(port: u16) -> Self {
        if port == HTTPS_PORT { Self::Https } else { Self::Http }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => HTTPS_PORT,
        }
    }

    fn parse(text: &str) -> Result<Self, InvalidServer> {
        match text.to_ascii_lowercase().as_str() {
            "http" => Ok(Self::Http),
            "https" => Ok(Self::Https),
            _ => Err(InvalidServer::Scheme(text.to_owned())),
        }
    }
}

// === impl Parts ===

impl<'a> Parts<'a> {
    fn parse(text: &'a str) -> Result<Self, InvalidServer> {
        if text.contains(['@', '?', '#']) {
            return Err(InvalidServer::Extras);
        }
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (Some(Scheme::parse(scheme)?), rest),
            None => (None, text),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = split_port(authority)?;
        Ok(Self {
            scheme,
            host,
            port,
            path,
        })
    }
}

/// Splits `host:port`, `[v6]:port`, and leaves a bare IPv6 address whole.
fn split_port(authority: &str) -> Result<(&str, Option<u16>), InvalidServer> {
    if authority.parse::<Ipv6Addr>().is_ok() {
        return Ok((authority, None));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let parts = rest.split_once(']');
            let (host, after) = parts.ok_or_else(|| InvalidServer::Host(authority.to_owned()))?;
            host.parse::<Ipv6Addr>()
                .map_err(|_| InvalidServer::Host(authority.to_owned()))?;
            match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if after.is_empty() => (host, None),
                None => return Err(InvalidServer::Host(authority.to_owned())),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_port(text: &str) -> Result<u16, InvalidServer> {
    let port = text.parse().ok().filter(|port| *port != 0);
    port.ok_or_else(|| InvalidServer::Port(text.to_owned()))
}

/// The full host name. A short one is completed with the tailnet.
fn full_name(host: &str, tailnet: Option<&str>) -> Result<String, InvalidServer> {
    let host = host.to_ascii_lowercase();
    if host.parse::<IpAddr>().is_ok() {
        return Ok(host);
    }
    let host = host.strip_suffix('.').unwrap_or(&host);
    let tailnet = tailnet.unwrap_or_default();
    let tailnet = tailnet.trim_matches('.').to_ascii_lowercase();
    let full = if host.contains('.') || host == "localhost" || tailnet.is_empty() {
        host.to_owned()
    } else {
        format!("{host}.{tailnet}")
    };
    if is_host_name(&full) {
        Ok(full)
    } else {
        Err(InvalidServer::Host(full))
    }
}

/// Whether `name` is a DNS name (RFC 1123). Underscores are allowed, since some machines have them.
fn is_host_name(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        })
}

/// The path without the API's prefix, which users paste along.
fn base_path(path: &str) -> Result<&str, InvalidServer> {
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(tka_api::http::PREFIX).unwrap_or(path);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    if path.bytes().all(plain) {
        Ok(path)
    } else {
        Err(InvalidServer::Extras)
    }
}

/// A name for a path, for file systems that know no capital letters, too. The digest tells paths apart that look alike then.
fn short_name(path: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let slug: String = path.trim_matches('/').chars().map(plain).take(SLUG).collect();
    let digest: [u8; 32] = Sha256::digest(path).into();
    let [a, b, c, d, ..] = digest;
    format!("{slug}-{:08x}", u32::from_be_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(server: &str, port: u16, tailnet: Option<&str>) -> String {
        match Server::new(server, port, tailnet) {
            Ok(server) => server.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn base_urls_by_value() {
        let net = Some("example.ts.net");
        for (server, port, tailnet, expected) in [
            ("tka", 443, None, "https://tka"),
            ("tka", 443, net, "https://tka.example.ts.net"),
            ("tka", 443, Some(".example.ts.net"), "https://tka.example.ts.net"),
            ("tka", 8080, net, "http://tka.example.ts.net:8080"),
            ("tka", 80, net, "http://tka.example.ts.net"),
            ("TKA", 443, Some("Example.TS.net"), "https://tka.example.ts.net"),
            ("tka.other.ts.net", 443, net, "https://tka.other.ts.net"),
            ("tka.other.ts.net.", 443, net, "https://tka.other.ts.net"),
            ("tka:8080", 443, net, "http://tka.example.ts.net:8080"),
            ("localhost", 8080, net, "http://localhost:8080"),
            ("100.64.0.1", 8080, net, "http://100.64.0.1:8080"),
            ("fd7a:115c::1", 8080, net, "http://[fd7a:115c::1]:8080"),
            ("[fd7a:115c::1]", 443, net, "https://[fd7a:115c::1]"),
            ("[fd7a:115c::1]:81", 443, net, "http://[fd7a:115c::1]:81"),
            ("http://tka:8080", 443, None, "http://tka:8080"),
            ("http://tka", 443, None, "http://tka"),
            ("http://tka", 8080, net, "http://tka.example.ts.net:8080"),
            ("https://tka.example.ts.net/", 443, None, "https://tka.example.ts.net"),
            (
                "HTTPS://tka.example.ts.net:8443/",
                443,
                None,
                "https://tka.example.ts.net:8443",
            ),
            (
                "https://tka.example.ts.net/api/v1alpha1/",
                443,
                None,
                "https://tka.example.ts.net",
            ),
            (
                "https://gate.example.ts.net/tka",
                443,
                None,
                "https://gate.example.ts.net/tka",
            ),
            (" tka ", 443, None, "https://tka"),
        ] {
            assert_eq!(base(server, port, tailnet), expected, "{server} {port} {tailnet:?}");
        }
    }

    #[test]
    fn what_is_no_server_is_refused() {
        for server in [
            "",
            "ftp://tka",
            "tka:0",
            "tka:99999",
            "tka:http",
            "a..b",
            "../etc",
            "tk a",
            "http://alice:pw@tka",
            "http://tka/?x=1",
            "[::1",
            "[tka]",
            "[::1]x",
            "täka",
        ] {
            assert!(Server::new(server, 443, None).is_err(), "{server}");
        }
    }

    #[test]
    fn api_paths_follow_the_prefix() {
        let server = Server::new("tka", 8080, None).unwrap();
        assert_eq!(server.url("/login"), "http://tka:8080/api/v1alpha1/login");
    }

    #[test]
    fn file_stems_are_plain() {
        let stem = |server: &str| Server::new(server, 443, None).unwrap().file_stem();
        assert_eq!(stem("tka.example.ts.net"), "tka.example.ts.net_443");
        assert_eq!(stem("[fd7a::1]:81"), "fd7a--1_81");
        assert_eq!(stem("https://tka"), "tka_443");
        assert_eq!(stem("http://tka:8080/"), "tka_8080");
    }

    #[test]
    fn another_server_is_told_by_its_whole_address() {
        let server = Server::new("http://tka:8080/a", 443, None).unwrap();
        for other in [
            "http://tka:8080",
            "http://tka:8080/b",
            "https://tka:8080/a",
            "http://tka",
        ] {
            assert!(server.is_other(other), "{other}");
        }
        for none in ["http://tka:8080/a", "", "x", "tka:8080", "ftp://tka", "https://tka/"] {
            assert!(!server.is_other(none), "{none}");
        }
    }

    #[test]
    fn each_server_has_files_of_its_own() {
        let stem = |server: &str| Server::new(server, 443, None).unwrap().file_stem();
        assert_eq!(stem("https://tka:8443"), "tka_8443+https");
        assert_eq!(stem("http://tka:443"), "tka_443+http");
        assert!(stem("http://tka:8080/Team/a").starts_with("tka_8080+team-a-"));
        assert!(stem("https://tka:8080/a").starts_with("tka_8080+https+a-"));
        let long = "/x".repeat(100);
        let servers = [
            "http://tka:8080",
            "https://tka:8080",
            "http://tka:8080/a",
            "https://tka:8080/a",
            "http://tka:8080/A",
            "http://tka:8080//a",
            "http://tka:8080/a/b",
            "http://tka:8080/a-b",
            "http://tka:8080/https",
            &format!("http://tka:8080{long}"),
            &format!("http://tka:8080{long}/y"),
        ];
        let stems: std::collections::BTreeSet<_> = servers.iter().map(|server| stem(server).to_lowercase()).collect();
        assert_eq!(stems.len(), servers.len(), "{stems:?}");
        assert!(stems.iter().all(|stem| stem.len() < 60), "{stems:?}");
    }
}
