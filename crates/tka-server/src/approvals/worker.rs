//! What is done about sign-ins that wait, without a request that asks for it. What a killed server left approved is given, and what was not answered
//! in time is ended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::{SignedDuration, Timestamp};
use tka_operator::{Leadership, RequestState, WaitingSignIn};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::App;

/// How long a decision is left to the request that made it, at another replica perhaps.
const HANDLER_GRACE: SignedDuration = SignedDuration::from_secs(2);
/// How often all are looked at, even if nothing changes.
const CHECK_INTERVAL: Duration = Duration::from_secs(10);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How many are seen to at a time.
const AT_ONCE: usize = 8;
/// For how long it is remembered that a sign-in waited.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(15);
/// How many are remembered: who makes more wait is told less.
const AT_MOST: usize = 4096;

/// The sessions for which sign-ins waited a moment ago, so that who decides too late is told so. It is a courtesy: a replica that was started since knows
/// none.
#[derive(Debug, Default)]
pub struct RecentRequests(Mutex<HashMap<String, (Timestamp, WaitingSignIn)>>);

/// Looks after the sign-ins that wait.
pub(crate) struct Worker {
    /// What handling a request needs, as it is now.
    pub(crate) app: watch::Receiver<Option<Arc<App>>>,
    /// Whether it is this replica's to do.
    pub(crate) leadership: Leadership,
}

// === impl RecentRequests ===

impl RecentRequests {
    pub(crate) fn remember(&self, waiting: &WaitingSignIn, now: Timestamp) {
        let mut all = self.all();
        all.retain(|_, (since, _)| now.duration_since(*since) < REMEMBERED);
        if all.len() < AT_MOST {
            all.insert(waiting.name.to_string(), (now, waiting.clone()));
        }
    }

    /// What waited for the session of that `name`.
    pub(crate) fn get(&self, name: &str, now: Timestamp) -> Option<WaitingSignIn> {
        let all = self.all();
        let (since, waiting) = all.get(name)?;
        (now.duration_since(*since) < REMEMBERED).then(|| waiting.clone())
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, (Timestamp, WaitingSignIn)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Worker ===

impl Worker {
    /// Works for as long as it is polled.
    pub(crate) async fn run(self) {
        let first = self.app.borrow().clone();
        let Some(mut watched) = first.and_then(|app| app.sessions.waiting()) else {
            return std::future::pending().await;
        };
        loop {
            let Some(app) = self.app.borrow().clone() else {
                return std::future::pending().await;
            };
            // One that takes its time holds up no other of the same round.
            let all = stream::iter(watched.all()).map(|waiting| {
                let (worker, app) = (&self, &app);
                async move { worker.look_at(app, &waiting).await }
            });
            let next = all
                .buffer_unordered(AT_ONCE)
                .fold(CHECK_INTERVAL, async |next, wait| next.min(wait))
                .await;
            tokio::select! {
                () = watched.changed() => {}
                () = sleep(next) => {}
            }
        }
    }

    /// Does what is to be done about `waiting`, and says when to look again.
    async fn look_at(&self, app: &App, waiting: &WaitingSignIn) -> Duration {
        let now = (app.clock)();
        let (request, is_ours) = (&waiting.request, self.leadership.is_held());
        let done = match request.state(now) {
            RequestState::Granted => return CHECK_INTERVAL,
            RequestState::Waiting => return request.time_left(now).min(CHECK_INTERVAL),
            RequestState::Denied if !request.time_left(now).is_zero() => {
                return request.time_left(now).min(CHECK_INTERVAL);
            }
            RequestState::Approved => {
                let age = request
                    .approved_at()
                    .map(|at| now.duration_since(at))
                    .unwrap_or_default();
                if age < HANDLER_GRACE {
                    return Duration::try_from(HANDLER_GRACE - age).unwrap_or(RETRY);
                }
                if !is_ours {
                    return CHECK_INTERVAL;
                }
                match super::carry_out(app, waiting.clone()).await {
                    // What is refused now is refused in a minute, too.
                    Err(refused) if refused.status.is_client_error() => {
                        super::end(app, waiting, &refused.body.message).await
                    }
                    carried_out => carried_out.map(drop),
                }
            }
            RequestState::Expired => {
                app.recent_requests.remember(waiting, now);
                if !is_ours {
                    return CHECK_INTERVAL;
                }
                super::end(app, waiting, "it was not answered in time").await
            }
            RequestState::Denied if !is_ours => return CHECK_INTERVAL,
            // Its record was written when it was denied.
            RequestState::Denied => {
                let stopped = app.sessions.cancel_request(waiting).await;
                stopped.map(drop).map_err(Into::into)
            }
        };
        match done {
            Ok(()) => CHECK_INTERVAL,
            Err(failure) => {
                let (session, status, message) = (&waiting.name, failure.status, failure.body.message);
                tracing::warn!(%session, %status, message, "pending approval not processed; retrying");
                RETRY
            }
        }
    }
}
