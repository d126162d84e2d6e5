//! The address of a server's gateway. It is all that a kubeconfig for the gateway holds.

use std::fmt;
use std::net::IpAddr;

use tka_api::http::{GATEWAY, UNUSED_TOKEN};
use tka_api::kubeconfig::{Cluster, User};
use tka_core::RuleName;

use crate::net::server::{HTTPS_PORT, Scheme, Server};

/// Where the domains of tailnets are, unless a tailnet has its own control server.
const TAILNET_DOMAIN: &str = ".ts.net";

/// `…/k8s`, with what chooses a rule or a session behind it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct GatewayAddress {
    server: Server,
    path: String,
}

// === impl GatewayAddress ===

impl GatewayAddress {
    /// Reads the `server` of a kubeconfig. None for any other URL.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/')?);
        let server = Server::new(&format!("{scheme}://{authority}"), HTTPS_PORT, None).ok()?;
        let path = path.strip_suffix('/').unwrap_or(path);
        is_path(path).then(|| Self {
            server,
            path: path.to_owned(),
        })
    }

    /// The address of a cluster that is reached without a credential.
    pub(crate) fn of(cluster: &Cluster, user: &User) -> Option<Self> {
        let has_token = user.token.as_ref().is_some_and(|token| token.expose() != UNUSED_TOKEN);
        let has_credential = has_token || user.exec.is_some();
        Self::parse(&cluster.server).filter(|_| !has_credential)
    }

    /// The address as kubectl is to use it, when the server was asked at `asked`. Where that is short for the name that the server gives itself, the whole
    /// name is used, which other devices find too.
    ///
    /// No other name is used, and no plain HTTP where HTTPS was asked for. The person's device is the credential, and a server must not lead it to
    /// another server.
    pub(crate) fn via_server(self, asked: &Server) -> Self {
        let is_as_safe = self.is_https() || asked.scheme() == Scheme::Http;
        if is_as_safe && is_same(self.server.host(), asked.host()) {
            return self;
        }
        Self {
            server: asked.clone(),
            ..self
        }
    }

    /// The address of a rule.
    pub(crate) fn of_rule(self, rule: &RuleName) -> Self {
        Self {
            path: format!("{GATEWAY}/rule/{rule}"),
            ..self
        }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Whether it names no rule and no session, so that an elevation acts there while it lasts.
    pub(crate) fn is_open(&self) -> bool {
        self.path == GATEWAY
    }

    /// Whether it is that of `server`, which may have been named by a short name or over plain HTTP.
    pub(crate) fn is_at(&self, server: &Server) -> bool {
        let is_same_port = self.server.scheme() != server.scheme() || self.server.port() == server.port();
        is_same_port && is_same(self.server.host(), server.host())
    }

    /// Whether other devices find it, too: it has a whole name or an address that is not of this machine.
    pub(crate) fn is_portable(&self) -> bool {
        let host = self.server.host();
        match host.parse::<IpAddr>() {
            Ok(address) => !address.is_loopback(),
            Err(_) => host.contains('.'),
        }
    }

    pub(crate) fn is_https(&self) -> bool {
        self.server.scheme() == Scheme::Https
    }
}

/// What kubectl takes as the `server` of a cluster.
impl fmt::Display for GatewayAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.server, self.path)
    }
}

/// Whether `host` is `asked`, or what `asked` is short for on a tailnet.
fn is_same(host: &str, asked: &str) -> bool {
    let is_short = !asked.contains(['.', ':']);
    let domain = host.strip_prefix(asked).filter(|_| is_short);
    host == asked || domain.is_some_and(|domain| domain.starts_with('.') && domain.ends_with(TAILNET_DOMAIN))
}

/// Whether it is a path of the gateway, and of no resource behind it.
fn is_path(path: &str) -> bool {
    let Some(below) = path.strip_prefix(GATEWAY) else {
        return false;
    };
    let mut segments = below.split('/');
    if segments.next() != Some("") {
        return false;
    }
    match segments.collect::<Vec<_>>()[..] {
        [] => true,
        ["rule" | "role" | "session", name] => is_name(name),
        ["session", label, "rule" | "role", name] => is_name(label) && is_name(name),
        _ => false,
    }
}

/// Whether a segment may be a name, percent-encoded or not.
fn is_name(segment: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%:".contains(&byte);
    !segment.trim_matches('.').is_empty() && segment.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::new(url, HTTPS_PORT, None).unwrap()
    }

    #[test]
    fn only_the_gateways_own_paths_are_addresses() {
        for url in [
            "http://tka.example.ts.net:8080/k8s",
            "https://tka.example.ts.net/k8s",
            "http://[fd7a:115c:a1e0::1]:8080/k8s/rule/oncall",
            "http://tka/k8s/role/system%3Aview",
            "http://tka/k8s/session/exec-0/rule/oncall",
        ] {
            let address = GatewayAddress::parse(url).unwrap();
            assert_eq!(address.to_string(), url);
            assert_eq!(GatewayAddress::parse(&format!("{url}/")), Some(address));
        }
        for url in [
            "http://tka",
            "http://tka/",
            "http://tka/k8sx",
            "http://tka/k8s//",
            "http://tka/k8s/api/v1",
            "http://tka/k8s/rule",
            "http://tka/k8s/rule/..",
            "http://tka/k8s/rule/a/rule/b",
            "http://tka/k8s/rule/a?b",
            "http://tka/k8s/rule/a#b",
            "http://alice:secret@tka/k8s",
            "ftp://tka/k8s",
            "/k8s",
            "",
        ] {
            assert_eq!(GatewayAddress::parse(url), None, "{url}");
        }
    }

    /// The server that was asked must not send kubectl to another one, which would also identify this person by their device.
    #[test]
    fn kubectl_goes_to_the_server_that_was_asked() {
        let reached = |sent: &str, asked: &str| {
            let address = GatewayAddress::parse(&format!("{sent}/k8s/rule/oncall")).unwrap();
            let url = address.via_server(&server(asked)).to_string();
            url.strip_suffix("/k8s/rule/oncall").unwrap().to_owned()
        };
        let node = "http://tka.example.ts.net:8080";
        for asked in [node, "http://tka:8080"] {
            assert_eq!(reached(node, asked), node, "{asked}");
        }
        let secure = "https://tka.example.ts.net";
        assert_eq!(reached(secure, node), secure);
        for (sent, asked) in [
            ("http://evil.example.com:8080", node),
            ("http://evil.example.com", "http://tka:8080"),
            ("http://tka.evil.example.com", "http://tka:8080"),
            ("http://tkaevil.example.ts.net", "http://tka:8080"),
            ("http://100.64.0.9", "http://100.64.0.1:8080"),
            ("http://evil", node),
            (node, "http://other.example.ts.net"),
            (node, "http://100.64.0.1:8080"),
            (node, "https://tka.example.ts.net"),
            ("https://kube.example.com", node),
        ] {
            assert_eq!(reached(sent, asked), asked, "{sent}");
        }
    }

    #[test]
    fn elevation_acts_where_the_address_names_nothing() {
        let address = |url: &str| GatewayAddress::parse(url).unwrap();
        let open = address("http://tka.example.ts.net:8080/k8s");
        assert!(open.is_open() && address("http://tka.example.ts.net:8080/k8s/").is_open());
        for path in ["rule/oncall", "role/view", "session/elevation/rule/oncall"] {
            assert!(!address(&format!("http://tka:8080/k8s/{path}")).is_open(), "{path}");
        }
        for server_url in [
            "http://tka.example.ts.net:8080",
            "http://tka:8080",
            "https://tka.example.ts.net",
        ] {
            assert!(open.is_at(&server(server_url)), "{server_url}");
        }
        for server_url in [
            "http://tka.example.ts.net:8081",
            "http://other:8080",
            "http://100.64.0.1:8080",
        ] {
            assert!(!open.is_at(&server(server_url)), "{server_url}");
        }
    }

    #[test]
    fn short_names_and_this_machine_are_not_for_others() {
        let is_portable = |url: &str| GatewayAddress::parse(&format!("{url}/k8s")).unwrap().is_portable();
        assert!(is_portable("http://tka.example.ts.net") && is_portable("http://100.64.0.1:8080"));
        assert!(!is_portable("http://tka:8080") && !is_portable("http://127.0.0.1:8080"));
        assert!(!is_portable("http://[::1]:8080"));
    }

    #[test]
    fn rule_is_chosen_by_the_address() {
        let address = GatewayAddress::parse("http://tka:8080/k8s").unwrap();
        let rule = RuleName::try_from("oncall".to_owned()).unwrap();
        assert_eq!(address.of_rule(&rule).to_string(), "http://tka:8080/k8s/rule/oncall");
    }
}
