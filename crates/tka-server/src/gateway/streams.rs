//! The sessions whose requests are carried: their tokens, and whether their bytes may move.
//!
//! A session's bytes move while it stands and the watch of sessions is heard. A watch that is silent for [`HOLD_AFTER`] may have missed an end, so everything
//! waits. After [`CUT_AFTER`] everything is cut. Both are decided by [`flow`], by value.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tka_api::Token;
use tka_gateway::{Cut, CutKind, Flow, Gate, LastUse};
use tka_operator::error::with_causes;
use tka_operator::{Clock, Credential, Error, LiveSession, PerSession, Sessions, WatchActivity, WatchedSessions};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::metrics::GatewayMetrics;
use crate::timer::at;

/// For how long the watch of sessions may be silent before bytes wait.
const HOLD_AFTER: Duration = Duration::from_secs(2);
/// For how long before streams are cut.
const CUT_AFTER: Duration = Duration::from_secs(6);
/// How long streams that are no watches may go on at a server that stops.
const DRAIN: Duration = Duration::from_secs(5);
/// How long before its end a token is renewed.
const RENEW_BEFORE: Duration = Duration::from_mins(2);

/// Told to the client when its session ended.
const ENDED: &str = "your TKA session ended; sign in again with `tka login`";
/// Told to the client when an elevation ended.
const ELEVATION_ENDED: &str = "your elevation ended; ask again to go on with your ordinary role";
/// Told to the client when the watch is silent.
const SILENT: &str = "TKA lost touch with the API server, so it is not known whether your session stands; try again";

/// Told to the client when this replica stops.
const STOPPED: &str = "this replica of TKA stops; connect again";

/// All sessions whose requests are carried. Clones are the same.
#[derive(Clone)]
pub struct GatewaySessions {
    entries: Arc<Mutex<PerSession<String, Arc<GatewaySession>>>>,
    /// Notified when there is another entry.
    more: Arc<Notify>,
    watched: WatchedSessions,
    watch_activity: watch::Receiver<Instant>,
    clock: Clock,
    /// How many requests of one session may be carried at a time.
    limit: usize,
    /// As many as may be carried in all.
    all: Arc<Semaphore>,
    /// From when on the server stops.
    stop: CancellationToken,
    /// From when on nothing is carried any more.
    stopped: CancellationToken,
    metrics: GatewayMetrics,
}

/// One session whose requests are carried.
pub struct GatewaySession {
    state: Mutex<KnownSession>,
    flow: watch::Sender<Flow>,
    token: tokio::sync::Mutex<Option<Credential>>,
    places: Arc<Semaphore>,
    last_use: LastUse,
    /// One permit: at most one write of the last use at a time.
    writing: Arc<Semaphore>,
}

/// What is known of a session.
struct KnownSession {
    live: LiveSession,
    /// When it ends by a clock that cannot be set.
    deadline: Instant,
}

// === impl GatewaySessions ===

impl std::fmt::Debug for GatewaySessions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewaySessions").finish_non_exhaustive()
    }
}

impl GatewaySessions {
    /// Tracks the sessions in `watched`, for as long as `watch_activity` says that the watch is alive. At most `limit` requests of each are carried at a time, and
    /// `all` in all, until `stop`.
    #[must_use]
    pub fn new(
        watched: WatchedSessions,
        watch_activity: &WatchActivity,
        clock: Clock,
        limit: usize,
        all: usize,
        stop: CancellationToken,
        metrics: GatewayMetrics,
    ) -> Self {
        Self {
            entries: Arc::default(),
            more: Arc::default(),
            watched,
            watch_activity: watch_activity.subscribe(),
            clock,
            limit,
            all: Arc::new(Semaphore::new(all.min(Semaphore::MAX_PERMITS))),
            stop,
            stopped: CancellationToken::new(),
            metrics,
        }
    }

    /// The session of that incarnation, whose requests are carried from now on.
    #[must_use]
    pub fn get_or_replace(&self, live: &LiveSession) -> Arc<GatewaySession> {
        let name = live.session.name();
        let mut entries = self.entries();
        if entries.get(name.as_str(), &live.uid).is_none() {
            // Cut the streams of the previous session of this name, even if the watch has not reported its end yet.
            entries.retain(|other, _, entry| {
                let is_replaced = other == name.as_str();
                if is_replaced {
                    self.cut(entry, &Cut::new(CutKind::Ended, ENDED));
                }
                !is_replaced
            });
        }
        let entry = entries.get_or_insert_with(name.as_str(), live.uid.clone(), || {
            let (now, flow) = (Instant::now(), self.current_flow());
            self.more.notify_one();
            Arc::new(GatewaySession::new(live.clone(), flow, self.limit, now, (self.clock)()))
        });
        Arc::clone(entry)
    }

    /// A place for one request of `entry`; none where as many are carried as may be, of it or in all.
    #[must_use]
    pub fn place(&self, entry: &GatewaySession) -> Option<[OwnedSemaphorePermit; 2]> {
        Some([entry.place()?, Arc::clone(&self.all).try_acquire_owned().ok()?])
    }

    /// The sessions as they are watched.
    #[must_use]
    pub fn watched(&self) -> &WatchedSessions {
        &self.watched
    }

    /// Cuts all that is carried for `entry`.
    fn cut(&self, entry: &GatewaySession, cut: &Cut) {
        let under_way = self.limit.saturating_sub(entry.places.available_permits());
        self.metrics.cut(cut.kind(), under_way);
        let is_elevation_over = cut.kind() == CutKind::Ended && entry.known().live.session.is_elevation();
        let cut = if is_elevation_over {
            Cut::new(CutKind::Ended, ELEVATION_ENDED)
        } else {
            cut.clone()
        };
        entry.flow.send_replace(Flow::Cut(cut));
    }

    fn current_flow(&self) -> Flow {
        if self.stopped.is_cancelled() {
            return Flow::Cut(Cut::new(CutKind::Stop, STOPPED));
        }
        flow(self.watch_activity.borrow().elapsed(), true, self.stop.is_cancelled())
    }

    fn entries(&self) -> MutexGuard<'_, PerSession<String, Arc<GatewaySession>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens, holds and cuts streams of `sessions` until the server stops, and writes down that they are used. Then watches come to their end at once,
    /// and all else is cut after a while.
    pub async fn run(mut self, sessions: Arc<Sessions>) {
        let mut changes = self.watched.changes();
        let mut end = None;
        loop {
            let now = Instant::now();
            // Before a session is cut and forgotten that was used a moment ago.
            self.persist_last_uses(&sessions, now);
            let next = self.refresh_flows(now);
            if end.is_some() && self.is_idle() {
                break;
            }
            tokio::select! {
                () = self.stop.cancelled(), if end.is_none() => end = Some(Instant::now() + DRAIN),
                () = at(end) => break,
                told = changes.changed() => if told.is_err() { break },
                word = self.watch_activity.changed() => if word.is_err() { break },
                () = self.more.notified() => {}
                () = at(next) => {}
            }
        }
        let cut = Cut::new(CutKind::Stop, STOPPED);
        let mut entries = self.entries();
        self.stopped.cancel();
        for entry in entries.values() {
            self.cut(entry, &cut);
        }
        entries.retain(|_, _, _| false);
    }

    /// Writes down the last use of each session of which that is due. The watch of sessions is heard once a second, and so is this called as often.
    fn persist_last_uses(&self, sessions: &Arc<Sessions>, now: Instant) {
        let time = (self.clock)();
        for entry in self.entries().values() {
            let Some((live, used)) = entry.last_use_due(now, time) else {
                continue;
            };
            let Ok(writing) = Arc::clone(&entry.writing).try_acquire_owned() else {
                continue;
            };
            let sessions = Arc::clone(sessions);
            tokio::spawn(async move {
                let _writing = writing;
                if let Err(error) = sessions.write_last_use(&live, used).await {
                    let session = live.session.name();
                    tracing::warn!(%session, error = with_causes(&error), "last use not written");
                }
            });
        }
    }

    /// Whether no request is being carried.
    fn is_idle(&self) -> bool {
        self.entries().values().all(|entry| entry.flow.receiver_count() == 0)
    }

    /// Decides anew for every session, and says when to do so again if nothing is heard until then. What was cut is forgotten: a request that
    /// comes later begins with what is known then.
    fn refresh_flows(&self, now: Instant) -> Option<Instant> {
        let watch_activity = *self.watch_activity.borrow();
        let silence = now.saturating_duration_since(watch_activity);
        let time = (self.clock)();
        let mut next: Option<Instant> = None;
        self.entries().retain(|_, _, entry| {
            let deadline = entry.refresh(&self.watched, now, time);
            let flow = flow(silence, deadline.is_some(), self.stop.is_cancelled());
            if let Flow::Cut(cut) = &flow {
                self.cut(entry, cut);
                return false;
            }
            entry.flow.send_if_modified(|there| {
                let is_new = *there != flow;
                *there = flow;
                is_new
            });
            let due = [watch_activity + HOLD_AFTER, watch_activity + CUT_AFTER]
                .into_iter()
                .chain(deadline)
                .filter(|due| *due > now);
            next = next.into_iter().chain(due).min();
            true
        });
        next
    }
}

/// Whether a session's bytes may move. `stands`: the session is live; `silence`: time since the last heartbeat; `stops`: the server is stopping.
fn flow(silence: Duration, stands: bool, stops: bool) -> Flow {
    if !stands {
        return Flow::Cut(Cut::new(CutKind::Ended, ENDED));
    }
    if silence >= CUT_AFTER {
        return Flow::Cut(Cut::new(CutKind::Unknown, SILENT));
    }
    if silence >= HOLD_AFTER {
        return Flow::Held;
    }
    if stops {
        return Flow::Draining;
    }
    Flow::Open
}

// === impl GatewaySession ===

impl std::fmt::Debug for GatewaySession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GatewaySession").finish_non_exhaustive()
    }
}

impl GatewaySession {
    fn new(live: LiveSession, flow: Flow, limit: usize, now: Instant, time: Timestamp) -> Self {
        let deadline = deadline_of(&live, now, time);
        Self {
            state: Mutex::new(KnownSession { live, deadline }),
            flow: watch::Sender::new(flow),
            token: tokio::sync::Mutex::default(),
            places: Arc::new(Semaphore::new(limit)),
            last_use: LastUse::new(now),
            writing: Arc::new(Semaphore::new(1)),
        }
    }

    /// What each stream of the session asks before it moves a byte.
    #[must_use]
    pub fn gate(&self) -> Gate {
        Gate::new(self.flow.subscribe())
    }

    /// When it was last used.
    #[must_use]
    pub fn last_use(&self) -> &LastUse {
        &self.last_use
    }

    /// The session and its last use, if that is to be written down.
    fn last_use_due(&self, now: Instant, time: Timestamp) -> Option<(LiveSession, Timestamp)> {
        let known = self.known();
        let idle = known.live.session.idle?;
        let used = time - SignedDuration::try_from(self.last_use.unused_for(now)).ok()?;
        is_last_use_write_due(known.live.last_use, used, time, idle.duration()).then(|| (known.live.clone(), used))
    }

    /// A place among the requests of its own.
    fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// A token of its account. Requests that wait for it share one, and another is asked for before its end.
    pub async fn token(&self, sessions: &Sessions, now: Timestamp) -> Result<Token, Error> {
        let mut kept = self.token.lock().await;
        let live = self.known().live.clone();
        if let Some(credential) = kept
            .as_ref()
            .filter(|credential| !needs_renewal(credential.expires, live.until, now))
        {
            return Ok(credential.token.clone());
        }
        match sessions.credential_of(&live).await {
            Ok(credential) => Ok(kept.insert(credential).token.clone()),
            // What there is serves while it lasts.
            Err(error) if error.is_transient() => {
                let left = kept.as_ref().filter(|credential| credential.expires > now);
                left.map(|credential| credential.token.clone()).ok_or(error)
            }
            Err(error) => Err(error),
        }
    }

    /// Takes what the watch says of it by now. Returns when it ends, by a clock that cannot be set; none where it has ended.
    fn refresh(&self, watched: &WatchedSessions, now: Instant, time: Timestamp) -> Option<Instant> {
        let mut known = self.known();
        if !watched.is_unchanged(&known.live) {
            let live = watched.named(&known.live.session.name(), time)?;
            if live.uid != known.live.uid {
                return None;
            }
            // `until` moves at a sign-in, and at a use where the rule has `idle`.
            if live.until != known.live.until {
                known.deadline = deadline_of(&live, now, time);
            }
            known.live = live;
        }
        (known.live.until > time && known.deadline > now).then_some(known.deadline)
    }

    fn known(&self) -> MutexGuard<'_, KnownSession> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the last use of a session, at `used`, is to be written down at `now`. Its use at `written` is there already, and the session ends after
/// `idle` without use. That is done four times in `idle`. So none which is used ends, and none of these writes has to be repeated in haste.
fn is_last_use_write_due(written: Timestamp, used: Timestamp, now: Timestamp, idle: Duration) -> bool {
    let age = Duration::try_from(now.duration_since(written)).unwrap_or_default();
    // Annotations are in whole seconds.
    let is_later = used.as_second() > written.as_second();
    is_later && age >= idle / 4
}

fn deadline_of(live: &LiveSession, now: Instant, time: Timestamp) -> Instant {
    now + Duration::try_from(live.until.duration_since(time)).unwrap_or_default()
}

/// Whether a token that `expires` then is to be renewed at `now`. Not if it lasts as long as its session, which goes on `until` then.
fn needs_renewal(expires: Timestamp, until: Timestamp, now: Timestamp) -> bool {
    let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    left < RENEW_BEFORE && (left.is_zero() || expires < until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn use_is_written_down_four_times_in_what_may_pass_without() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let due = |written, used, now| is_last_use_write_due(at(written), at(used), at(now), Duration::from_secs(40));
        assert!(!due(100, 105, 105), "a moment ago");
        assert!(due(100, 105, 110));
        assert!(due(100, 139, 139));
        assert!(!due(100, 100, 139), "not used since");
        assert!(!due(100, 90, 139), "another replica saw a later use");
        assert!(!due(200, 105, 110), "by a clock that is ahead");
    }

    #[test]
    fn token_is_renewed_unless_its_session_ends_with_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let before = i64::try_from(RENEW_BEFORE.as_secs()).unwrap();
        let is_due = |expires, until, now| needs_renewal(at(expires), at(until), at(now));
        assert!(!is_due(3600, 9000, 3600 - before));
        assert!(is_due(3600, 9000, 3601 - before));
        assert!(!is_due(3600, 3600, 3601 - before), "nothing would last longer");
        assert!(is_due(3600, 3600, 3600), "it is worth nothing any more");
        assert!(is_due(3600, 9000, 5000), "a clock that was set");
    }

    #[test]
    fn silence_holds_and_then_cuts() {
        let seconds = |seconds| Duration::from_secs(seconds);
        assert_eq!(flow(seconds(1), true, false), Flow::Open);
        assert_eq!(flow(seconds(2), true, false), Flow::Held);
        assert_eq!(flow(seconds(5), true, false), Flow::Held);
        assert_eq!(
            flow(seconds(6), true, false),
            Flow::Cut(Cut::new(CutKind::Unknown, SILENT))
        );
        assert_eq!(
            flow(seconds(0), false, false),
            Flow::Cut(Cut::new(CutKind::Ended, ENDED))
        );
        assert_eq!(flow(seconds(1), true, true), Flow::Draining);
        assert_eq!(flow(seconds(2), true, true), Flow::Held);
        assert_eq!(
            flow(seconds(0), false, true),
            Flow::Cut(Cut::new(CutKind::Ended, ENDED))
        );
    }
}
