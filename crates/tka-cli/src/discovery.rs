//! Finds TKA servers and what each one reports.

pub(crate) mod candidates;
pub(crate) mod choice;
pub(crate) mod clusters;
mod query;
mod select;

use std::path::Path;
use std::time::Duration;

use crate::api::client::Client;
use crate::config::Config;
use crate::discovery::clusters::{Cluster, Clusters};
use crate::kubeconfig::session_cache;
use crate::net::server::Server;
use crate::net::tailscale::{self, TailscaleError};
use crate::sys::parallel;

use candidates::Candidate;
pub(crate) use select::SelectError;

/// How long tailscaled, and then each server, may take. All servers are queried in parallel.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);

/// Connects to a server. The error is a reason on one line.
pub(crate) type Connect<'a> = dyn Fn(&Server) -> Result<Client, String> + Sync + 'a;

/// A search for servers: where they may be.
#[derive(Debug)]
pub(crate) struct Search {
    candidates: Vec<Candidate>,
    /// Why no tagged nodes are among them.
    pub(crate) tailnet_unavailable: Option<TailnetUnavailable>,
}

/// Why the nodes of the tailnet are not known.
#[derive(Debug)]
pub(crate) enum TailnetUnavailable {
    StatusFailed(TailscaleError),
    /// This device is not on the tailnet.
    Offline,
}

// === impl Search ===

impl Search {
    /// Collects the addresses of possible servers, and queries none of them.
    ///
    /// `folder` has the session caches of earlier sign-ins, if there is one. `limit` is for tailscaled.
    pub(crate) fn new(config: &Config, default: &Server, folder: Option<&Path>, limit: Duration) -> Self {
        let limit = limit.min(config.timeout);
        let (status, tailnet_unavailable) = match tailscale::status(config.socket.as_deref(), limit) {
            Ok(status) if status.is_running() => (Some(status), None),
            Ok(_) => (None, Some(TailnetUnavailable::Offline)),
            Err(error) => (None, Some(TailnetUnavailable::StatusFailed(error))),
        };
        let caches = folder.map(session_cache::load_all).unwrap_or_default();
        let default = match &status {
            Some(status) if !config.has_chosen_server => candidates::in_full(default, status),
            _ => default.clone(),
        };
        Self {
            candidates: candidates::find(&default, caches, status.as_ref(), &config.tag),
            tailnet_unavailable,
        }
    }

    /// Queries all servers. At a tagged node with a guessed port, other services are left out unless `long`.
    pub(crate) fn query(&self, connect: &Connect<'_>, long: bool) -> Clusters {
        let all: Vec<_> = self.candidates.iter().collect();
        query_all(connect, &all, long)
    }

    /// Whether a node with the tag is online, so that there may be servers beside those that this device knows.
    pub(crate) fn has_tagged_nodes(&self) -> bool {
        self.candidates.iter().any(|one| one.is_guessed_port && !one.is_offline)
    }

    /// Queries all servers but those of nodes that are offline: nothing answers there, and waiting for it takes time.
    pub(crate) fn query_online(&self, connect: &Connect<'_>) -> Clusters {
        let online: Vec<_> = self.candidates.iter().filter(|one| !one.is_offline).collect();
        query_all(connect, &online, false)
    }

    /// Selects the server `name`, in full or in short. Only servers that match are queried.
    pub(crate) fn choose(&self, connect: &Connect<'_>, name: &str) -> Result<Cluster, SelectError> {
        let matching: Vec<_> = self.candidates.iter().filter(|one| one.is_called(name)).collect();
        if matching.is_empty() {
            return Err(SelectError::unknown(name, &self.query(connect, false)));
        }
        select::only(name, query_all(connect, &matching, true))
    }

    /// The names for [`Self::choose`] as far as known without querying a server: the first address of each node.
    pub(crate) fn names(self) -> Vec<(String, Candidate)> {
        let mut places: Vec<Candidate> = vec![];
        for one in self.candidates {
            if !one.is_guessed_port || !places.iter().any(|place| place.node == one.node) {
                places.push(one);
            }
        }
        let names = candidates::names(&places.iter().map(|place| &place.server).collect::<Vec<_>>());
        names.into_iter().zip(places).collect()
    }
}

fn query_all(connect: &Connect<'_>, candidates: &[&Candidate], long: bool) -> Clusters {
    let answers = parallel::map(candidates, |candidate| query::query(connect, candidate));
    Clusters::new(query::select_shown(
        candidates,
        answers.into_iter().flatten().collect(),
        long,
    ))
}
