//! The reconcile loop: makes certain what a request began, and ends what is over.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::{WatchStreamExt, watcher};
use tka_api::resource::{ANNOTATION_APPROVAL, TkaSignin};
use tka_core::Session;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use tracing::Instrument;

use crate::end_reason::EndRecord;
use crate::error::with_causes;
use crate::metrics::Metrics;
use crate::objects::WATCHED;
use crate::per_session::PerSession;
use crate::session_ages::SessionAges;
use crate::session_cache::SessionCache;
use crate::step::{Step, handler_grace_left, rest, step};
use crate::waiting::WatchedWaiting;
use crate::watched::WatchedSessions;
use crate::watches::{Heartbeat, WatchFailure, WatchHealth};
use crate::{Clock, Error, Leadership, Sessions, objects, retry, watches};

/// How long one reconcile may take. Its requests have limits of their own; this one is for what was not thought of.
const RECONCILE: Duration = Duration::from_secs(30);
/// How often a session is looked at, even if nothing happens. Timers stand still while a machine is suspended, and do not follow
/// a clock that is set.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How many sessions are worked on at a time. Each has requests under way, which take memory here and turns at the API server.
const AT_ONCE: u16 = 512;
/// How often all that is known is looked through for what is gone.
const SWEEP_INTERVAL: Duration = Duration::from_mins(1);
/// How long an end is left to a request of this process before it is looked at again.
const TERMINATION_GRACE: Duration = Duration::from_secs(2);

struct Context {
    sessions: Arc<Sessions>,
    leadership: Leadership,
    clock: Clock,
    metrics: Metrics,
    store: Store<TkaSignin>,
    /// How the reconcile of each failed, by the object's UID.
    failures: Mutex<PerSession<Option<String>, Failure>>,
    /// How long each has lasted.
    ages: SessionAges,
}

/// How the reconcile of one failed.
#[derive(Clone, Debug)]
struct Failure {
    /// How often in a row.
    count: u32,
    /// It is not tried again before. What was written on the way makes the loop look again, and must not make it try.
    not_before: Instant,
    /// Whether it was to end. An end waits for nothing else that failed.
    was_due: bool,
}

/// The reconcile loop, and what it knows of the sessions.
pub struct SessionController {
    controller: Controller<TkaSignin>,
    store: Store<TkaSignin>,
    watched: WatchedSessions,
    watch_health: WatchHealth,
    /// What the watch has told of sessions that are gone.
    gone: mpsc::UnboundedReceiver<Gone>,
}

/// What the watch has told of sessions that are gone.
#[derive(Debug)]
enum Gone {
    /// One is, of that name.
    One(String),
    /// All are that are not in the store.
    AllButStored,
}

// === impl SessionController ===

impl fmt::Debug for SessionController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionController").finish_non_exhaustive()
    }
}

impl SessionController {
    /// A loop over the sessions of `sessions`, which hears of them as often as `heartbeat` says. It does nothing before it is run.
    #[must_use]
    pub fn new(sessions: &Sessions, heartbeat: Heartbeat) -> Self {
        let (store, writer) = reflector::store();
        // The store can be waited for by one only, and the controller is that one: the second would take its wake-up.
        let (sender, synced) = watch::channel(false);
        let (fail, failure) = watch::channel(None);
        let (change, changes) = watch::channel(());
        let (forget, gone) = mpsc::unbounded_channel();
        // Another loop over the same sessions would show the same.
        let _ = sessions.cache.set(SessionCache::new(store.clone(), changes.clone()));
        let (ask, asks) = watch::channel(());
        let waiting = WatchedWaiting::new(store.clone(), &sessions.namespace, asks);
        let _ = sessions.waiting.set(waiting);
        let watch_activity = sessions.watch_activity.clone();
        let watch_health = WatchHealth {
            synced,
            failure,
            watch_activity: watch_activity.subscribe(),
        };
        let ours = heartbeat.config().labels(WATCHED);
        let signins = watches::with_backoff(watcher(sessions.watched.clone(), ours))
            // Who wrote which field is half of an object, and asked for by none.
            .modify(|signin| signin.metadata.managed_fields = None)
            .reflect(writer)
            .inspect(move |event| {
                if may_wait(event) {
                    ask.send_replace(());
                }
                match event {
                    Ok(watcher::Event::InitDone) => {
                        sender.send_replace(true);
                        // Without a loop that runs, nothing is known that could be forgotten.
                        let _ = forget.send(Gone::AllButStored);
                        watch_activity.mark();
                    }
                    Ok(watcher::Event::Delete(signin)) => {
                        let _ = forget.send(Gone::One(signin.name_any()));
                        watch_activity.mark();
                    }
                    Ok(watcher::Event::Apply(_)) => watch_activity.mark(),
                    // Of a list, of which nothing is in the store before its end.
                    Ok(watcher::Event::Init | watcher::Event::InitApply(_)) => {}
                    Err(error) => {
                        tracing::warn!(error = with_causes(error), "watching the sessions failed");
                        fail.send_replace(Some(WatchFailure::new(error, tokio::time::Instant::now())));
                    }
                }
                change.send_replace(());
            })
            .touched_objects()
            // It would hold up all that makes the loop look, for as long again: gaining the Lease too.
            .filter(|touched| std::future::ready(touched.is_ok()));
        Self {
            controller: Controller::for_stream(signins, store.clone())
                .with_config(Config::default().concurrency(AT_ONCE)),
            watched: WatchedSessions::new(store.clone(), &sessions.namespace, changes),
            store,
            watch_health,
            gone,
        }
    }

    /// The sessions as the loop sees them.
    #[must_use]
    pub fn watched(&self) -> WatchedSessions {
        self.watched.clone()
    }

    /// Whether the loop has seen all sessions there were when it began.
    #[must_use]
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.watch_health.synced.clone()
    }

    /// Whether the loop knows the sessions as they are.
    #[must_use]
    pub fn watch_health(&self) -> WatchHealth {
        self.watch_health.clone()
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
        let context = Context::new(sessions, leadership, clock, metrics, self.store.clone());
        self.run_in(Arc::new(context), stop).await;
    }

    async fn run_in(self, context: Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
        let reconciles = self
            .controller
            .reconcile_all_on(context.leadership.acquisitions())
            .graceful_shutdown_on(stop)
            .run(reconcile, failed, Arc::clone(&context))
            .for_each(|result| async {
                if let Err(error) = result {
                    tracing::debug!(%error, "reconcile retried");
                }
            });
        let mut gone = self.gone;
        let forgets = async {
            let mut look_through = interval_at(tokio::time::Instant::now() + SWEEP_INTERVAL, SWEEP_INTERVAL);
            look_through.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    Some(gone) = gone.recv() => context.forget(gone),
                    _ = look_through.tick() => context.forget_gone(Instant::now()),
                }
            }
        };
        tokio::select! {
            () = reconciles => {}
            () = forgets => {}
        }
    }
}

/// Whether `event` may be about a sign-in that waits for approval. Sessions are many, and few of them wait to be extended.
fn may_wait(event: &watcher::Result<watcher::Event<TkaSignin>>) -> bool {
    match event {
        Ok(watcher::Event::Apply(signin) | watcher::Event::Delete(signin)) => {
            signin.annotations().contains_key(ANNOTATION_APPROVAL)
        }
        _ => true,
    }
}

async fn reconcile(signin: Arc<TkaSignin>, context: Arc<Context>) -> Result<Action, Error> {
    // Also by who only looks on, and may be the next to reconcile: the clock may have been set by then.
    if let Ok(session) = objects::session(&signin) {
        context.ages.observe(&session, Instant::now());
    }
    // All are looked at anew when it is gained.
    if !context.leadership.is_held() {
        return Ok(Action::await_change());
    }
    let started = Instant::now();
    if let Some(left) = context.backoff_left(&signin, started) {
        return Ok(Action::requeue(left));
    }
    let work = Box::pin(reconcile_one(&signin, &context)).instrument(tracing::info_span!("reconcile"));
    let result = timeout(RECONCILE, work).await;
    let result = result.unwrap_or_else(|_| Err(Error::TimedOut(RECONCILE)));
    context.metrics.reconcile.observe(started.elapsed().as_secs_f64());
    if result.is_err() {
        context.metrics.reconcile_errors.inc();
    }
    if result.is_ok() {
        context.failures().remove(&signin.name_any(), &signin.uid());
    }
    result
}

async fn reconcile_one(signin: &TkaSignin, context: &Context) -> Result<Action, Error> {
    // It holds no session. The server decides about it, by what the tailnet says.
    if objects::is_awaiting(signin) {
        return Ok(Action::await_change());
    }
    let name = signin.name_any();
    let session = match objects::session(signin) {
        Ok(session) => session,
        Err(error) => {
            if signin.metadata.deletion_timestamp.is_none() {
                tracing::warn!(session = name, %error, "removing invalid TkaSignin: it has this server's labels and is no session");
            }
            return resume_termination(signin, context).await;
        }
    };
    if objects::is_ending(signin, &session) {
        return resume_termination(signin, context).await;
    }
    let (now, rest) = ((context.clock)(), context.rest(signin, &session));
    match step(&session, objects::is_provisioned(signin, &session), now, rest) {
        Step::Wait(rest) => Ok(Action::requeue(rest.min(CHECK_INTERVAL))),
        Step::Complete => {
            // Its end waits for nothing.
            if let Ok(completed) = timeout(rest, context.sessions.complete(&session.name())).await {
                completed?;
            }
            Ok(Action::requeue(context.rest(signin, &session).min(CHECK_INTERVAL)))
        }
        Step::Expire => {
            let is_past_period = context.age(&session) >= session.period.duration();
            if !context.sessions.expire(&session, is_past_period).await? {
                // It was extended, or the clock was set meanwhile.
                return Ok(Action::requeue(CHECK_INTERVAL));
            }
            Ok(Action::await_change())
        }
    }
}

/// Takes down what ends, unless a request does so at this moment.
async fn resume_termination(signin: &TkaSignin, context: &Context) -> Result<Action, Error> {
    let session = objects::session(signin).ok();
    let intent = session.and_then(|session| EndRecord::of(signin, &session));
    if let Some(left) = intent.and_then(|intent| handler_grace_left(&intent, (context.clock)())) {
        return Ok(Action::requeue(left));
    }
    if context
        .sessions
        .ends_in_progress
        .holds(&signin.uid().unwrap_or_default())
    {
        return Ok(Action::requeue(TERMINATION_GRACE));
    }
    context.sessions.resume_termination(signin).await?;
    Ok(Action::await_change())
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn failed(signin: Arc<TkaSignin>, error: &Error, context: Arc<Context>) -> Action {
    let session = signin.name_any();
    let now = Instant::now();
    let (failures, wait) = context.failed(&signin, error.retry_after(), now);
    tracing::warn!(session, failures, ?wait, error = with_causes(error), "reconcile failed");
    Action::requeue(context.backoff_left(&signin, now).unwrap_or_default())
}

// === impl Context ===

impl Context {
    fn new(
        sessions: Arc<Sessions>,
        leadership: Leadership,
        clock: Clock,
        metrics: Metrics,
        store: Store<TkaSignin>,
    ) -> Self {
        Self {
            sessions,
            leadership,
            clock,
            metrics,
            store,
            failures: Mutex::default(),
            ages: SessionAges::default(),
        }
    }

    fn failures(&self) -> MutexGuard<'_, PerSession<Option<String>, Failure>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a session has lasted, as far as this process knows.
    fn age(&self, session: &Session) -> Duration {
        self.ages.age(session, Instant::now())
    }

    /// Forgets what is known of what is `gone`. Whether an end is recorded is remembered a little longer.
    fn forget(&self, gone: Gone) {
        let Gone::One(name) = gone else {
            return self.forget_gone(Instant::now());
        };
        // Another may have its name by now.
        let reference = ObjectRef::new(&name).within(&self.sessions.namespace);
        if self.store.get(&reference).is_none() {
            self.ages.forget(&name);
            self.failures().forget(&name);
            self.sessions.child_uids.forget(&name);
        }
    }

    /// Forgets at `now` what is known of the sessions that are gone: those that are watched no more.
    fn forget_gone(&self, now: Instant) {
        let there = self.store.state();
        let names: HashSet<String> = there.iter().map(|signin| signin.name_any()).collect();
        let uids: HashSet<String> = there.iter().filter_map(|signin| signin.uid()).collect();
        self.ages.retain(|name| names.contains(name));
        self.failures().retain(|name, _, _| names.contains(name));
        self.sessions.child_uids.retain(|name| names.contains(name));
        self.sessions.recorded.retain(now, |uid| uids.contains(uid));
    }

    /// How long the session goes on that `signin` holds.
    fn rest(&self, signin: &TkaSignin, session: &Session) -> Duration {
        let end = self.sessions.end_of(signin, session);
        rest(session, end, (self.clock)(), self.age(session))
    }

    /// How long until there is something of `signin` to take away.
    fn due(&self, signin: &TkaSignin) -> Duration {
        match objects::session(signin) {
            Ok(session) if !objects::is_ending(signin, &session) => self.rest(signin, &session),
            _ => Duration::ZERO,
        }
    }

    /// Counts a failure, and says how many in a row that makes, and how long to wait where the API server says `retry_after`.
    fn failed(&self, signin: &TkaSignin, retry_after: Option<Duration>, now: Instant) -> (u32, Duration) {
        let mut failures = self.failures();
        let (name, uid) = (signin.name_any(), signin.uid());
        let before = failures.get(&name, &uid);
        let count = before.map_or(0, |failure| failure.count).saturating_add(1);
        let was_due = self.due(signin).is_zero();
        let wait = retry::reconcile(count, retry_after, was_due);
        let not_before = now + wait;
        let failure = Failure {
            count,
            not_before,
            was_due,
        };
        failures.insert(&name, uid, failure);
        (count, wait)
    }

    /// How long the next try is to wait at `now`, because the last failed: not longer than until the session ends.
    fn backoff_left(&self, signin: &TkaSignin, now: Instant) -> Option<Duration> {
        let failures = self.failures();
        let failure = failures.get(&signin.name_any(), &signin.uid())?;
        let left = failure.not_before.checked_duration_since(now)?;
        let longest = if failure.was_due { left } else { self.due(signin) };
        Some(left.min(longest).min(CHECK_INTERVAL)).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clients, Election, examples, fake_api_server};
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use prometheus_client::registry::Registry;
    use serde_json::json;
    use std::future::pending;
    use tokio::time::sleep;

    fn session() -> Session {
        examples::session("5s", at("2026-01-01T00:00:00Z"))
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    /// What looks after `signin` and nothing else, and sends no request.
    fn context(signin: &TkaSignin) -> Arc<Context> {
        let clients = fake_api_server::clients(|_| None);
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Apply(signin.clone()));
        context_of(
            examples::sessions(clients.clone(), session().signed_in),
            &clients,
            store,
        )
    }

    fn context_of(sessions: Sessions, clients: &Clients, store: Store<TkaSignin>) -> Arc<Context> {
        let clock: Clock = Arc::new(|| at("2026-01-01T00:00:00Z"));
        let (_election, leadership) = Election::new(clients, "tka", "a".into(), Arc::clone(&clock));
        let metrics = Metrics::register(&mut Registry::default());
        Arc::new(Context::new(Arc::new(sessions), leadership, clock, metrics, store))
    }

    fn has_failed(context: &Context, signin: &TkaSignin) -> bool {
        context.failures().get(&signin.name_any(), &signin.uid()).is_some()
    }

    #[tokio::test]
    async fn failed_reconcile_honours_retry_after_whatever_happens() {
        let long = examples::session("1h", at("2026-01-01T00:00:00Z"));
        let signin = objects::signin(&long, None, "tka");
        let (context, now, seconds) = (context(&signin), Instant::now(), Duration::from_secs);
        assert_eq!(context.backoff_left(&signin, now), None);
        assert_eq!(context.failed(&signin, Some(seconds(6)), now), (1, seconds(6)));
        assert_eq!(context.backoff_left(&signin, now + seconds(2)), Some(seconds(4)));
        assert_eq!(context.backoff_left(&signin, now + seconds(6)), None);
        let mut follower = signin.clone();
        follower.metadata.uid = Some("another".into());
        assert_eq!(context.backoff_left(&follower, now + seconds(2)), None);
        assert_eq!(context.failed(&signin, None, now), (2, seconds(2)));
    }

    #[tokio::test]
    async fn end_waits_for_nothing_else_that_failed() {
        let signin = objects::signin(&session(), None, "tka");
        let (context, now, seconds) = (context(&signin), Instant::now(), Duration::from_secs);
        assert_eq!(context.failed(&signin, Some(seconds(30)), now), (1, seconds(30)));
        let left = context.backoff_left(&signin, now);
        assert!(left.is_some_and(|left| left <= seconds(5)));
        let mut terminating = signin.clone();
        terminating.metadata.deletion_timestamp = Some(Time(at("2026-01-01T00:00:01Z")));
        assert_eq!(context.backoff_left(&terminating, now), None);
        // What failed now is the end itself.
        assert_eq!(context.failed(&terminating, Some(seconds(30)), now), (2, seconds(6)));
        assert_eq!(context.backoff_left(&terminating, now + seconds(1)), Some(seconds(5)));
    }

    #[tokio::test]
    async fn what_is_put_off_is_looked_at_all_the_same() {
        let signin = objects::signin(&examples::session("1h", at("2026-01-01T00:00:00Z")), None, "tka");
        let (context, now) = (context(&signin), Instant::now());
        context.failed(&signin, Some(Duration::from_secs(30)), now);
        assert_eq!(context.backoff_left(&signin, now), Some(CHECK_INTERVAL));
    }

    #[tokio::test]
    async fn replica_without_the_lease_measures_session_ages() {
        let signin = objects::signin(&session(), None, "tka");
        let context = context(&signin);
        let action = reconcile(Arc::new(signin), Arc::clone(&context)).await.unwrap();
        assert_eq!(action, Action::await_change());
        let later = Instant::now() + Duration::from_secs(3);
        assert!(context.ages.age(&session(), later) >= Duration::from_secs(3));
    }

    #[tokio::test]
    async fn what_is_known_of_sessions_that_are_gone_is_forgotten() {
        let mut there = objects::signin(&session(), None, "tka");
        there.metadata.uid = Some("there".into());
        let mut gone = there.clone();
        gone.metadata.name = Some("gone".into());
        gone.metadata.uid = Some("gone".into());
        let (context, first) = (context(&there), session().signed_in);
        let (now, later) = (Instant::now(), Instant::now() + Duration::from_mins(2));
        for signin in [&gone, &there] {
            context.sessions.recorded.begun(signin, first, now);
            context.failed(signin, Some(Duration::from_mins(5)), later);
        }
        context.ages.observe(&session(), now);
        context.forget_gone(later);
        let has_begun = |signin| context.sessions.recorded.has_begun(signin, first);
        assert!(has_begun(&there) && !has_begun(&gone));
        assert!(has_failed(&context, &there) && !has_failed(&context, &gone));
        assert!(context.ages.age(&session(), later) >= Duration::from_mins(2));
    }

    #[tokio::test(start_paused = true)]
    async fn watch_tells_that_sessions_are_gone() {
        let [never, deleted, missed, there] = ["never", "deleted", "missed", "there"].map(|name| {
            let mut signin = objects::signin(&session(), None, "tka");
            signin.metadata.name = Some(name.into());
            signin.metadata.uid = Some(name.into());
            signin.metadata.resource_version = Some("1".into());
            signin
        });
        let listed = Arc::new(Mutex::new(vec![deleted.clone(), missed.clone(), there.clone()]));
        let told = Arc::new(Mutex::new(None));
        let (list, event) = (Arc::clone(&listed), Arc::clone(&told));
        let clients = fake_api_server::clients(move |request| {
            if request.query.contains("watch=true") {
                return event.lock().unwrap().take().map(|event| (200, event));
            }
            Some(fake_api_server::list(&list.lock().unwrap()))
        });
        let sessions = examples::sessions(clients.clone(), session().signed_in);
        let reconciles = SessionController::new(&sessions, Heartbeat::Calm);
        let context = context_of(sessions, &clients, reconciles.store.clone());
        for signin in [&never, &deleted, &missed, &there] {
            context.failed(signin, None, Instant::now());
        }
        tokio::spawn(reconciles.run_in(Arc::clone(&context), pending()));
        let until_forgotten = async |signin: &TkaSignin| {
            let waits = async {
                while has_failed(&context, signin) {
                    sleep(Duration::from_millis(100)).await;
                }
            };
            let is_forgotten = timeout(Duration::from_mins(10), waits).await.is_ok();
            assert!(is_forgotten, "{}", signin.name_any());
        };
        // The first list is looked through by then, so that what follows is the watch's word.
        until_forgotten(&never).await;
        assert!(has_failed(&context, &deleted));
        *told.lock().unwrap() = Some(json!({"type": "DELETED", "object": deleted}));
        until_forgotten(&deleted).await;
        assert!(has_failed(&context, &missed));
        *listed.lock().unwrap() = vec![there.clone()];
        *told.lock().unwrap() = Some(json!({"type": "ERROR", "object": fake_api_server::failure(410, 0).1}));
        until_forgotten(&missed).await;
        assert!(has_failed(&context, &there));
    }

    #[test]
    fn age_begins_when_first_seen_and_anew_when_extended() {
        let (ages, start, seconds) = (SessionAges::default(), Instant::now(), Duration::from_secs);
        let mut session = session();
        let age = |session: &Session, now| {
            ages.observe(session, now);
            ages.age(session, now)
        };
        assert_eq!(age(&session, start), Duration::ZERO);
        assert_eq!(age(&session, start + seconds(3)), seconds(3));
        session.signed_in = at("2026-01-01T00:00:03Z");
        assert_eq!(age(&session, start + seconds(3)), Duration::ZERO);
        assert_eq!(age(&session, start + seconds(4)), seconds(1));
        ages.retain(|_| false);
        assert_eq!(age(&session, start + seconds(9)), Duration::ZERO);
    }
}
