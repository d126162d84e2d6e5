//! The way to the API server: one client for requests, which must be answered in time, and one for watches, which stay open.

use std::time::Duration;

use kube::{Client, Config};

/// How long the API server may take to answer a request. A connection that died without a word would otherwise be waited for as long
/// as the kernel does, a quarter of an hour, and a session would outlive its end by that much.
const ANSWER: Duration = Duration::from_secs(10);

/// The clients of one API server.
#[derive(Clone)]
pub struct Clients {
    /// For requests.
    pub requests: Client,
    /// For watches.
    pub watches: Client,
}

// === impl Clients ===

impl Clients {
    /// Clients of the API server that `config` leads to.
    pub fn new(config: Config) -> Result<Self, kube::Error> {
        let mut watches = config;
        // Who asks tries again: the reconcile loop within a second, a caller when they like. kube's own retries wait for up to a
        // minute and more between two tries, unseen.
        watches.default_retry = false;
        let mut requests = watches.clone();
        requests.read_timeout = Some(ANSWER);
        // Else the time that a pooled connection was idle counts.
        requests.reset_reader_on_write = true;
        Ok(Self {
            requests: Client::try_from(requests)?,
            watches: Client::try_from(watches)?,
        })
    }
}
