//! Learns which replicas the server has: at a sign-in, and where all of them are to be asked.
//!
//! Nodes with the very tags of the server's node are asked which installation they are, beside the sign-in. Those that say the same as the
//! server are its replicas. Only the device's own tailscaled names nodes: no server can name a place to send requests to.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use crate::api::client::Client;
use crate::api::deadline::Deadline;
use crate::context::{self, CommandContext};
use crate::kubeconfig::known_replicas::{KnownReplicas, MAX_REPLICAS};
use crate::net::server::Server;
use crate::net::tailscale::{self, Status};

/// How long tailscaled, and then each node, may take.
const LIMIT: Duration = Duration::from_secs(2);
/// How long a sign-in that is over waits for the rest. A policy that drops connections must not slow it down.
const GRACE: Duration = Duration::from_millis(300);

/// What is being learned.
#[derive(Debug)]
pub(super) struct ReplicaDiscovery {
    news: Receiver<ReplicaUpdate>,
}

#[derive(Debug)]
enum ReplicaUpdate {
    /// Where the replicas may be.
    Siblings(Siblings),
    /// A server said which installation it is.
    Answer(Server, String),
}

/// The nodes with the tags of the server's node.
#[derive(Debug, Default, Eq, PartialEq)]
struct Siblings {
    tags: Vec<String>,
    /// The hosts of all of them.
    hosts: BTreeSet<String>,
    /// Where to ask.
    addresses: Vec<Server>,
}

// === impl ReplicaDiscovery ===

impl ReplicaDiscovery {
    pub(super) fn begin(ctx: &CommandContext) -> Self {
        let (sender, news) = mpsc::channel();
        let (server, port) = (ctx.server().clone(), ctx.config.port);
        let (route, debug) = (ctx.config.route(), ctx.config.debug);
        let connect = move |server: &Server| {
            let client = context::connect(server, Deadline::new(LIMIT), debug, route.clone());
            client.ok()
        };
        let socket = ctx.config.socket.clone();
        thread::spawn(move || {
            let status = tailscale::status(socket.as_deref(), LIMIT);
            let siblings = status.ok().and_then(|status| Siblings::of(&server, port, &status));
            if let Some(siblings) = siblings {
                ask(&server, siblings, &connect, &sender);
            }
        });
        Self { news }
    }

    /// Keeps what was learned by the end of a sign-in, which does not fail if that fails.
    pub(super) fn finish(self, ctx: &CommandContext) {
        self.finish_within(ctx, GRACE);
    }

    /// Waits for at most `limit` until all have answered, and keeps what was learned.
    fn finish_within(self, ctx: &CommandContext, limit: Duration) {
        let Ok(store) = ctx.store() else { return };
        let (mut siblings, mut answers) = (None, vec![]);
        let until = Instant::now() + limit;
        while let Ok(news) = self.news.recv_timeout(until.saturating_duration_since(Instant::now())) {
            match news {
                ReplicaUpdate::Siblings(found) => siblings = Some(found),
                ReplicaUpdate::Answer(server, instance) => answers.push((server, instance)),
            }
        }
        let Some(siblings) = siblings else { return };
        let before = KnownReplicas::load(store);
        let Ok(now) = updated(ctx.server(), before.as_ref(), siblings, &answers) else {
            return;
        };
        if now != before
            && let Err(error) = KnownReplicas::save(now.as_ref(), store)
        {
            ctx.ui.debug(&format!("replicas not saved: {error}"));
        }
    }
}

/// Learns the replicas anew, for a command that asks all of them. It goes on with those that are known where none can be learned.
pub(crate) fn learn(ctx: &CommandContext) {
    // tailscaled first, then all nodes at once.
    ReplicaDiscovery::begin(ctx).finish_within(ctx, 2 * LIMIT);
}

/// Asks the server and its siblings at once.
fn ask(
    server: &Server,
    siblings: Siblings,
    connect: &dyn Fn(&Server) -> Option<Client>,
    sender: &Sender<ReplicaUpdate>,
) {
    let places: Vec<_> = siblings.addresses.iter().chain([server]).cloned().collect();
    let _ = sender.send(ReplicaUpdate::Siblings(siblings));
    for place in places {
        let (client, sender) = (connect(&place), sender.clone());
        thread::spawn(move || {
            let info = client.and_then(|client| client.cluster_info().ok());
            if let Some(instance) = info.and_then(|info| info.instance) {
                // The sign-in may be over.
                let _ = sender.send(ReplicaUpdate::Answer(place, instance));
            }
        });
    }
}

// === impl Siblings ===

impl Siblings {
    /// The nodes that may run replicas of `server`. None without such nodes. Replicas listen on the same port, or on the configured one.
    fn of(server: &Server, port: u16, status: &Status) -> Option<Self> {
        let node = status.node(server.host()).filter(|_| status.is_running())?;
        let nodes = status.siblings(node);
        let hosts: BTreeSet<_> = nodes.iter().map(|node| node.name().to_ascii_lowercase()).collect();
        let online = nodes.iter().filter(|node| node.online).take(MAX_REPLICAS);
        let ports: BTreeSet<_> = [server.port(), port].into();
        let addresses = online.flat_map(|node| {
            let at = |port: &u16| server.moved_to(node.name(), *port).ok();
            ports.iter().filter_map(at).collect::<Vec<_>>()
        });
        (!hosts.is_empty()).then(|| Self {
            tags: node.sorted_tags(),
            addresses: addresses.collect(),
            hosts,
        })
    }
}

/// The server does not say what it is, so no other can be told to be the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct NothingLearned;

/// The replicas from now on: those that say the same installation as `server`, and those known before that do not answer just now. None
/// says that there are none.
fn updated(
    server: &Server,
    before: Option<&KnownReplicas>,
    siblings: Siblings,
    answers: &[(Server, String)],
) -> Result<Option<KnownReplicas>, NothingLearned> {
    let said = |place: &Server| {
        answers
            .iter()
            .find(|(other, _)| other == place)
            .map(|(_, instance)| instance)
    };
    let instance = said(server).or(before.map(|before| &before.instance));
    let instance = instance.ok_or(NothingLearned)?.clone();
    let before = before.filter(|before| before.instance == instance);
    let is_there = |one: &Server| one == server || siblings.hosts.contains(one.host());
    let stays = |one: &Server| is_there(one) && said(one).is_none_or(|said| *said == instance);
    let known = before.map_or_else(|| vec![server.clone()], |before| before.servers(server));
    let mut all: Vec<_> = known.into_iter().filter(stays).collect();
    let mut new: Vec<_> = answers
        .iter()
        .filter(|(_, said)| *said == instance)
        .map(|(one, _)| one)
        .collect();
    new.sort_by_key(|one| (one.host().to_owned(), one.port() != server.port()));
    for one in new {
        if all.iter().all(|other| other.host() != one.host()) {
            all.push(one.clone());
        }
    }
    Ok((all.len() > 1).then(|| KnownReplicas::new(instance, siblings.tags, &all)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn server(host: &str, port: u16) -> Server {
        Server::new(&format!("http://{host}.example.ts.net:{port}"), 443, None).unwrap()
    }

    fn siblings(status_of_self: &str) -> Option<Siblings> {
        let node = |name: &str, tags: &[&str], online: bool| json!({"DNSName": format!("{name}.example.ts.net."), "Tags": tags, "Online": online});
        let status = json!({
            "BackendState": status_of_self, "Self": node("laptop", &[], true),
            "Peer": {
                "1": node("a", &["tag:tka"], true), "2": node("B", &["tag:tka"], true), "3": node("c", &["tag:tka"], false),
                "4": node("other", &["tag:ci"], true)
            }
        });
        Siblings::of(&server("a", 8080), 81, &serde_json::from_value(status).unwrap())
    }

    #[test]
    fn only_nodes_with_the_same_tags_are_asked() {
        let found = siblings("Running").unwrap();
        assert_eq!(found.addresses, [server("b", 81), server("b", 8080)]);
        assert_eq!(found.tags, ["tag:tka"]);
        let hosts: Vec<_> = found.hosts.iter().map(String::as_str).collect();
        assert_eq!(hosts, ["b.example.ts.net", "c.example.ts.net"]);
        assert_eq!(siblings("Stopped"), None);
    }

    #[test]
    fn replicas_say_the_same_as_the_server() {
        let (a, b, c, d) = (
            server("a", 8080),
            server("b", 8080),
            server("c", 8080),
            server("d", 8080),
        );
        let known = |servers: &[&Server]| {
            let servers: Vec<_> = servers.iter().copied().cloned().collect();
            KnownReplicas::new("x".into(), vec!["tag:tka".into()], &servers)
        };
        let learned = |before: Option<&KnownReplicas>, answers: &[(&Server, &str)]| {
            let answers: Vec<_> = answers
                .iter()
                .map(|(one, said)| ((*one).clone(), (*said).to_owned()))
                .collect();
            updated(&a, before, siblings("Running").unwrap(), &answers)
        };
        let both = known(&[&a, &b]);
        assert_eq!(learned(None, &[(&a, "x"), (&b, "x")]), Ok(Some(both.clone())));
        assert_eq!(learned(None, &[(&a, "x"), (&b, "y")]), Ok(None));
        // A server that does not say what it is has no replicas that could be told from others.
        assert_eq!(learned(None, &[(&b, "x")]), Err(NothingLearned));
        // The order stays, and so does one that is silent just now.
        let turned = known(&[&b, &a]);
        assert_eq!(
            learned(Some(&turned), &[(&a, "x"), (&c, "x")]),
            Ok(Some(known(&[&b, &a, &c])))
        );
        assert_eq!(learned(Some(&both), &[(&b, "x")]), Ok(Some(both.clone())));
        // One that left the tailnet or became another goes.
        assert_eq!(
            learned(Some(&known(&[&a, &d, &b])), &[(&a, "x"), (&b, "x")]),
            Ok(Some(both.clone()))
        );
        assert_eq!(learned(Some(&both), &[(&a, "x"), (&b, "y")]), Ok(None));
        // So do all when the server itself became another.
        assert_eq!(learned(Some(&both), &[(&a, "y"), (&b, "x")]), Ok(None));
        // One node is one replica, at the server's port if it answers there.
        assert_eq!(
            learned(None, &[(&server("b", 81), "x"), (&b, "x"), (&a, "x")]),
            Ok(Some(both))
        );
    }
}
