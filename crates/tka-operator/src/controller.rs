//! The reconcile loop: makes certain what a request began, and ends what is over.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use tka_api::resource::TkaSignin;
use tka_core::Session;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::end::Intent;
use crate::error::with_causes;
use crate::lasted::Lasted;
use crate::metrics::Metrics;
use crate::objects::SELECTOR;
use crate::{Clock, Error, Leadership, Sessions, objects, retry, watches};

/// How long one reconcile may take. Its requests have limits of their own; this one is for what nobody thought of.
const RECONCILE: Duration = Duration::from_secs(30);
/// How long a sign-in or a sign-out is left to whoever handles it, another replica perhaps, before it counts as cut off. The time of a sign-in is
/// in whole seconds.
const HANDLED: Duration = Duration::from_secs(2);
/// How often a session is looked at, be it that nothing happens. Timers stand still while a machine is suspended, and do not follow
/// a clock that is set.
const LOOK: Duration = Duration::from_secs(10);

/// What the loop does next for one session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    /// Account and binding are not known to exist.
    Complete,
    /// It is over.
    Expire,
    /// Nothing, until then.
    Wait(Duration),
}

struct Context {
    sessions: Arc<Sessions>,
    leadership: Leadership,
    clock: Clock,
    metrics: Metrics,
    store: Store<TkaSignin>,
    /// How the reconcile of each failed.
    failures: Mutex<HashMap<String, Failure>>,
    /// How long each has lasted.
    lasted: Lasted,
}

/// How the reconcile of one failed.
#[derive(Clone, Debug)]
struct Failure {
    /// Which it is: another may follow under its name.
    uid: Option<String>,
    /// How often in a row.
    count: u32,
    /// It is not tried again before. What was written on the way makes the loop look again, and must not make it try.
    not_before: Instant,
}

/// The reconcile loop, and what it knows of the sessions.
pub struct Loop {
    controller: Controller<TkaSignin>,
    store: Store<TkaSignin>,
    synced: watch::Receiver<bool>,
}

// === impl Loop ===

impl fmt::Debug for Loop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loop").finish_non_exhaustive()
    }
}

impl Loop {
    /// A loop over the sessions of `sessions`. It does nothing before it is run.
    #[must_use]
    pub fn new(sessions: &Sessions) -> Self {
        let (store, writer) = reflector::store();
        // The store can be waited for by one only, and the controller is that one: the second would take its wake-up.
        let (sender, synced) = watch::channel(false);
        let ours = watches::config().labels(SELECTOR);
        let signins = watches::patient(watcher(sessions.watched.clone(), ours))
            .reflect(writer)
            .inspect(move |event| match event {
                Ok(watcher::Event::InitDone) => drop(sender.send_replace(true)),
                Ok(_) => {}
                Err(error) => tracing::warn!(error = with_causes(error), "watching the sessions failed"),
            })
            .touched_objects()
            // It would hold up all that makes the loop look, for as long again: gaining the Lease too.
            .filter(|touched| std::future::ready(touched.is_ok()));
        Self {
            controller: Controller::for_stream(signins, store.clone()),
            store,
            synced,
        }
    }

    /// The sessions as the loop sees them.
    #[must_use]
    pub fn store(&self) -> Store<TkaSignin> {
        self.store.clone()
    }

    /// Whether the loop has seen all sessions there were when it began.
    #[must_use]
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.synced.clone()
    }

    /// Runs until `stop`, then lets what it is doing come to its end. While `leadership` is another's it only looks on.
    pub async fn run(
        self,
        sessions: Arc<Sessions>,
        leadership: Leadership,
        clock: Clock,
        metrics: Metrics,
        stop: impl Future<Output = ()> + Send + Sync + 'static,
    ) {
        let gains = leadership.gains();
        let context = Arc::new(Context {
            sessions,
            leadership,
            clock,
            metrics,
            store: self.store,
            failures: Mutex::default(),
            lasted: Lasted::default(),
        });
        self.controller
            .reconcile_all_on(gains)
            .graceful_shutdown_on(stop)
            .run(reconcile, failed, context)
            .for_each(|result| async {
                if let Err(error) = result {
                    tracing::debug!(%error, "reconciling will be tried again");
                }
            })
            .await;
    }
}

async fn reconcile(signin: Arc<TkaSignin>, context: Arc<Context>) -> Result<Action, Error> {
    // Also by who only looks on, and may be the next to reconcile: the clock may have been set by then.
    if let Ok(session) = objects::session(&signin) {
        context.lasted(&signin, &session);
    }
    // All are looked at anew when it is gained.
    if !context.leadership.is_held() {
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    if let Some(left) = context.puts_off(&signin, started) {
        return Ok(Action::requeue(left));
    }
    let result = timeout(RECONCILE, reconcile_one(&signin, &context)).await;
    let result = result.unwrap_or_else(|_| Err(Error::TimedOut(RECONCILE)));
    context.metrics.reconcile.observe(started.elapsed().as_secs_f64());
    if result.is_ok() {
        context.failures().remove(&signin.name_any());
    }
    result
}

async fn reconcile_one(signin: &TkaSignin, context: &Context) -> Result<Action, Error> {
    let name = signin.name_any();
    if signin.metadata.deletion_timestamp.is_some() {
        return take_down(signin, context).await;
    }
    let session = match objects::session(signin) {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(session = name, %error, "removed: carries this server's labels and is no session");
            return take_down(signin, context).await;
        }
    };
    if Intent::of(signin, &session).is_some() {
        return take_down(signin, context).await;
    }
    let now = (context.clock)();
    let rest = rest(&session, now, context.lasted(signin, &session));
    match step(&session, objects::is_provisioned(signin, &session), now, rest) {
        Step::Wait(rest) => Ok(Action::requeue(rest.min(LOOK))),
        Step::Complete => {
            context.sessions.complete(&session.name()).await?;
            Ok(Action::requeue(rest.min(LOOK)))
        }
        Step::Expire => {
            if !context.sessions.expire(&session, session.until() > now).await? {
                // It was extended, or the clock was set meanwhile.
                return Ok(Action::requeue(LOOK));
            }
            Ok(Action::await_change())
        }
    }
}

/// Takes down what ends, unless a request does so at this moment.
async fn take_down(signin: &TkaSignin, context: &Context) -> Result<Action, Error> {
    let session = objects::session(signin).ok();
    let intent = session.and_then(|session| Intent::of(signin, &session));
    if let Some(left) = intent.and_then(|intent| handled(&intent, (context.clock)())) {
        return Ok(Action::requeue(left));
    }
    context.sessions.take_down(signin).await?;
    Ok(Action::await_change())
}

/// How long an end is left at `now` to the request that asked for it. One in the future was decided by another clock.
fn handled(intent: &Intent, now: Timestamp) -> Option<Duration> {
    let age = Duration::try_from(now.duration_since(intent.at)).ok()?;
    let left = HANDLED.checked_sub(age).filter(|left| !left.is_zero());
    left.filter(|_| intent.end.is_asked_for())
}

/// What to do at `now` for a session of which there is `rest`.
fn step(session: &Session, provisioned: bool, now: Timestamp, rest: Duration) -> Step {
    if rest.is_zero() {
        return Step::Expire;
    }
    if provisioned {
        return Step::Wait(rest);
    }
    // A sign-in in the future is one by another clock.
    let age = now.duration_since(session.signed_in);
    match HANDLED.checked_sub(Duration::try_from(age).unwrap_or_default()) {
        Some(left) if !left.is_zero() => Step::Wait(left.min(rest)),
        _ => Step::Complete,
    }
}

/// How long a session goes on at `now` that has `lasted` so long.
fn rest(session: &Session, now: Timestamp, lasted: Duration) -> Duration {
    let until = Duration::try_from(session.until().duration_since(now)).unwrap_or_default();
    until.min(session.period.duration().saturating_sub(lasted))
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn failed(signin: Arc<TkaSignin>, error: &Error, context: Arc<Context>) -> Action {
    let session = signin.name_any();
    let (failures, wait) = context.failed(&signin, error.asked(), Instant::now());
    tracing::warn!(session, failures, ?wait, error = with_causes(error), "reconcile failed");
    Action::requeue(wait)
}

// === impl Context ===

impl Context {
    fn failures(&self) -> MutexGuard<'_, HashMap<String, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a session has lasted, as far as this process knows.
    fn lasted(&self, signin: &TkaSignin, session: &Session) -> Duration {
        let lasted = self.lasted.so_far(session, Instant::now());
        if lasted.is_zero() {
            // One more: what is gone need not be remembered.
            self.lasted.retain(|name| self.is_there(signin, name.as_str()));
        }
        lasted
    }

    /// Whether there is a session of that name beside `signin`.
    fn is_there(&self, signin: &TkaSignin, name: &str) -> bool {
        let mut reference = ObjectRef::from_obj(signin);
        name.clone_into(&mut reference.name);
        self.store.get(&reference).is_some()
    }

    /// Counts a failure, and says how many in a row that makes, and how long to wait where the API server `asked` for a time.
    fn failed(&self, signin: &TkaSignin, asked: Option<Duration>, now: Instant) -> (u32, Duration) {
        let mut failures = self.failures();
        // What went by another hand is never reconciled again.
        failures.retain(|name, _| self.is_there(signin, name));
        let (name, uid) = (signin.name_any(), signin.uid());
        let before = failures.get(&name).filter(|failure| failure.uid == uid);
        let count = before.map_or(0, |failure| failure.count).saturating_add(1);
        let wait = retry::reconcile(count, asked);
        let not_before = now + wait;
        failures.insert(name, Failure { uid, count, not_before });
        (count, wait)
    }

    /// How long the next try is to wait at `now`, because the last failed.
    fn puts_off(&self, signin: &TkaSignin, now: Instant) -> Option<Duration> {
        let failures = self.failures();
        let failure = failures.get(&signin.name_any())?;
        let not_before = (failure.uid == signin.uid()).then_some(failure.not_before)?;
        not_before.checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;
    use crate::{Clients, Election, End};
    use kube::Config;
    use prometheus_client::registry::Registry;

    fn session() -> Session {
        examples::session("5s", "2026-01-01T00:00:00Z".parse().unwrap())
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn look(provisioned: bool, time: &str, lasted: Duration) -> Step {
        let (session, now) = (session(), at(time));
        step(&session, provisioned, now, rest(&session, now, lasted))
    }

    #[test]
    fn unprovisioned_is_completed_when_nobody_handles_it_any_more() {
        let step = |time| look(false, time, Duration::ZERO);
        assert_eq!(step("2026-01-01T00:00:00.5Z"), Step::Wait(Duration::from_millis(1500)));
        assert_eq!(step("2026-01-01T00:00:02Z"), Step::Complete);
        assert_eq!(step("2025-12-31T23:59:00Z"), Step::Wait(HANDLED));
    }

    #[test]
    fn end_that_a_request_asked_for_is_left_to_it_for_a_moment() {
        let left = |end: End, now: &str| handled(&Intent::new(&session(), end, at("2026-01-01T00:00:01Z")), at(now));
        assert_eq!(
            left(End::SignedOut, "2026-01-01T00:00:01.5Z"),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(left(End::SignedOut, "2026-01-01T00:00:03Z"), None);
        assert_eq!(left(End::SignedOut, "2026-01-01T00:00:00Z"), None);
        assert_eq!(left(End::Revoked("gone".into()), "2026-01-01T00:00:01Z"), None);
    }

    #[test]
    fn provisioned_waits_for_its_end_to_the_nanosecond() {
        let rest = Duration::new(3, 999_999_999);
        assert_eq!(
            look(true, "2026-01-01T00:00:01.000000001Z", Duration::from_secs(1)),
            Step::Wait(rest)
        );
    }

    #[test]
    fn over_is_expired_whether_provisioned_or_not() {
        for provisioned in [true, false] {
            for time in ["2026-01-01T00:00:05Z", "2026-01-02T00:00:00Z"] {
                assert_eq!(look(provisioned, time, Duration::from_secs(5)), Step::Expire);
                assert_eq!(look(provisioned, time, Duration::ZERO), Step::Expire);
            }
        }
    }

    #[test]
    fn session_lasts_no_longer_than_its_period_wherever_the_clock_is_set_to() {
        for time in ["2025-12-31T23:00:00Z", "2026-01-01T00:00:01Z"] {
            let seconds = Duration::from_secs;
            assert_eq!(look(true, time, seconds(3)), Step::Wait(seconds(2)));
            assert_eq!(look(true, time, seconds(5)), Step::Expire);
            assert_eq!(look(false, time, seconds(5)), Step::Expire);
        }
    }

    /// What looks after `signin` and nothing else.
    fn context(signin: &TkaSignin) -> Arc<Context> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        // Nobody is there, and nobody is asked.
        let clients = Clients::new(Config::new("http://127.0.0.1:1".parse().unwrap())).unwrap();
        let clock: Clock = Arc::new(|| at("2026-01-01T00:00:00Z"));
        let (_election, leadership) = Election::new(&clients, "tka", "a".into(), Arc::clone(&clock));
        let sessions = Arc::new(examples::sessions(clients, clock()));
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Apply(signin.clone()));
        Arc::new(Context {
            store,
            sessions,
            leadership,
            clock,
            metrics: Metrics::register(&mut Registry::default()),
            failures: Mutex::default(),
            lasted: Lasted::default(),
        })
    }

    #[tokio::test]
    async fn what_failed_is_put_off_as_long_as_the_api_server_asks_whatever_happens_meanwhile() {
        let signin = objects::signin(&session(), None, "tka");
        let (context, now, seconds) = (context(&signin), Instant::now(), Duration::from_secs);
        assert_eq!(context.puts_off(&signin, now), None);
        assert_eq!(context.failed(&signin, Some(seconds(6)), now), (1, seconds(6)));
        assert_eq!(context.puts_off(&signin, now + seconds(2)), Some(seconds(4)));
        assert_eq!(context.puts_off(&signin, now + seconds(6)), None);
        let mut follower = signin.clone();
        follower.metadata.uid = Some("another".into());
        assert_eq!(context.puts_off(&follower, now + seconds(2)), None);
        assert_eq!(context.failed(&signin, None, now), (2, seconds(2)));
    }

    #[tokio::test]
    async fn who_only_looks_on_knows_how_long_a_session_has_lasted() {
        let signin = objects::signin(&session(), None, "tka");
        let context = context(&signin);
        let action = reconcile(Arc::new(signin), Arc::clone(&context)).await.unwrap();
        assert_eq!(action, Action::await_change());
        let later = Instant::now() + Duration::from_secs(3);
        assert!(context.lasted.so_far(&session(), later) >= Duration::from_secs(3));
    }

    #[test]
    fn period_begins_when_a_session_is_first_seen_and_anew_when_it_is_extended() {
        let (lasted, start, seconds) = (Lasted::default(), Instant::now(), Duration::from_secs);
        let mut session = session();
        assert_eq!(lasted.so_far(&session, start), Duration::ZERO);
        assert_eq!(lasted.so_far(&session, start + seconds(3)), seconds(3));
        session.signed_in = at("2026-01-01T00:00:03Z");
        assert_eq!(lasted.so_far(&session, start + seconds(3)), Duration::ZERO);
        assert_eq!(lasted.so_far(&session, start + seconds(4)), seconds(1));
        lasted.retain(|_| false);
        assert_eq!(lasted.so_far(&session, start + seconds(9)), Duration::ZERO);
    }
}
