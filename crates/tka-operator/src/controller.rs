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

use crate::error::with_causes;
use crate::metrics::Metrics;
use crate::objects::SELECTOR;
use crate::{Clock, End, Error, Leadership, Sessions, objects, retry};

/// How long one reconcile may take. Its requests have limits of their own; this one is for what nobody thought of.
const RECONCILE: Duration = Duration::from_secs(30);
/// How often the API server ends a watch. One whose connection died without a word is noticed this late.
const WATCH_SECONDS: u32 = 20;
/// How long a sign-in is left to whoever handles it, another replica perhaps, before it counts as cut off. Its time is in whole
/// seconds.
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

/// Hears of every session that ends without its owner asking. Must not block.
pub type OnEnd = Arc<dyn Fn(&Session, &End) + Send + Sync>;

struct Context {
    sessions: Arc<Sessions>,
    leadership: Leadership,
    clock: Clock,
    metrics: Metrics,
    on_end: OnEnd,
    store: Store<TkaSignin>,
    /// How often the reconcile of each failed in a row.
    failures: Mutex<HashMap<String, u32>>,
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
        let ours = watcher::Config::default().labels(SELECTOR).timeout(WATCH_SECONDS);
        let signins = watcher(sessions.watched.clone(), ours)
            .backoff(retry::watches())
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
        on_end: OnEnd,
        stop: impl Future<Output = ()> + Send + Sync + 'static,
    ) {
        let gains = leadership.gains();
        let context = Arc::new(Context {
            sessions,
            leadership,
            clock,
            metrics,
            on_end,
            store: self.store,
            failures: Mutex::default(),
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
    // All are looked at anew when it is gained.
    if !context.leadership.is_held() {
        return Ok(Action::await_change());
    }
    let started = Instant::now();
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
        if let (Some(how), Ok(session)) = (context.sessions.take_down(signin).await?, objects::session(signin)) {
            (context.on_end)(&session, &how);
        }
        return Ok(Action::await_change());
    }
    let session = match objects::session(signin) {
        Ok(session) => session,
        Err(error) => {
            tracing::warn!(session = name, %error, "removed: carries this server's labels and is no session");
            context.sessions.take_down(signin).await?;
            return Ok(Action::await_change());
        }
    };
    let now = (context.clock)();
    match step(&session, objects::is_provisioned(signin, &session), now) {
        Step::Wait(rest) => Ok(Action::requeue(rest.min(LOOK))),
        Step::Complete => {
            context.sessions.complete(&session.name()).await?;
            Ok(Action::requeue(rest(&session, now).min(LOOK)))
        }
        Step::Expire => {
            if context.sessions.expire(&session.name()).await? {
                (context.on_end)(&session, &End::Expired);
            }
            Ok(Action::await_change())
        }
    }
}

/// What to do for a session at `now`.
fn step(session: &Session, provisioned: bool, now: Timestamp) -> Step {
    if session.until() <= now {
        return Step::Expire;
    }
    if provisioned {
        return Step::Wait(rest(session, now));
    }
    // A sign-in in the future is one by another clock.
    let age = now.duration_since(session.signed_in);
    match HANDLED.checked_sub(Duration::try_from(age).unwrap_or_default()) {
        Some(left) if !left.is_zero() => Step::Wait(left.min(rest(session, now))),
        _ => Step::Complete,
    }
}

fn rest(session: &Session, now: Timestamp) -> Duration {
    Duration::try_from(session.until().duration_since(now)).unwrap_or_default()
}

#[expect(clippy::needless_pass_by_value, reason = "the signature is kube's")]
fn failed(signin: Arc<TkaSignin>, error: &Error, context: Arc<Context>) -> Action {
    let session = signin.name_any();
    let failures = context.failed(&signin);
    let wait = retry::reconcile(failures, error.asked());
    tracing::warn!(session, failures, ?wait, error = with_causes(error), "reconcile failed");
    Action::requeue(wait)
}

// === impl Context ===

impl Context {
    fn failures(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a failure, and says how many in a row that makes.
    fn failed(&self, signin: &TkaSignin) -> u32 {
        let mut failures = self.failures();
        // What went by another hand is never reconciled again.
        let is_there = |name: &String| {
            let mut reference = ObjectRef::from_obj(signin);
            reference.name.clone_from(name);
            self.store.get(&reference).is_some()
        };
        failures.retain(|name, _| is_there(name));
        let count = failures.entry(signin.name_any()).or_default();
        *count = count.saturating_add(1);
        *count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_core::{Caller, Device, Identity, Limits, Request, Rule, UserId};

    fn session() -> Session {
        let caller = Caller {
            identity: Identity::User {
                id: UserId(1),
                login_name: "a@b".into(),
            },
            device: Device {
                stable_id: "n".into(),
                name: "d".into(),
            },
        };
        let rule = Rule::parse(r#"{"role": "view", "period": "5s"}"#).unwrap();
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Session::new(caller, &rule, &Request::default(), Limits::none(), now).unwrap()
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    #[test]
    fn unprovisioned_is_completed_when_nobody_handles_it_any_more() {
        let step = |time| step(&session(), false, at(time));
        assert_eq!(step("2026-01-01T00:00:00.5Z"), Step::Wait(Duration::from_millis(1500)));
        assert_eq!(step("2026-01-01T00:00:02Z"), Step::Complete);
        assert_eq!(step("2025-12-31T23:59:00Z"), Step::Wait(HANDLED));
    }

    #[test]
    fn provisioned_waits_for_its_end_to_the_nanosecond() {
        let rest = Duration::new(3, 999_999_999);
        assert_eq!(
            step(&session(), true, at("2026-01-01T00:00:01.000000001Z")),
            Step::Wait(rest)
        );
    }

    #[test]
    fn over_is_expired_whether_provisioned_or_not() {
        for provisioned in [true, false] {
            assert_eq!(step(&session(), provisioned, at("2026-01-01T00:00:05Z")), Step::Expire);
            assert_eq!(step(&session(), provisioned, at("2026-01-02T00:00:00Z")), Step::Expire);
        }
    }
}
