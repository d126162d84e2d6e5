//! Checks every session against what the tailnet says now, and ends those that it does not give any more.
//!
//! A round runs soon after tailscaled tells of a change, and every 30 s, because it does not tell of every changed policy
//! ([`LocalApi::watch`]). What to do about a session is decided in [`tka_core::revocation`].

mod contact;
mod last_verified;
mod retry_backoff;
mod schedule;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use tka_core::{DeviceState, Revocation, Session, Verdict, revocation};
use tka_operator::error::with_causes;
use tka_operator::{Clock, Leadership, Sessions, WatchedSessions};
use tka_tailnet::{BackendState, Error, LocalApi, Notifications, Status, WhoIs};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

pub use contact::{Contact, NoContact};

use crate::identified::Identified;
use crate::metrics::Metrics;
use last_verified::LastVerified;
use retry_backoff::RetryBackoff;
use schedule::{PeriodicCheck, rounds};

/// How long a changed policy may go unnoticed. tailscaled does not tell of every change.
const PERIOD: Duration = Duration::from_secs(30);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many devices are asked for, and sessions ended, at a time.
const AT_ONCE: usize = 8;
/// WhoIs wants a port, and does not look at it where the address is a node's own.
const ANY_PORT: u16 = 1;

/// What is needed to check sessions.
pub struct Reauthorization {
    /// The tailscaled beside the server.
    pub tailnet: LocalApi,
    /// The capability whose values are rules.
    pub cap_name: String,
    /// By what sessions are checked; it may change.
    pub requirements: watch::Receiver<Requirements>,
    /// The sessions, to end them.
    pub sessions: Arc<Sessions>,
    /// The sessions, as the reconcile loop sees them.
    pub watched: WatchedSessions,
    /// Whether checking them is this replica's.
    pub leadership: Leadership,
    /// Tells the time.
    pub clock: Clock,
    /// Where to say whether tailscaled's answers count.
    pub contact: Contact,
    /// Where to say what it last said of this node.
    pub status: watch::Sender<Option<Status>>,
    /// Where revocations are counted.
    pub metrics: Metrics,
}

/// By what sessions are checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Requirements {
    /// Whether tagged nodes may have sessions.
    pub machines: bool,
    /// How long a session may go on that cannot be verified.
    pub max_unverified: Duration,
}

/// What is carried from round to round.
struct Checks {
    with: Reauthorization,
    /// Those of this round.
    requirements: Requirements,
    last_verified: LastVerified,
    retry_backoff: RetryBackoff,
    /// Where each device was last found. WhoIs says whether it still is there. All peers, an answer as large as the tailnet, need only be asked
    /// for when one is not.
    addresses: HashMap<String, IpAddr>,
}

/// What tailscaled says of a device.
enum Answer {
    DeviceState(Box<DeviceState>),
    Gone,
    Unknown(String),
}

type Answers = HashMap<String, Answer>;

// === impl Reauthorization ===

impl Reauthorization {
    /// Checks sessions for as long as it is polled. `synced` says when those that there were before are known.
    pub async fn run(self, mut synced: watch::Receiver<bool>) {
        let wake = Notify::new();
        let (tailnet, contact) = (self.tailnet.clone(), self.contact.clone());
        let acquisitions = self.leadership.acquisitions();
        let mut changes = self.requirements.clone();
        let requirements = *changes.borrow_and_update();
        let checks = Checks {
            requirements,
            last_verified: LastVerified::new(requirements.max_unverified),
            retry_backoff: RetryBackoff::default(),
            addresses: HashMap::new(),
            with: self,
        };
        let once_synced = async {
            if synced.wait_for(|synced| *synced).await.is_ok() {
                wake.notify_one();
            }
        };
        let when_gained = acquisitions.for_each(|()| {
            wake.notify_one();
            std::future::ready(())
        });
        let when_changed = async {
            while changes.changed().await.is_ok() {
                wake.notify_one();
            }
        };
        tokio::join!(
            watch_ipn_bus(&tailnet, &contact, &wake),
            rounds(&wake, checks),
            once_synced,
            when_gained,
            when_changed
        );
    }
}

/// Asks for a round when tailscaled tells of a change. What it told while the server did not listen is asked for then.
async fn watch_ipn_bus(tailnet: &LocalApi, contact: &Contact, wake: &Notify) {
    loop {
        let error = match tailnet.watch().await {
            Ok(notifications) => process_notifications(notifications, contact, wake).await,
            Err(error) => error,
        };
        contact.heard(Err(error.to_string()));
        // From here on the sessions are not verified, and `maxUnverified` runs.
        wake.notify_one();
        sleep(RETRY).await;
    }
}

/// Returns why the stream ended.
async fn process_notifications(mut notifications: Notifications, contact: &Contact, wake: &Notify) -> Error {
    loop {
        let notification = match notifications.next().await {
            Some(Ok(notification)) => notification,
            Some(Err(error)) => return error,
            None => {
                return Error::Interrupted {
                    endpoint: "watch-ipn-bus",
                    why: "the stream ended".into(),
                };
            }
        };
        let changed = notification.netmap_changed || notification.state.is_some();
        if let Some(state) = notification.state {
            contact.heard(match state {
                BackendState::Running => Ok(()),
                state => Err(Error::NotRunning { state, said: None }.to_string()),
            });
        }
        if changed {
            wake.notify_one();
        }
    }
}

// === impl Checks ===

impl PeriodicCheck for Checks {
    async fn round(&mut self) -> Instant {
        let started = Instant::now();
        self.requirements = *self.with.requirements.borrow();
        self.last_verified.limit = self.requirements.max_unverified;
        // Sessions are read before tailscaled is asked: its answer is then newer than the one that each was granted by.
        let sessions = self.active();
        let devices = sessions.iter().map(|session| device(session).to_owned()).collect();
        self.forget_gone(&sessions, &devices);
        self.last_verified.observe(&sessions, started);
        let answers = self.query_devices(devices).await;
        self.annotate_on_use(&sessions, &answers).await;
        let revoked = self.revocations(&sessions, &answers, started);
        // What does not hold is for the holder of the Lease to end.
        let ours = self.with.leadership.is_held();
        let ended = !ours || self.end_all(revoked).await;
        let all_well = ended && self.with.contact.check().is_ok();
        self.next(ours, started, all_well)
    }
}

impl Checks {
    /// What is to be checked.
    fn active(&self) -> Vec<Session> {
        self.with.watched.live((self.with.clock)())
    }

    /// Forgets what is known of all but `sessions`, and of all but their `devices`.
    fn forget_gone(&mut self, sessions: &[Session], devices: &BTreeSet<String>) {
        let names: HashSet<String> = sessions.iter().map(|session| session.name().to_string()).collect();
        let is_there = |name: &str| names.contains(name);
        self.last_verified.retain(is_there);
        self.retry_backoff.retain(is_there);
        self.addresses.retain(|device, _| devices.contains(device));
    }

    /// Writes onto sessions that their rule has `sign_in: on_use` by now, so that their end is one that use does not undo.
    async fn annotate_on_use(&self, sessions: &[Session], answers: &Answers) {
        if !self.with.leadership.is_held() {
            return;
        }
        for session in sessions {
            let Some(Answer::DeviceState(state)) = answers.get(device(session)) else {
                continue;
            };
            if session.on_use.is_none()
                && state.begins_on_use(&session.rule)
                && let Err(error) = self.with.sessions.annotate_on_use(session).await
            {
                let (session, error) = (session.name(), with_causes(&error));
                tracing::warn!(%session, error, "cannot annotate the session as begun by use; retrying");
            }
        }
    }

    /// What is revoked. A replica that has lost the tailnet cannot judge. It takes the word of one that has not and holds the Lease: that one ends
    /// what does not stand.
    fn revocations<'s>(
        &mut self,
        sessions: &'s [Session],
        answers: &Answers,
        started: Instant,
    ) -> Vec<(&'s Session, Revocation)> {
        if self.with.contact.check().is_err() && self.with.leadership.other_holder_can_verify() {
            for session in sessions {
                self.last_verified.verified(session, started);
            }
            return Vec::new();
        }
        let judged = sessions.iter();
        let judged = judged.map(|session| self.verify_session(session, answers, started).map(|why| (session, why)));
        judged.flatten().collect()
    }

    fn verify_session(&mut self, session: &Session, answers: &Answers, started: Instant) -> Option<Revocation> {
        let state = match answers.get(device(session)) {
            Some(Answer::DeviceState(state)) => Some(&**state),
            Some(Answer::Gone) => None,
            Some(Answer::Unknown(why)) => return self.last_verified.unverified(session, why, Instant::now()),
            None => {
                return self
                    .last_verified
                    .unverified(session, "it was not asked for", Instant::now());
            }
        };
        match revocation::verdict(session, state, self.requirements.machines, (self.with.clock)()) {
            Verdict::Valid => {
                self.last_verified.verified(session, started);
                None
            }
            Verdict::Unclear(error) => self
                .last_verified
                .unverified(session, &error.to_string(), Instant::now()),
            Verdict::Revoked(revocation) => Some(revocation),
        }
    }

    /// Ends those that are not put off. Says whether there is nothing more to do about them now.
    async fn end_all(&mut self, revoked: Vec<(&Session, Revocation)>) -> bool {
        let mut terminations = Vec::new();
        for (session, revocation) in revoked {
            if !self.retry_backoff.is_waiting(session, Instant::now()) {
                terminations.push(end(&self.with, session, revocation));
            }
        }
        let ended: Vec<_> = stream::iter(terminations).buffer_unordered(AT_ONCE).collect().await;
        let mut all = true;
        for (session, ended) in ended {
            match ended {
                // Where not, another ended it, or it was signed in to again by a later answer of the tailnet, which the next round checks.
                Ok(by_this) => all &= by_this,
                Err(error) => {
                    let wait = self.retry_backoff.failed(session, error.retry_after(), Instant::now());
                    let (session, error) = (session.name(), with_causes(&error));
                    tracing::error!(%session, ?wait, error, "revoked session not ended yet; retrying");
                }
            }
        }
        all
    }

    /// The next round begins when a session has gone unverified for too long, or when a retry is due, where that is `ours` to do. What ends a session may
    /// not have reached the store yet, which is no reason to spin.
    fn next(&self, ours: bool, started: Instant, all_well: bool) -> Instant {
        let soon = Instant::now() + RETRY;
        let regular = if all_well { started + PERIOD } else { soon };
        let retry_backoff = self.retry_backoff.next(started);
        let due = [self.last_verified.deadline(), retry_backoff].into_iter().flatten();
        due.filter(|_| ours).fold(regular, Instant::min).max(soon)
    }

    /// What tailscaled says of each of `devices`. Where it says nothing, or where its word is old, that is not known.
    async fn query_devices(&mut self, devices: BTreeSet<String>) -> Answers {
        let state = match self.with.tailnet.status().await {
            Ok(status) => {
                let state = current(&status);
                self.with.status.send_replace(Some(status));
                state
            }
            Err(error) => Err(error.to_string()),
        };
        self.with.contact.answered(state.clone());
        if let Err(why) = state {
            return unknown(devices, &why);
        }
        let mut answers = Answers::new();
        let known = self.addresses.clone();
        if let Err(error) = self.whois(known, &mut answers).await {
            return fill_missing(answers, devices, |_| Answer::Unknown(error.to_string()));
        }
        if answers.len() == devices.len() {
            return answers;
        }
        let status = match self.with.tailnet.status_with_peers().await {
            Ok(status) => status,
            Err(error) => return fill_missing(answers, devices, |_| Answer::Unknown(error.to_string())),
        };
        if let Err(why) = current(&status) {
            return fill_missing(answers, devices, |_| Answer::Unknown(why.clone()));
        }
        let nodes = nodes(&status);
        let lost: HashMap<String, IpAddr> = devices
            .iter()
            .filter(|device| !answers.contains_key(*device))
            .filter_map(|device| Some((device.clone(), *nodes.get(device.as_str())?.first()?)))
            .collect();
        self.addresses.extend(lost.clone());
        let failed = self.whois(lost, &mut answers).await.err();
        fill_missing(answers, devices, |device| match (&failed, nodes.get(device)) {
            (_, None) => Answer::Gone,
            (Some(error), Some(_)) => Answer::Unknown(error.to_string()),
            (None, Some(_)) => Answer::Unknown("tailscaled knows the device, and not by its address".into()),
        })
    }

    /// Asks who is at each of `addresses`, and adds an answer where that is the device that is looked for there. An error
    /// means that tailscaled answers nothing more.
    async fn whois(&self, addresses: HashMap<String, IpAddr>, answers: &mut Answers) -> Result<(), Error> {
        let mut found = stream::iter(addresses)
            .map(|(device, ip)| async move { (device, self.with.tailnet.whois(SocketAddr::new(ip, ANY_PORT)).await) })
            .buffer_unordered(AT_ONCE);
        while let Some((device, answer)) = found.next().await {
            match answer {
                Ok(whois) if whois.node.stable_id.as_str() == device => {
                    answers.insert(device, self.device_state(whois));
                }
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error @ (Error::Malformed { .. } | Error::TooLarge { .. })) => {
                    answers.insert(device, Answer::Unknown(error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn device_state(&self, whois: WhoIs) -> Answer {
        match Identified::new(whois, &self.with.cap_name, (self.with.clock)(), Instant::now()) {
            Ok(identified) => Answer::DeviceState(Box::new(DeviceState::new(
                identified.caller.identity,
                identified.expired,
                identified.values.iter().map(String::as_str),
            ))),
            Err(failure) => Answer::Unknown(failure.body.message),
        }
    }
}

/// Ends `session`, and says whether it ended by this.
async fn end<'s>(
    with: &Reauthorization,
    session: &'s Session,
    revocation: Revocation,
) -> (&'s Session, Result<bool, tka_operator::Error>) {
    let ended = with.sessions.revoke(session, &revocation).await;
    if matches!(ended, Ok(true)) {
        with.metrics.revoked(revocation.kind());
    }
    (session, ended)
}

fn device(session: &Session) -> &str {
    &session.caller.device.stable_id
}

/// Whether what tailscaled answers is the tailnet's present word: it is on the tailnet, and in touch with its control server.
fn current(status: &Status) -> Result<(), String> {
    let node = status.require_running().map_err(|error| error.to_string())?;
    if node.online {
        return Ok(());
    }
    Err("tailscaled is not connected to its control server".into())
}

/// All nodes of the tailnet with their addresses, this one among them.
fn nodes(status: &Status) -> HashMap<&str, &[IpAddr]> {
    let own = status.self_node.iter();
    let own = own.filter_map(|node| Some((node.id.as_ref()?.as_str(), &node.tailscale_ips[..])));
    let peers = status.peers.iter();
    let peers = peers.map(|peer| (peer.id.as_str(), &peer.tailscale_ips[..]));
    own.chain(peers).collect()
}

fn unknown(devices: BTreeSet<String>, why: &str) -> Answers {
    fill_missing(Answers::new(), devices, |_| Answer::Unknown(why.to_owned()))
}

fn fill_missing(mut answers: Answers, devices: BTreeSet<String>, answer: impl Fn(&str) -> Answer) -> Answers {
    for device in devices {
        if let Entry::Vacant(vacant) = answers.entry(device) {
            let answer = answer(vacant.key());
            vacant.insert(answer);
        }
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(state: &str, online: bool) -> Status {
        serde_json::from_value(json!({
            "TUN": false, "BackendState": state,
            "Self": {"ID": "own", "HostName": "tka", "DNSName": "tka.tailnet.test.", "Online": online, "TailscaleIPs": ["100.64.0.1"]},
            "Peer": {"nodekey:1": {"ID": "n1", "TailscaleIPs": ["100.64.0.2", "fd7a::2"]}, "nodekey:2": {"ID": "n2"}},
        }))
        .unwrap()
    }

    #[test]
    fn word_of_a_node_that_is_cut_off_is_old() {
        assert_eq!(current(&status("Running", true)), Ok(()));
        let cut_off = current(&status("Running", false)).unwrap_err();
        assert!(cut_off.contains("control server"));
        assert!(current(&status("Stopped", true)).unwrap_err().contains("Stopped"));
    }

    #[test]
    fn own_node_is_one_of_the_tailnet() {
        let status = status("Running", true);
        let nodes = nodes(&status);
        assert_eq!(nodes["own"], ["100.64.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(nodes["n1"].len(), 2);
        assert!(nodes["n2"].is_empty());
        assert!(!nodes.contains_key("n3"));
    }
}
