//! Addresses where a TKA server may be.

use crate::kubeconfig::session_cache::{CachedSession, SessionCache};
use crate::net::server::{HTTPS_PORT, Server};
use crate::net::tailscale::Status;

/// The most tagged nodes to ask. Each gets a few requests at once.
const MAX_NODES: usize = 32;
/// Where servers listen beside the default's port: HTTPS, and HTTP where the tailnet has no certificates.
const USUAL_PORTS: [u16; 3] = [HTTPS_PORT, 80, 8080];

/// An address where a server may be.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) server: Server,
    /// Full name of its host, however the address is written.
    pub(crate) node: String,
    /// Whether commands use it by default.
    pub(crate) is_default: bool,
    pub(crate) is_guessed_port: bool,
    /// Whether its node is offline, so that it can hardly be reached.
    pub(crate) is_offline: bool,
    /// The cached sessions of this device there.
    pub(crate) sessions: Vec<CachedSession>,
}

/// The default server, those of earlier sign-ins, and the tagged nodes, this one included. Nodes do not report their ports, so the
/// default's port and the usual ones are tried. Nodes that are online come first.
pub(crate) fn find(default: &Server, cache: Vec<SessionCache>, status: Option<&Status>, tag: &str) -> Vec<Candidate> {
    let mut found = CandidateSet { status, all: vec![] };
    found.add(default.clone()).is_default = true;
    for cache in cache {
        if let Some(server) = cache.server() {
            found.add(server).sessions.extend(cache.sessions);
        }
    }
    let nodes = status.into_iter().flat_map(Status::nodes);
    let mut tagged: Vec<_> = nodes.filter(|node| node.has_tag(tag)).collect();
    tagged.sort_by_key(|node| !node.online);
    for node in tagged.into_iter().take(MAX_NODES) {
        for port in std::iter::once(default.port()).chain(USUAL_PORTS) {
            if let Ok(server) = Server::new(node.name(), port, None) {
                found.guess(server);
            }
        }
    }
    found.all
}

/// The default server by the full name of its node, if the tailnet has one. Certificates have that name, and it resolves everywhere.
pub(crate) fn in_full(default: &Server, status: &Status) -> Server {
    let node = status.node(default.host());
    let in_full = node.and_then(|node| default.moved_to(node.name(), default.port()).ok());
    in_full.unwrap_or_else(|| default.clone())
}

/// Candidates without repetitions.
struct CandidateSet<'a> {
    status: Option<&'a Status>,
    all: Vec<Candidate>,
}

impl CandidateSet<'_> {
    /// The candidate at that address, added if it is new.
    fn add(&mut self, server: Server) -> &mut Candidate {
        let node = self.status.and_then(|status| status.node(server.host()));
        let name = node.map_or_else(|| server.host().to_owned(), |node| node.name().to_ascii_lowercase());
        let is_it = |one: &Candidate| one.node == name && one.server.differs_only_in_host(&server);
        let at = self.all.iter().position(is_it).unwrap_or(self.all.len());
        if at == self.all.len() {
            self.all.push(Candidate {
                server,
                node: name,
                is_default: false,
                is_guessed_port: false,
                is_offline: node.is_some_and(|node| !node.online),
                sessions: vec![],
            });
        }
        &mut self.all[at]
    }

    /// Adds a server at a port of which nothing is known yet.
    fn guess(&mut self, server: Server) {
        let is_known = |one: &Candidate| one.node == server.host() && one.server.port() == server.port();
        if !self.all.iter().any(is_known) {
            self.add(server).is_guessed_port = true;
        }
    }
}

// === impl Candidate ===

impl Candidate {
    /// Whether `name` matches: its host in short or in full, with or without the port, or its URL.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        let name = name.trim().trim_end_matches(['.', '/']).to_ascii_lowercase();
        let (host, port) = (self.server.host(), self.server.port());
        [host, short(host), &self.node, short(&self.node)]
            .iter()
            .any(|own| name == *own || name == format!("{own}:{port}"))
            || name == self.server.to_string()
    }
}

/// The display names of `servers`: the first part of the host name if it is unique, else as much as is unique.
pub(crate) fn names(servers: &[&Server]) -> Vec<String> {
    let with_port = |host: &str, server: &Server| format!("{host}:{}", server.port());
    let forms: [&dyn Fn(&Server) -> String; 4] = [
        &|server| short(server.host()).to_owned(),
        &|server| server.host().to_owned(),
        &|server| with_port(short(server.host()), server),
        &|server| with_port(server.host(), server),
    ];
    let is_only =
        |name: &str, form: &dyn Fn(&Server) -> String| servers.iter().filter(|one| form(one) == name).count() == 1;
    let name = |server: &&Server| {
        let mut candidates = forms.iter().map(|form| (form(server), form));
        let distinct = candidates.find(|(name, form)| is_only(name, form));
        distinct.map_or_else(|| server.to_string(), |(name, _)| name)
    };
    servers.iter().map(name).collect()
}

/// The first part of a host name. An address stays whole.
fn short(host: &str) -> &str {
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    host.split('.').next().filter(|_| !is_address).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(host: &str, port: u16) -> Server {
        Server::new(host, port, None).unwrap()
    }

    fn status() -> Status {
        let node = |name: &str, address: &str, online: bool| json!({"DNSName": format!("{name}.example.ts.net."), "TailscaleIPs": [address], "Tags": ["tag:tka"], "Online": online});
        serde_json::from_value(json!({
            "BackendState": "Running", "Self": node("Self", "100.64.0.1", true),
            "Peer": {
                "1": node("tka", "100.64.0.2", true), "2": node("west", "100.64.0.3", false),
                "3": {"DNSName": "phone.example.ts.net.", "TailscaleIPs": ["100.64.0.4"]}
            }
        }))
        .unwrap()
    }

    fn shown(found: &[Candidate]) -> Vec<String> {
        let show = |one: &Candidate| {
            let marks = [(one.is_default, '*'), (one.is_guessed_port, '?'), (one.is_offline, '-')];
            let marks: String = marks.iter().filter(|(is, _)| *is).map(|(_, mark)| mark).collect();
            format!("{}{marks}", one.server)
        };
        found.iter().map(show).collect()
    }

    #[test]
    fn each_place_is_there_once_however_it_is_spelled() {
        let all = [("tka.example.ts.net", 443), ("100.64.0.2", 8080), ("old", 81)];
        let all = all.map(|(host, port)| SessionCache::at(&server(host, port))).to_vec();
        let found = shown(&find(&server("tka", 443), all, Some(&status()), "tag:tka"));
        let (known, guessed) = found.split_at(3);
        assert_eq!(known, ["https://tka*", "http://100.64.0.2:8080", "http://old:81"]);
        let expected = [
            "https://self.example.ts.net?",
            "http://self.example.ts.net?",
            "http://self.example.ts.net:8080?",
            "http://tka.example.ts.net?",
            "https://west.example.ts.net?-",
            "http://west.example.ts.net?-",
            "http://west.example.ts.net:8080?-",
        ];
        assert_eq!(guessed, expected);
    }

    #[test]
    fn servers_with_paths_of_their_own_have_sessions_of_their_own() {
        let cache = |url: &str| SessionCache::at(&Server::new(url, 443, None).unwrap());
        let all = [
            "http://tka:8080/a",
            "http://tka:8080/b",
            "https://tka:8080",
            "http://tka.example.ts.net:8080/a",
        ];
        let all = all.map(cache).to_vec();
        let found = shown(&find(&server("tka", 8080), all, Some(&status()), "tag:tka"));
        let expected = [
            "http://tka:8080*",
            "http://tka:8080/a",
            "http://tka:8080/b",
            "https://tka:8080",
        ];
        assert_eq!(found[..4], expected);
        assert!(
            !found[4..]
                .iter()
                .any(|one| one.starts_with("http://tka.example.ts.net:8080"))
        );
    }

    #[test]
    fn many_nodes_are_not_a_burden() {
        let node = |number: usize| json!({"DNSName": format!("n{number}.example.ts.net."), "Tags": ["tag:tka"], "Online": number >= 50});
        let peers: serde_json::Map<_, _> = (0..100).map(|number| (number.to_string(), node(number))).collect();
        let status = serde_json::from_value(json!({"BackendState": "Running", "Self": null, "Peer": peers})).unwrap();
        let found = find(&server("tka", 443), vec![], Some(&status), "tag:tka");
        assert_eq!(found.len(), 1 + MAX_NODES * USUAL_PORTS.len());
        assert!(found.iter().all(|one| !one.is_offline));
    }

    #[test]
    fn default_has_the_full_name_of_its_node() {
        let of = |host: &str| in_full(&server(host, 443), &status()).to_string();
        assert_eq!(of("tka"), "https://tka.example.ts.net");
        assert_eq!(of("elsewhere"), "https://elsewhere");
    }

    #[test]
    fn nodes_do_not_say_their_ports() {
        let found = shown(&find(&server("127.0.0.1", 8080), vec![], Some(&status()), "tag:tka"));
        let guessed = [
            "http://self.example.ts.net:8080?",
            "https://self.example.ts.net?",
            "http://self.example.ts.net?",
        ];
        assert_eq!(found[1..4], guessed);
        let found = shown(&find(&server("tka", 443), vec![], None, "tag:tka"));
        assert_eq!(found, ["https://tka*"]);
        assert_eq!(find(&server("tka", 443), vec![], Some(&status()), "tag:other").len(), 1);
    }

    #[test]
    fn names_are_as_short_as_they_can_be() {
        let of = |all: &[(&str, u16)]| {
            let servers: Vec<_> = all.iter().map(|(host, port)| server(host, *port)).collect();
            names(&servers.iter().collect::<Vec<_>>())
        };
        let hosts = [("tka.a.ts.net", 443), ("west.a.ts.net", 443), ("100.64.0.1", 443)];
        assert_eq!(of(&hosts), ["tka", "west", "100.64.0.1"]);
        let tailnets = [("tka.a.ts.net", 443), ("tka.b.ts.net", 443)];
        assert_eq!(of(&tailnets), ["tka.a.ts.net", "tka.b.ts.net"]);
        let ports = [("tka.a.ts.net", 443), ("tka.a.ts.net", 80)];
        assert_eq!(of(&ports), ["tka:443", "tka:80"]);
        let thrice = [("tka.a.ts.net", 443), ("tka.a.ts.net", 80), ("tka.b.ts.net", 80)];
        assert_eq!(of(&thrice), ["tka:443", "tka.a.ts.net:80", "tka.b.ts.net"]);
    }

    #[test]
    fn a_place_answers_to_each_of_its_names() {
        let found = find(&server("100.64.0.2", 8080), vec![], Some(&status()), "tag:tka");
        let names = [
            "tka",
            "TKA",
            "tka:8080",
            "tka.example.ts.net.",
            "100.64.0.2",
            "100.64.0.2:8080",
            "http://100.64.0.2:8080/",
        ];
        for name in names {
            assert!(found[0].is_called(name), "{name}");
        }
        for name in ["", "tk", "tka:81", "tka.other.ts.net", "100", "https://100.64.0.2:8080"] {
            assert!(!found[0].is_called(name), "{name}");
        }
    }
}
