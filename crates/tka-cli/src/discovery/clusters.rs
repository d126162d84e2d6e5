//! TKA servers and their clusters, as text and as data.

use std::collections::BTreeMap;

use serde::Serialize;
use tka_api::http::{GatewayInfo, RuleInfo};

use crate::api::access::display_name;
use crate::discovery::candidates::{Candidate, names};
use crate::kubeconfig::session_cache::CachedSession;
use crate::net::server::Server;
use crate::terminal::messages::clean;
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;
use crate::terminal::theme::paint;
use crate::terminal::time_format;

/// The TKA servers that were found.
#[derive(Debug, Serialize)]
pub(crate) struct Clusters {
    pub(crate) items: Vec<Cluster>,
}

/// One server and its cluster.
#[derive(Debug, Serialize)]
pub(crate) struct Cluster {
    /// Its display name, as short as is unique.
    pub(crate) name: String,
    pub(crate) server: String,
    /// The other replicas of its server that answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) replicas: Vec<String>,
    /// Whether commands use it by default.
    pub(crate) default: bool,
    pub(crate) state: State,
    /// The version of this project's server. None for other servers.
    pub(crate) version: Option<String>,
    pub(crate) api_server: Option<String>,
    /// The gateway, if the server has one.
    pub(crate) gateway: Option<GatewayInfo>,
    pub(crate) labels: BTreeMap<String, String>,
    /// The rules that apply. None if the server does not report them.
    pub(crate) rules: Option<Vec<RuleInfo>>,
    /// The sessions of this device.
    pub(crate) sessions: Vec<CachedSession>,
    /// Why the data is incomplete.
    pub(crate) problem: Option<String>,
    /// Which installation it is. Replicas have the same. None at a server that does not say it.
    #[serde(skip)]
    pub(crate) instance: Option<String>,
    #[serde(skip)]
    pub(crate) address: Server,
    #[serde(skip)]
    pub(crate) is_guessed_port: bool,
}

/// What responds at the server's address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// A TKA server responds.
    Answers,
    /// Nothing responds.
    Silent,
    /// Another service responds.
    Foreign,
}

// === impl Clusters ===

impl Clusters {
    /// Names the servers and sorts them, the default first. Replicas of one server are one, and the first of them stands for all.
    pub(crate) fn new(mut items: Vec<Cluster>) -> Self {
        let names = names(&items.iter().map(|item| &item.address).collect::<Vec<_>>());
        for (item, name) in items.iter_mut().zip(names) {
            item.name = name;
        }
        items.sort_by(|one, other| (!one.default, &one.name).cmp(&(!other.default, &other.name)));
        let mut first: Vec<Cluster> = vec![];
        for item in items {
            match first.iter_mut().find(|one| one.is_replica_of(&item)) {
                Some(one) => one.replicas.push(item.server),
                None => first.push(item),
            }
        }
        Self { items: first }
    }

    /// Whether a TKA server responds at any of the addresses.
    pub(crate) fn any_answers(&self) -> bool {
        self.items.iter().any(|item| item.state == State::Answers)
    }
}

impl Report for Clusters {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let heading = ["", "NAME", "SERVER", "API SERVER", "LABELS", "ACCESS", "NOTES"];
        let rows: Vec<_> = self.items.iter().map(|item| row(item, options)).collect();
        table(heading, &rows, options)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|item| item.name.clone()).collect()
    }
}

fn row(cluster: &Cluster, options: &RenderOptions<'_>) -> [String; 7] {
    let label = |(name, value): (&String, &String)| format!("{}={}", clean(name), clean(value));
    [
        if cluster.default { "*" } else { "" }.to_owned(),
        cluster.name.clone(),
        cluster.server.clone(),
        cluster.api_server.as_deref().map(clean).unwrap_or_default(),
        cluster.labels.iter().map(label).collect::<Vec<_>>().join(" "),
        access(cluster, options),
        remarks(cluster, options),
    ]
}

/// The sessions, or else the usable rules.
pub(super) fn access(cluster: &Cluster, options: &RenderOptions<'_>) -> String {
    let clock = &options.clock;
    let sessions = cluster.sessions.iter().filter(|session| session.until > clock.now);
    let session = |session: &CachedSession| {
        format!(
            "{} {}",
            clean(&session.role),
            time_format::until(session.until, clock.now, &clock.zone)
        )
    };
    let sessions: Vec<_> = sessions.map(session).collect();
    if !sessions.is_empty() {
        return format!("signed in: {}", sessions.join("; "));
    }
    let usable = cluster.rules.iter().flatten().filter(|rule| rule.problem.is_none());
    let rules: Vec<_> = usable.map(display_name).collect();
    if rules.is_empty() {
        String::new()
    } else {
        rules.join(", ")
    }
}

fn remarks(cluster: &Cluster, options: &RenderOptions<'_>) -> String {
    let state = match cluster.state {
        State::Answers => None,
        State::Silent => Some("does not answer"),
        State::Foreign => Some("no TKA server"),
    };
    let problem = cluster.problem.as_deref().map(clean);
    let problem: Vec<_> = state.map(ToOwned::to_owned).into_iter().chain(problem).collect();
    let problem = (!problem.is_empty()).then(|| paint(options.palette.warning, problem.join(": ")));
    let version = cluster.version.as_deref().filter(|_| options.long);
    let version = version.map(|version| format!("version {}", clean(version)));
    let gateway = cluster
        .gateway
        .as_ref()
        .and_then(|gateway| match (options.long, gateway.default) {
            (true, true) => Some(format!("gateway {}, by default", clean(&gateway.url))),
            (true, false) => Some(format!("gateway {}", clean(&gateway.url))),
            (false, true) => Some("through its gateway".to_owned()),
            (false, false) => None,
        });
    let replicas = match (cluster.replicas.as_slice(), options.long) {
        ([], _) => None,
        (others, true) => Some(format!("replicas {}", others.join(", "))),
        (others, false) => Some(format!("{} replicas", others.len() + 1)),
    };
    problem
        .into_iter()
        .chain(replicas)
        .chain(gateway)
        .chain(version)
        .collect::<Vec<_>>()
        .join("; ")
}

// === impl Cluster ===

impl Cluster {
    /// A cluster before its server is queried: only the address is known.
    pub(crate) fn new(candidate: &Candidate) -> Self {
        Self {
            name: String::new(),
            server: candidate.server.to_string(),
            replicas: Vec::new(),
            default: candidate.is_default,
            state: State::Silent,
            version: None,
            api_server: None,
            gateway: None,
            labels: BTreeMap::new(),
            rules: None,
            sessions: candidate.sessions.clone(),
            problem: None,
            instance: None,
            address: candidate.server.clone(),
            is_guessed_port: candidate.is_guessed_port,
        }
    }

    fn is_replica_of(&self, other: &Self) -> bool {
        self.instance.is_some() && self.instance == other.instance
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::Clock;
    use crate::terminal::theme::Theme;
    use jiff::Timestamp;
    use jiff::tz::TimeZone;

    fn cluster(name: &str, instance: Option<&str>, is_default: bool) -> Cluster {
        let candidate = Candidate {
            server: Server::new(&format!("{name}.example.ts.net"), 443, None).unwrap(),
            node: name.into(),
            is_default,
            is_guessed_port: false,
            is_offline: false,
            sessions: vec![],
        };
        Cluster {
            state: State::Answers,
            instance: instance.map(Into::into),
            ..Cluster::new(&candidate)
        }
    }

    #[test]
    fn replicas_are_one_row_and_the_default_stands_for_them() {
        let all = [
            cluster("west-0", Some("w"), false),
            cluster("west-1", Some("w"), true),
            cluster("east", Some("e"), false),
            cluster("old-0", None, false),
            cluster("old-1", None, false),
        ];
        let clusters = Clusters::new(all.into());
        assert_eq!(clusters.names(), ["west-1", "east", "old-0", "old-1"]);
        assert_eq!(clusters.items[0].replicas, ["https://west-0.example.ts.net"]);
        let palette = Theme::Notty.palette();
        let shown = |long| {
            clusters.human(&RenderOptions {
                palette: &palette,
                clock: Clock {
                    now: Timestamp::UNIX_EPOCH,
                    zone: TimeZone::UTC,
                },
                width: None,
                long,
            })
        };
        assert!(shown(false).contains("2 replicas"), "{}", shown(false));
        let long = shown(true);
        assert!(long.contains("replicas https://west-0.example.ts.net"), "{long}");
        assert_eq!(long.matches("replicas").count(), 1, "{long}");
    }
}
