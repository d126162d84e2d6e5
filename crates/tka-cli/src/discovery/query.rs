//! Queries one server, and selects the responses to show.

use tka_api::http::{ClusterInfo, RuleList};

use super::Connect;
use super::candidates::Candidate;
use crate::api::client::probe::Probe;
use crate::api::client::{Client, ClientError};
use crate::api::device_sessions;
use crate::discovery::clusters::{Cluster, State};
use crate::exit::Exit;

/// Queries the server, within the limit.
pub(super) fn query(connect: &Connect<'_>, candidate: &Candidate) -> Cluster {
    let mut cluster = Cluster::new(candidate);
    match connect(&candidate.server) {
        Ok(client) => cluster.read_answers(&client, candidate),
        Err(problem) => cluster.problem = Some(problem),
    }
    cluster
}

/// Selects the servers to show. A node with guessed ports is shown once if no TKA server responds there, and other services only with
/// `long`.
pub(super) fn select_shown(candidates: &[&Candidate], answers: Vec<Cluster>, long: bool) -> Vec<Cluster> {
    let is_shown = |one: &Cluster| !one.is_guessed_port || one.state == State::Answers;
    let has_shown = |node: &str| {
        let mut pairs = candidates.iter().zip(&answers);
        pairs.any(|(candidate, answer)| candidate.node == node && is_shown(answer))
    };
    let mut represented: Vec<&str> = vec![];
    let is_listed: Vec<bool> = candidates
        .iter()
        .zip(&answers)
        .map(|(candidate, answer)| {
            let represents_node = !has_shown(&candidate.node)
                && !represented.contains(&candidate.node.as_str())
                && (long || answer.state == State::Silent);
            if represents_node {
                represented.push(&candidate.node);
            }
            is_shown(answer) || represents_node
        })
        .collect();
    let listed = answers.into_iter().zip(is_listed).filter(|(_, is_listed)| *is_listed);
    listed.map(|(answer, _)| answer).collect()
}

// === impl Cluster ===

impl Cluster {
    fn read_answers(&mut self, client: &Client, candidate: &Candidate) {
        let probe = client.probe();
        self.version.clone_from(&probe.version);
        self.state = state(&probe);
        match probe.rules {
            Ok(rules) => {
                self.rules = rules.map(|RuleList { items }| items);
                self.update_sessions(client);
                self.update_cluster(client.cluster_info());
            }
            Err(error) => {
                if error.exit() == Exit::Refused {
                    self.sessions.clear();
                }
                let offline = (candidate.is_offline && self.state == State::Silent).then_some("its node is offline");
                self.problem = Some(offline.map_or_else(|| short_reason(&error), ToOwned::to_owned));
            }
        }
    }

    /// Without a response the cached sessions stay.
    fn update_sessions(&mut self, client: &Client) {
        if let Ok(sessions) = device_sessions::fetch(client) {
            self.sessions = sessions;
        }
    }

    fn update_cluster(&mut self, info: Result<ClusterInfo, ClientError>) {
        match info {
            Ok(info) => {
                self.api_server = Some(info.server_url);
                self.gateway = info.gateway;
                self.labels = info.labels;
                self.instance = info.instance;
            }
            Err(error) => self.problem = Some(short_reason(&error)),
        }
    }
}

fn state(probe: &Probe) -> State {
    match &probe.rules {
        Ok(_) => State::Answers,
        Err(_) if probe.version.is_some() => State::Answers,
        Err(error) if error.is_from_server() => State::Answers,
        Err(error) if error.is_from_other_service() => State::Foreign,
        Err(_) => State::Silent,
    }
}

/// The reason on one line.
fn short_reason(error: &ClientError) -> String {
    error.why().into_iter().next().unwrap_or_else(|| error.what())
}
