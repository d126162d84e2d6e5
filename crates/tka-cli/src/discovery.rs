//! Finding TKA servers: where they may be, and what each says of itself.

pub(crate) mod candidates;
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

/// How long tailscaled, and after it each server, may take. All servers are asked at the same time.
pub(crate) const LIMIT: Duration = Duration::from_secs(3);

/// Connects to a server. Where that cannot be, it says why in a line.
pub(crate) type Connect<'a> = dyn Fn(&Server) -> Result<Client, String> + Sync + 'a;

/// Where servers may be.
#[derive(Debug)]
pub(crate) struct Search {
    candidates: Vec<Candidate>,
    /// Why nodes of the tailnet are not among them.
    pub(crate) tailnet_unavailable: Option<TailnetUnavailable>,
}

/// Why nodes of the tailnet could not be looked at.
#[derive(Debug)]
pub(crate) enum TailnetUnavailable {
    StatusFailed(TailscaleError),
    /// This device is not on the tailnet.
    Offline,
}

// === impl Search ===

impl Search {
    /// Looks where servers may be, and asks none of them.
    ///
    /// `folder` is where things of earlier sign-ins are, if anywhere. tailscaled may take `limit`.
    pub(crate) fn new(config: &Config, default: &Server, folder: Option<&Path>, limit: Duration) -> Self {
        let limit = limit.min(config.timeout);
        let (status, tailnet_unavailable) = match tailscale::status(config.socket.as_deref(), limit) {
            Ok(status) if status.is_running() => (Some(status), None),
            Ok(_) => (None, Some(TailnetUnavailable::Offline)),
            Err(error) => (None, Some(TailnetUnavailable::StatusFailed(error))),
        };
        let known = folder.map(session_cache::load_all).unwrap_or_default();
        Self {
            candidates: candidates::find(default, known, status.as_ref(), &config.tag),
            tailnet_unavailable,
        }
    }

    /// What each says. Of a node with the tag whose port nobody said, what is not a TKA server is left out unless `long`.
    pub(crate) fn ask(&self, connect: &Connect<'_>, long: bool) -> Clusters {
        let all: Vec<_> = self.candidates.iter().collect();
        ask(connect, &all, long)
    }

    /// The one that `name` means, which may be in short where that is enough. Only those are asked that it may mean.
    pub(crate) fn choose(&self, connect: &Connect<'_>, name: &str) -> Result<Cluster, SelectError> {
        let meant: Vec<_> = self.candidates.iter().filter(|one| one.is_called(name)).collect();
        if meant.is_empty() {
            return Err(SelectError::unknown(name, &self.ask(connect, false)));
        }
        select::only(name, ask(connect, &meant, true))
    }

    /// What [`Self::choose`] takes, as far as it is known without asking a server: of a node the first place.
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

fn ask(connect: &Connect<'_>, candidates: &[&Candidate], long: bool) -> Clusters {
    let answers = parallel::map(candidates, |candidate| query::query(connect, candidate));
    Clusters::new(query::select_shown(
        candidates,
        answers.into_iter().flatten().collect(),
        long,
    ))
}
