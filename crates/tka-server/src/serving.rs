//! Serves the tailnet by the names and addresses that the node has at the moment.
//!
//! A node may come back with another address or name. The status of tailscaled says so
//! ([`Reauthorization`](crate::reauthorize::Reauthorization) asks for it at each change), and what is served follows. Listeners on
//! addresses that stay are left alone, with their connections.
//!
//! The server waits for whatever is missing. One that ended instead would be started again and again, and no session would come to its
//! end meanwhile.

mod certificates;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tka_operator::error::with_causes;
use tka_operator::{Clock, backoff};
use tka_tailnet::Status;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::certificate::CertificateState;
use crate::config;
use crate::listen::{ListenError, addresses, bind, serve};
use crate::node::{Node, Served};
use crate::timer::at;

use self::certificates::Certificates;
pub use self::certificates::{Files, Source};

/// How long a port or a certificate that cannot be had is left alone at the most. Certificates are asked for at an authority that counts
/// failures (<https://letsencrypt.org/docs/rate-limits/>).
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// Whether the tailnet is served as the node is at the moment, or why not yet.
pub type Serving = Result<(), String>;

/// What serves the tailnet, and with what.
pub struct TailnetServer {
    /// Where certificates come from.
    pub certificates: Source,
    /// How the node is served, whatever it is called.
    pub served: Served,
    /// What answers requests.
    pub router: Router,
    /// How much connections may take.
    pub limits: config::Server,
    /// Where to say what the node is called.
    pub node: watch::Sender<Node>,
    /// Where to say whether it is served.
    pub serving: watch::Sender<Serving>,
    /// Where to say how the certificate stands.
    pub standing: watch::Sender<Option<CertificateState>>,
    /// Tells the time.
    pub clock: Clock,
}

/// What a status of the node asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
struct DesiredState {
    node: Node,
    addresses: BTreeSet<SocketAddr>,
    /// What the node is called.
    name: String,
    /// The name that the tailnet has a certificate for, where there is one.
    domain: Option<String>,
}

/// What is served at the moment.
struct Running {
    with: ServingContext,
    certificates: Certificates,
    listeners: BTreeMap<SocketAddr, Listener>,
    servers: JoinSet<io::Result<()>>,
    /// Whether an address of IPv4, and of IPv6, was ever listened on.
    had: [bool; 2],
    stop: CancellationToken,
}

/// What is served, and where to say so.
struct ServingContext {
    served: Served,
    router: Router,
    limits: config::Server,
    node: watch::Sender<Node>,
    serving: watch::Sender<Serving>,
}

struct Listener {
    end: CancellationToken,
    task: AbortHandle,
}

/// What is to be done and when.
#[derive(Debug, Default)]
struct NextAttempt {
    wanted: Option<DesiredState>,
    failures: u32,
    /// When to try, if there is anything to do.
    due: Option<Instant>,
}

// === impl TailnetServer ===

impl TailnetServer {
    /// Serves the node that `said` is about, until `stop`. Then answers that are being made come to their end.
    pub async fn run(self, mut said: watch::Receiver<Option<Status>>, stop: CancellationToken) {
        let mut running = Running {
            with: ServingContext {
                served: self.served,
                router: self.router,
                limits: self.limits,
                node: self.node,
                serving: self.serving,
            },
            certificates: Certificates::new(self.certificates, self.clock, self.standing),
            listeners: BTreeMap::new(),
            servers: JoinSet::new(),
            had: [false; 2],
            stop: stop.clone(),
        };
        let mut plan = NextAttempt::default();
        while !stop.is_cancelled() {
            let wanted = said
                .borrow_and_update()
                .as_ref()
                .and_then(|status| running.wanted(status));
            plan.take(wanted, Instant::now());
            if let Some(wanted) = plan.now(Instant::now()) {
                let Some(followed) = stop.run_until_cancelled(running.follow(&wanted)).await else {
                    break;
                };
                running.tell(&wanted, plan.tried(followed, Instant::now()));
                continue;
            }
            let is_https = running.with.served.https;
            tokio::select! {
                () = stop.cancelled() => {}
                () = changed(&mut said) => {}
                () = at(plan.due) => {}
                () = running.certificates.due(), if is_https => {
                    let looked = stop.run_until_cancelled(running.certificates.look_again()).await;
                    if looked == Some(false) {
                        plan.at_once(Instant::now());
                    }
                }
                Some(ended) = running.servers.join_next() => {
                    if running.lost(ended) {
                        plan.again(Instant::now());
                    }
                }
            }
        }
        running.end().await;
    }
}

/// Returns at a new status; never when there will be none.
async fn changed(said: &mut watch::Receiver<Option<Status>>) {
    if said.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

// === impl NextAttempt ===

impl NextAttempt {
    /// Another thing wanted is begun at once. A node that is not on the tailnet wants nothing new, and what there is stays.
    fn take(&mut self, wanted: Option<DesiredState>, now: Instant) {
        if wanted.is_some() && wanted != self.wanted {
            *self = Self {
                wanted,
                failures: 0,
                due: Some(now),
            };
        }
    }

    /// What is to be tried now.
    fn now(&self, now: Instant) -> Option<DesiredState> {
        self.wanted.clone().filter(|_| self.due.is_some_and(|due| due <= now))
    }

    /// It was tried. What failed is tried again after the wait that is returned with it.
    fn tried(&mut self, result: Result<(), ListenError>, now: Instant) -> Result<(), (ListenError, Duration)> {
        match result {
            Ok(()) => {
                (self.failures, self.due) = (0, None);
                Ok(())
            }
            Err(error) => Err((error, self.again(now))),
        }
    }

    /// What failed may go well now.
    fn at_once(&mut self, now: Instant) {
        self.due = self.due.map(|_| now);
    }

    /// It is to be tried again, after the wait that is returned.
    fn again(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = backoff(self.failures, None, LONGEST_RETRY);
        self.due = Some(now + wait);
        wait
    }
}

// === impl Running ===

impl Running {
    /// What `status` asks for; nothing unless the node is on the tailnet.
    fn wanted(&self, status: &Status) -> Option<DesiredState> {
        let served = &self.with.served;
        status.require_running().ok()?;
        Some(DesiredState {
            node: Node::new(status, served),
            addresses: addresses(status, served.port).into_iter().collect(),
            name: status
                .self_node
                .as_ref()
                .map(|node| node.dns_name.clone())
                .unwrap_or_default(),
            domain: status.cert_domains.first().filter(|_| served.https).cloned(),
        })
    }

    /// Makes what is served what is `wanted`. What cannot be had is missing then, and all else is there.
    async fn follow(&mut self, wanted: &DesiredState) -> Result<(), ListenError> {
        self.with.serving.send_if_modified(|serving| {
            let was_served = serving.is_ok();
            if was_served {
                *serving = Err("the node has another name or address, which is not served yet".into());
            }
            was_served
        });
        self.with.node.send_if_modified(|node| {
            let is_new = *node != wanted.node;
            node.clone_from(&wanted.node);
            is_new
        });
        self.leave(&wanted.addresses);
        if self.with.served.https {
            // Before anything listens: a client that connected then would wait for nothing.
            let (name, domain) = (&wanted.name, wanted.domain.as_deref());
            self.certificates.ensure(name, domain).await?;
        }
        self.listen(&wanted.addresses)
    }

    /// Ends listening on what is not among `addresses`.
    fn leave(&mut self, addresses: &BTreeSet<SocketAddr>) {
        self.listeners.retain(|address, listener| {
            let stays = addresses.contains(address);
            if !stays {
                tracing::info!(%address, "stopped listening: the node lost this address");
                listener.end.cancel();
            }
            stays
        });
    }

    /// Listens on those of `addresses` on which it does not yet. An address that the system does not have is left out if it never had
    /// one of that kind (IPv4, IPv6). A node lists its IPv6 address also where the system has no IPv6.
    fn listen(&mut self, addresses: &BTreeSet<SocketAddr>) -> Result<(), ListenError> {
        let mut missing = Err(ListenError::NoAddress);
        let mut is_missing = false;
        for address in addresses {
            if self.listeners.contains_key(address) {
                continue;
            }
            let error = match self.listen_on(*address) {
                Ok(()) => continue,
                Err(error) => error,
            };
            let is_elsewhere = error.is_address_not_available();
            tracing::warn!(%address, error = with_causes(&error), "cannot listen on address");
            is_missing |= !is_elsewhere || self.had[usize::from(address.is_ipv6())];
            missing = Err(error);
        }
        if is_missing || self.listeners.is_empty() {
            return missing;
        }
        Ok(())
    }

    fn listen_on(&mut self, address: SocketAddr) -> Result<(), ListenError> {
        let listener = bind(address)?;
        let end = self.stop.child_token();
        let certificate = self.certificates.served();
        let (router, limits) = (self.with.router.clone(), self.with.limits.clone());
        let task = self
            .servers
            .spawn(serve(listener, router, certificate, limits, end.clone()));
        self.listeners.insert(address, Listener { end, task });
        self.had[usize::from(address.is_ipv6())] = true;
        Ok(())
    }

    fn tell(&self, wanted: &DesiredState, tried: Result<(), (ListenError, Duration)>) {
        match tried {
            Ok(()) => {
                let (url, addresses) = (&wanted.node.url, self.listeners.keys());
                tracing::info!(url, addresses = ?addresses.collect::<Vec<_>>(), "serving the tailnet");
                drop(self.with.serving.send_replace(Ok(())));
            }
            Err((error, wait)) => {
                let error = with_causes(&error);
                tracing::error!(error, ?wait, "cannot serve the tailnet; retrying");
                drop(self.with.serving.send_replace(Err(error)));
            }
        }
    }

    /// A server ended. Says whether one is missing now; one whose address is gone is not.
    fn lost(&mut self, ended: Result<io::Result<()>, tokio::task::JoinError>) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|_, listener| !listener.task.is_finished());
        log_end(ended);
        let is_missing = self.listeners.len() < before;
        if is_missing {
            drop(
                self.with
                    .serving
                    .send_replace(Err("a listener ended by itself; the log says why".into())),
            );
        }
        is_missing
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.servers.join_next().await {
            log_end(ended);
        }
    }
}

fn log_end(ended: Result<io::Result<()>, tokio::task::JoinError>) {
    let error = match ended {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    tracing::error!(listener = "tailnet", error, "a listener failed");
}

#[cfg(test)]
mod tests;
