//! A server of several replicas: the next one is asked when one does not answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::failover::{self, PATIENCE, ResultRank};
use super::route::{HttpResponse, Request, Route};
use crate::net::server::Server;

/// What is known of the tailnet, and what is to be remembered of it.
pub(crate) trait Tailnet: Send + Sync {
    /// The way to a replica. None if it is no node that replicas run on.
    fn route(&self, replica: &Server) -> Option<Route>;

    /// Has later commands ask `replica` first.
    fn prefer(&self, replica: &Server);
}

/// The replicas of a server.
pub(super) struct Replicas {
    /// The way to the server that the user named, which needs no check.
    named: Arc<Route>,
    /// All of them in the order in which to ask.
    order: Mutex<Vec<Server>>,
    tailnet: Arc<dyn Tailnet>,
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas")
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

// === impl Replicas ===

impl Replicas {
    pub(super) fn new(named: Arc<Route>, order: Vec<Server>, tailnet: impl Tailnet + 'static) -> Self {
        Self {
            named,
            order: Mutex::new(order),
            tailnet: Arc::new(tailnet),
        }
    }

    /// Sends the request to one replica after the other, until one answers. Later requests go there first.
    pub(super) fn exchange(&self, request: Request, limit: Duration) -> Result<HttpResponse, ureq::Error> {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (request, deadline) = (Arc::new(request), Instant::now() + limit);
        let attempt = |number: usize| -> failover::Attempt<Result<HttpResponse, ureq::Error>> {
            let (request, replica) = (Arc::clone(&request), order[number].clone());
            let (named, tailnet) = (Arc::clone(&self.named), Arc::clone(&self.tailnet));
            Box::new(move || {
                let limit = || deadline.saturating_duration_since(Instant::now());
                if replica == *named.server() {
                    return Some(named.exchange(&request, limit()));
                }
                let route = tailnet.route(&replica)?;
                Some(route.exchange(&request, limit()))
            })
        };
        let found = failover::first_answer(order.len(), PATIENCE, deadline, attempt, worth);
        let Some((number, result)) = found else {
            return Err(ureq::Error::Timeout(ureq::Timeout::Global));
        };
        if number > 0 && worth(&result) == ResultRank::Answer {
            self.prefer(&order[number]);
        }
        result
    }

    fn prefer(&self, replica: &Server) {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.sort_by_key(|one| one != replica);
        self.tailnet.prefer(replica);
    }
}

/// A replica that fails may have lost what another one has, such as its tailscaled or its disk.
fn worth(result: &Result<HttpResponse, ureq::Error>) -> ResultRank {
    match result {
        Ok(response) if response.status < 500 => ResultRank::Answer,
        Ok(_) => ResultRank::Trouble,
        Err(_) => ResultRank::Failure,
    }
}
