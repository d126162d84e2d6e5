//! What is done about sign-ins that wait without a request that asks for it: giving what a killed server left approved, and ending what was not answered in
//! time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tka_operator::error::with_causes;
use tka_operator::{Leadership, RequestState, WaitingSignIn};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::App;

/// How long a decision is left to the request that made it, at another replica perhaps.
const HANDLED: SignedDuration = SignedDuration::from_secs(2);
/// How often all are looked at, be it that nothing changes.
const LOOK: Duration = Duration::from_secs(10);
/// How soon what failed is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// For how long it is remembered that a sign-in waited.
const REMEMBERED: SignedDuration = SignedDuration::from_mins(15);
/// How many are remembered: who makes more wait is told less.
const AT_MOST: usize = 4096;

/// The sessions for which sign-ins waited a moment ago, so that who decides too late is told so. It is a courtesy: a replica that was started since knows
/// none.
#[derive(Debug, Default)]
pub struct RecentlyOver(Mutex<HashMap<String, Timestamp>>);

/// Looks after the sign-ins that wait.
pub(crate) struct Worker {
    /// What handling a request needs, as it is now.
    pub(crate) app: watch::Receiver<Option<Arc<App>>>,
    /// Whether it is this replica's to do.
    pub(crate) leadership: Leadership,
}

// === impl RecentlyOver ===

impl RecentlyOver {
    pub(crate) fn remember(&self, name: &str, now: Timestamp) {
        let mut all = self.all();
        all.retain(|_, since| now.duration_since(*since) < REMEMBERED);
        if all.len() < AT_MOST {
            all.insert(name.to_owned(), now);
        }
    }

    pub(crate) fn holds(&self, name: &str, now: Timestamp) -> bool {
        let all = self.all();
        all.get(name)
            .is_some_and(|since| now.duration_since(*since) < REMEMBERED)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
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
            let mut next = LOOK;
            for waiting in watched.all() {
                next = next.min(self.look_at(&app, &waiting).await);
            }
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
            RequestState::Granted => return LOOK,
            RequestState::Waiting => return request.rest(now).min(LOOK),
            RequestState::Denied if !request.rest(now).is_zero() => return request.rest(now).min(LOOK),
            RequestState::Approved => {
                let age = request
                    .approved_at()
                    .map(|at| now.duration_since(at))
                    .unwrap_or_default();
                if age < HANDLED {
                    return Duration::try_from(HANDLED - age).unwrap_or(RETRY);
                }
                if !is_ours {
                    return LOOK;
                }
                super::carry_out(app, waiting.clone()).await.map(drop)
            }
            state @ (RequestState::Denied | RequestState::Expired) => {
                if state == RequestState::Expired {
                    app.over.remember(waiting.name.as_str(), now);
                }
                if !is_ours {
                    return LOOK;
                }
                self.end(app, waiting, state).await
            }
        };
        match done {
            Ok(()) => LOOK,
            Err(failure) => {
                let (session, status, message) = (&waiting.name, failure.status, failure.body.message);
                tracing::warn!(%session, %status, message, "the sign-in that waits for approval was not seen to; retrying");
                RETRY
            }
        }
    }

    async fn end(&self, app: &App, waiting: &WaitingSignIn, state: RequestState) -> Result<(), crate::answer::Failure> {
        if state == RequestState::Expired {
            return super::end(app, waiting, "it was not answered in time").await;
        }
        // Its record was written when it was denied.
        let stopped = app.sessions.stop_waiting(waiting).await;
        if let Err(error) = &stopped {
            tracing::debug!(session = %waiting.name, error = with_causes(error), "denied sign-in not removed");
        }
        Ok(stopped.map(drop)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_over_long_ago_is_forgotten() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let over = RecentlyOver::default();
        over.remember("a", at(100));
        assert!(over.holds("a", at(101)) && !over.holds("b", at(101)));
        assert!(!over.holds("a", at(100 + 900)));
        for n in 0..2 * AT_MOST {
            over.remember(&format!("n{n}"), at(200));
        }
        assert_eq!(over.all().len(), AT_MOST);
        over.remember("late", at(2000));
        assert_eq!(over.all().len(), 1);
    }
}
