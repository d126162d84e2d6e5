//! Which of several replicas reconciles: the holder of a Lease (<https://kubernetes.io/docs/concepts/architecture/leases/>).
//!
//! All replicas serve callers; the holder alone completes, ends and checks sessions, so that it is done once. Two that
//! reconcile for a moment do no harm, because the API server decides object by object. So best-effort mutual exclusion
//! suffices, if failover is fast.

mod decision;

use std::fmt;
use std::future::pending;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::core::Status;
use kube::runtime::watcher;
use kube::{Api, ResourceExt};
use tka_api::resource::{ANNOTATION_YIELDS, LABEL_MANAGED_BY, MANAGED_BY};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::error::{self, ignore_not_found, status, with_causes};
use crate::{Clients, Clock, watches};
use decision::{Candidate, LEASE_DURATION, ObservedLease, RENEW_DEADLINE, RETRY_PERIOD, Record, Step};

/// What the Lease is called, in the namespace of the sessions.
pub const LEASE: &str = "tka-server";

/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is obeyed: the holder must be able to try once more before its Lease is lost.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(2);
const _: () = assert!(RETRY_PERIOD.as_secs() + 2 * MAX_RETRY_AFTER.as_secs() < RENEW_DEADLINE.as_secs());

/// Takes part in the election for one replica.
pub struct Election {
    leases: Api<Lease>,
    watched: Api<Lease>,
    candidate: Candidate,
    clock: Clock,
    seen: Option<ObservedLease>,
    /// Nothing is written before.
    not_before: Instant,
    held: watch::Sender<LeaseState>,
}

/// Whether this replica reconciles. Clones know the same.
#[derive(Clone, Debug)]
pub struct Leadership(watch::Receiver<LeaseState>);

#[derive(Clone, Copy, Debug, Default)]
struct LeaseState {
    /// This replica may reconcile until then.
    until: Option<Instant>,
    /// How often it was gained.
    acquisitions: u64,
    /// Another replica, which is in touch with the tailnet, holds the Lease until then, as far as is known.
    other_can_verify_until: Option<Instant>,
}

/// What the API server tells of the Lease: it as it is now, or that there is none.
type Changes = Pin<Box<dyn Stream<Item = watcher::Result<Option<Lease>>> + Send>>;

// === impl Leadership ===

impl Leadership {
    /// Whether this replica reconciles at this moment.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.borrow().is(Instant::now())
    }

    /// Whether another replica holds the Lease at this moment that can check sessions against the tailnet. A Lease that is gone, was released,
    /// is over, or whose holder yields says no.
    #[must_use]
    pub fn other_holder_can_verify(&self) -> bool {
        let until = self.0.borrow().other_can_verify_until;
        until.is_some_and(|until| Instant::now() < until)
    }

    /// An item whenever this replica begins to reconcile, and one at once when it does already.
    pub fn acquisitions(&self) -> impl Stream<Item = ()> + Send + 'static {
        stream::unfold((self.0.clone(), 0), |(mut held, known)| async move {
            let acquisitions = held
                .wait_for(|held| held.acquisitions > known)
                .await
                .map(|held| held.acquisitions);
            match acquisitions {
                Ok(acquisitions) => Some(((), (held, acquisitions))),
                // The election has stopped. Waiting tasks go on.
                Err(_) => pending().await,
            }
        })
    }
}

// === impl LeaseState ===

impl LeaseState {
    fn is(self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Whether it was held until a time that is over.
    fn has_lapsed(self, now: Instant) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// The Lease was renewed by a request that began at `asked_at`. If it lapsed before the answer, this counts as a new gain, so that all
    /// sessions are reconciled again.
    fn renew(&mut self, asked_at: Instant) {
        if !self.is(Instant::now()) {
            self.acquisitions += 1;
        }
        self.until = Some(asked_at + RENEW_DEADLINE);
    }
}

// === impl Election ===

impl fmt::Debug for Election {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Election")
            .field("candidate", &self.candidate)
            .finish_non_exhaustive()
    }
}

impl Election {
    /// The election among the servers of `namespace`. No two replicas may have the same `identity`; a replica that is
    /// restarted with its identity resumes its Lease.
    #[must_use]
    pub fn new(clients: &Clients, namespace: &str, identity: String, clock: Clock) -> (Self, Leadership) {
        let (held, leadership) = watch::channel(LeaseState::default());
        let election = Self {
            leases: Api::namespaced(clients.requests.clone(), namespace),
            watched: Api::namespaced(clients.watches.clone(), namespace),
            candidate: Candidate {
                identity,
                can_verify: false,
                renewed: None,
            },
            clock,
            seen: None,
            not_before: Instant::now(),
            held,
        };
        (election, Leadership(leadership))
    }

    /// Takes part until `stop`, then lets go of the Lease. `can_verify` says whether this replica can check sessions against the
    /// tailnet: one that cannot leaves it to one that can.
    pub async fn run(mut self, mut can_verify: watch::Receiver<bool>, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        // The watch reports a release or a yield within seconds, even after a dead connection.
        let mut changes: Changes = watches::object(self.watched.clone(), LEASE).boxed();
        self.read().await;
        loop {
            self.candidate.can_verify = *can_verify.borrow_and_update();
            let wake = self.step().await;
            tokio::select! {
                () = &mut stop => break,
                () = sleep_until(wake) => {}
                Some(change) = changes.next() => self.on_watch_event(change),
                Ok(()) = can_verify.changed() => {}
            }
        }
        self.release().await;
    }

    /// Does what is to be done now, and says when to look again.
    async fn step(&mut self) -> Instant {
        let now = Instant::now();
        match self.candidate.step(self.seen.as_ref(), now) {
            Step::Wait(until) => until,
            Step::Write(_) if now < self.not_before => self.not_before,
            Step::Write(record) => {
                self.write(record).await;
                match self.candidate.step(self.seen.as_ref(), Instant::now()) {
                    Step::Wait(until) => until,
                    Step::Write(_) => self.not_before.max(Instant::now()),
                }
            }
        }
    }

    async fn write(&mut self, record: Record) {
        let asked_at = Instant::now();
        let lease = self.lease(record);
        let post = PostParams::default();
        let written = match self.seen {
            // The resource version makes the API server refuse it when another replica was faster.
            Some(_) => self.leases.replace(LEASE, &post, &lease).await,
            None => self.leases.create(&post, &lease).await,
        };
        match written {
            Ok(lease) => {
                self.candidate.renewed = Some(asked_at);
                if self.held.borrow().has_lapsed(Instant::now()) {
                    tracing::warn!("this replica's Lease lapsed; it is renewed and all sessions are reconciled again");
                }
                self.observe(Some(lease));
                self.held.send_modify(|held| held.renew(asked_at));
            }
            Err(error) => {
                self.not_before = Instant::now() + again(&error);
                let by_another =
                    |status: &Status| status.is_conflict() || status.is_already_exists() || status.is_not_found();
                if status(&error).is_some_and(by_another) {
                    self.read().await;
                } else {
                    tracing::warn!(error = with_causes(&error), "cannot write the Lease");
                }
            }
        }
    }

    async fn read(&mut self) {
        match ignore_not_found(self.leases.get(LEASE).await) {
            Ok(lease) => self.observe(lease),
            Err(error) => {
                self.not_before = Instant::now() + again(&error);
                tracing::warn!(error = with_causes(&error), "cannot read the Lease");
            }
        }
    }

    /// Skips events from before an earlier change of the holder. An older renewal passes, and shows as a conflict at the next write.
    fn on_watch_event(&mut self, change: watcher::Result<Option<Lease>>) {
        match change {
            Ok(Some(lease)) if self.is_behind(&lease) => {}
            Ok(lease) => self.observe(lease),
            Err(error) => tracing::debug!(error = with_causes(&error), "watching the Lease failed"),
        }
    }

    fn is_behind(&self, lease: &Lease) -> bool {
        let known = self.seen.as_ref().map_or(0, |seen| seen.record.transitions);
        record(lease).transitions < known
    }

    fn observe(&mut self, lease: Option<Lease>) {
        let holder = |seen: Option<&ObservedLease>| seen.and_then(|seen| seen.record.holder.clone());
        let before = holder(self.seen.as_ref());
        self.seen = lease.and_then(|lease| self.as_seen(&lease));
        let now = holder(self.seen.as_ref());
        let is_own = now.as_deref() == Some(&self.candidate.identity);
        let other_can_verify_until = self
            .seen
            .as_ref()
            .filter(|_| !is_own)
            .and_then(ObservedLease::can_verify_until);
        self.held.send_modify(|held| {
            held.until = held.until.filter(|_| is_own);
            held.other_can_verify_until = other_can_verify_until;
        });
        if before != now {
            let holder = now.as_deref().unwrap_or("none");
            let event = if is_own {
                "lease acquired"
            } else {
                "lease holder changed"
            };
            tracing::info!(holder, is_own, "{event}");
        }
    }

    /// An unchanged resource version keeps the time at which it was first seen.
    fn as_seen(&self, lease: &Lease) -> Option<ObservedLease> {
        let version = lease.resource_version()?;
        if let Some(seen) = self.seen.as_ref().filter(|seen| seen.version == version) {
            return Some(seen.clone());
        }
        Some(ObservedLease {
            record: record(lease),
            version,
            since: Instant::now(),
        })
    }

    fn lease(&self, record: Record) -> Lease {
        let now = MicroTime((self.clock)());
        let yields = record.yields.then(|| (ANNOTATION_YIELDS.into(), "true".into()));
        Lease {
            metadata: ObjectMeta {
                name: Some(LEASE.into()),
                resource_version: self.seen.as_ref().map(|seen| seen.version.clone()),
                labels: Some([(LABEL_MANAGED_BY.into(), MANAGED_BY.into())].into()),
                annotations: yields.map(|yields| [yields].into()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: record.holder,
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                lease_transitions: Some(record.transitions),
                renew_time: Some(now),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Clears the holder, so that another replica need not wait until the Lease is over.
    async fn release(&mut self) {
        self.held.send_modify(|held| held.until = None);
        let Some(seen) = self.seen.clone() else { return };
        if !seen.record.is_held_by(&self.candidate.identity) {
            return;
        }
        let released = Record {
            holder: None,
            yields: false,
            ..seen.record
        };
        let lease = self.lease(released);
        if let Err(error) = self.leases.replace(LEASE, &PostParams::default(), &lease).await {
            tracing::debug!(
                error = with_causes(&error),
                "the Lease was not released, and ends by itself"
            );
        }
    }
}

/// How soon a request that failed with `error` is tried again.
fn again(error: &kube::Error) -> Duration {
    let retry_after = status(error).and_then(error::retry_after);
    retry_after.unwrap_or_default().clamp(RETRY, MAX_RETRY_AFTER)
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.clone());
    Record {
        holder: holder.filter(|holder| !holder.is_empty()),
        yields: lease.annotations().contains_key(ANNOTATION_YIELDS),
        transitions: spec.and_then(|spec| spec.lease_transitions).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api_server;
    use futures::FutureExt;
    use jiff::Timestamp;
    use std::sync::Arc;

    fn election(clients: &Clients) -> (Election, Leadership) {
        Election::new(clients, "tka", "a".into(), Arc::new(|| Timestamp::UNIX_EPOCH))
    }

    #[tokio::test(start_paused = true)]
    async fn leadership_ends_by_itself_and_each_gain_is_told() {
        let (sender, receiver) = watch::channel(LeaseState::default());
        let leadership = Leadership(receiver);
        let mut acquisitions = Box::pin(leadership.acquisitions());
        assert!(!leadership.is_held() && acquisitions.next().now_or_never().is_none());
        for _ in 1..3 {
            sender.send_modify(|held| held.renew(Instant::now()));
            assert!(leadership.is_held() && acquisitions.next().now_or_never().is_some());
            tokio::time::advance(RENEW_DEADLINE / 2).await;
            sender.send_modify(|held| held.renew(Instant::now()));
            assert!(acquisitions.next().now_or_never().is_none(), "a renewal is no gain");
            tokio::time::advance(RENEW_DEADLINE).await;
            assert!(!leadership.is_held());
        }
        assert!(leadership.acquisitions().boxed().next().now_or_never().is_some());
    }

    /// Whatever had to be reconciled meanwhile was left alone, and is looked at again only by a gain.
    #[tokio::test(start_paused = true)]
    async fn renewal_answered_after_the_lease_lapsed_is_a_gain() {
        let (sender, receiver) = watch::channel(LeaseState::default());
        let leadership = Leadership(receiver);
        let mut acquisitions = Box::pin(leadership.acquisitions());
        sender.send_modify(|held| held.renew(Instant::now()));
        assert!(acquisitions.next().now_or_never().is_some());
        tokio::time::advance(RENEW_DEADLINE / 2).await;
        let asked_at = Instant::now();
        tokio::time::advance(RENEW_DEADLINE / 2 + RETRY).await;
        assert!(!leadership.is_held());
        sender.send_modify(|held| held.renew(asked_at));
        assert!(leadership.is_held() && acquisitions.next().now_or_never().is_some());
    }

    /// cases.md 11.8: whether another looks after the sessions.
    #[tokio::test(start_paused = true)]
    async fn other_that_holds_and_does_not_yield_can_verify() {
        let clients = fake_api_server::clients(|_| None);
        let (mut election, leadership) = election(&clients);
        let mut version = 0;
        let mut sees = |holder: Option<&str>, yields: bool| {
            let record = Record {
                holder: holder.map(Into::into),
                yields,
                transitions: 1,
            };
            let mut lease = election.lease(record);
            version += 1;
            lease.metadata.resource_version = Some(version.to_string());
            election.observe(Some(lease));
            leadership.other_holder_can_verify()
        };
        assert!(!leadership.other_holder_can_verify());
        assert!(sees(Some("b"), false));
        assert!(!sees(Some("b"), true));
        assert!(!sees(None, false));
        assert!(!sees(Some("a"), false));
        assert!(sees(Some("b"), false));
        tokio::time::advance(LEASE_DURATION).await;
        assert!(!leadership.other_holder_can_verify(), "nothing new was seen of it");
        election.observe(None);
        assert!(!leadership.other_holder_can_verify());
    }

    #[test]
    fn api_server_decides_when_the_lease_is_retried() {
        let failed = |seconds| {
            let mut status = Status::failure("busy", "TooManyRequests").with_code(429);
            status.details = serde_json::from_value(serde_json::json!({"retryAfterSeconds": seconds})).unwrap();
            again(&kube::Error::Api(status.boxed()))
        };
        assert_eq!([0, 2, 30].map(failed), [RETRY, MAX_RETRY_AFTER, MAX_RETRY_AFTER]);
    }

    #[test]
    fn empty_lease_has_no_holder() {
        let lease = Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(String::new()),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        assert_eq!(record(&Lease::default()), Record::default());
        assert_eq!(record(&lease), Record::default());
    }

    #[tokio::test(start_paused = true)]
    async fn lease_is_watched_so_that_a_connection_which_died_is_noticed() {
        let (sender, mut queries) = tokio::sync::mpsc::unbounded_channel();
        let clients = fake_api_server::clients(move |request| {
            sender.send(request.query.clone()).unwrap();
            let lists = request.query.contains("limit=");
            Some(if lists {
                fake_api_server::list(&[])
            } else {
                fake_api_server::failure(404, 0)
            })
        });
        let (election, _leadership) = election(&clients);
        let (_sender, can_verify) = watch::channel(true);
        tokio::spawn(election.run(can_verify, pending()));
        loop {
            let query = tokio::time::timeout(RETRY, queries.recv()).await.unwrap().unwrap();
            if query.contains("watch=true") {
                let of_it = query.contains("timeoutSeconds=3") && query.contains("metadata.name%3Dtka-server");
                assert!(of_it, "{query}");
                return;
            }
        }
    }
}
