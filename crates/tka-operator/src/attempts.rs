//! Identical sign-ins at the same moment are one attempt. By value, without a cluster.
//!
//! Two sign-ins are identical if they ask for the same session in the same way: nothing but the moment tells them apart. The first one leads the
//! attempt. Those that arrive meanwhile wait for its outcome, and share it.
//!
//! A sign-in asks for a session that stands after the request arrived, and that ends no earlier than one period after it. So who may join is a
//! matter of how far the attempt is:
//!
//! - Until the `TkaSignin` is written, all may. The time that is written is that of the latest.
//! - From then on, those that would write no later time. Times are whole seconds, so that these would write just what is there.
//! - Once the status is being written, none may. That this write succeeds shows that the session stands, whichever replica may be terminating it, and
//!   shows it only to those that asked before. Who asks later leads the next attempt.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tka_core::{Session, SessionName};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::approval::ApprovalRequest;
use crate::lock::LOCK;
use crate::{Credential, Error, StoredSession};

/// How long signing in may take. Its requests have limits of their own; this one is for all of them together.
pub(crate) const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an outcome is waited for. An attempt has limits of its own, which are over before.
const OUTCOME_TIMEOUT: Duration = LOCK
    .saturating_add(SIGN_IN_TIMEOUT)
    .saturating_add(Duration::from_secs(5));

/// A sign-in that was decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignIn {
    /// The session that it gives.
    pub session: Session,
    /// How many sessions its user may have through the same rule.
    pub max_sessions: Option<NonZeroU32>,
    /// Whether it asks for a credential.
    pub credential: bool,
    /// The approved request that it carries out, as it was checked; none where no approval is needed.
    pub approved: Option<Box<ApprovalRequest>>,
    /// Whether its rule is for emergencies. The request that leads alarms others, so none that does not may lead one that would.
    pub break_glass: bool,
}

/// What an attempt came to.
pub type Outcome = Result<Arc<SignedIn>, Arc<Error>>;

/// What signing in came to.
#[derive(Debug)]
pub struct SignedIn {
    /// The session.
    pub stored: StoredSession,
    /// Whether it was usable before, and goes on for longer.
    pub extended: bool,
    /// Its credential, if it was asked for and the session is provisioned.
    pub credential: Option<Credential>,
}

/// What a sign-in does.
#[derive(Debug)]
pub enum AttemptRole {
    /// It leads an attempt.
    Leader(Box<Attempt>),
    /// It waits for one.
    Follower(Follower),
}

/// An attempt, as the sign-in has it that leads it. Dropped without an outcome, it is abandoned.
#[derive(Debug)]
pub struct Attempt {
    id: u64,
    sign_in: SignIn,
    open: Arc<Open>,
    outcome: watch::Sender<Option<Outcome>>,
}

/// An attempt, as a sign-in has it that waits for its outcome.
#[derive(Debug)]
pub struct Follower(watch::Receiver<Option<Outcome>>);

/// The attempts that may be joined.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    last_id: AtomicU64,
    open: Arc<Open>,
}

#[derive(Debug, Default)]
struct Open(Mutex<HashMap<SessionName, Vec<Joinable>>>);

/// An attempt that may be joined.
#[derive(Debug)]
struct Joinable {
    id: u64,
    /// What it asks for together with those that joined.
    sign_in: SignIn,
    is_written: bool,
    outcome: watch::Receiver<Option<Outcome>>,
}

// === impl SignIn ===

impl SignIn {
    /// Whether it asks for the same as `other`, be it at another moment.
    #[must_use]
    pub fn is_identical(&self, other: &Self) -> bool {
        let then = Self {
            session: Session {
                signed_in: other.session.signed_in,
                ..self.session.clone()
            },
            credential: other.credential,
            approved: self.approved.clone(),
            ..*self
        };
        then == *other
    }

    /// Asks also for what `other` asks for, which is identical.
    fn add(&mut self, other: &Self) {
        self.session.signed_in = self.session.signed_in.max(other.session.signed_in);
        self.credential |= other.credential;
    }
}

// === impl SignedIn ===

impl SignedIn {
    pub(crate) fn new(session: &Session, provisioned: bool, extended: bool, credential: Option<Credential>) -> Self {
        let session = session.clone();
        let stored = StoredSession { session, provisioned };
        Self {
            stored,
            extended,
            credential,
        }
    }
}

// === impl Attempts ===

impl Attempts {
    /// Joins an attempt at the same, or begins one.
    pub(crate) fn join(&self, sign_in: &SignIn) -> AttemptRole {
        let name = sign_in.session.name();
        let mut open = self.open.all();
        let attempts = open.entry(name).or_default();
        if let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.admits(sign_in)) {
            attempt.sign_in.add(sign_in);
            return AttemptRole::Follower(Follower(attempt.outcome.clone()));
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let (tell, outcome) = watch::channel(None);
        attempts.push(Joinable {
            id,
            sign_in: sign_in.clone(),
            is_written: false,
            outcome,
        });
        AttemptRole::Leader(Box::new(Attempt {
            id,
            sign_in: sign_in.clone(),
            open: Arc::clone(&self.open),
            outcome: tell,
        }))
    }
}

impl Joinable {
    fn admits(&self, sign_in: &SignIn) -> bool {
        let gives_enough = !self.is_written || sign_in.session.signed_in <= self.sign_in.session.signed_in;
        gives_enough && self.sign_in.is_identical(sign_in)
    }
}

impl Open {
    fn all(&self) -> MutexGuard<'_, HashMap<SessionName, Vec<Joinable>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Attempt ===

impl Attempt {
    /// The name of the session that it is about.
    #[must_use]
    pub fn name(&self) -> SessionName {
        self.sign_in.session.name()
    }

    /// What it was begun for.
    pub(crate) fn sign_in(&self) -> &SignIn {
        &self.sign_in
    }

    /// Takes over what was decided anew for the sign-in that leads it. Says whether that is the same: what is decided otherwise is another attempt.
    #[must_use]
    pub fn replace_sign_in(&mut self, sign_in: &SignIn) -> bool {
        if !self.sign_in.is_identical(sign_in) {
            return false;
        }
        self.sign_in = sign_in.clone();
        self.with(|attempt| attempt.sign_in.add(sign_in));
        true
    }

    /// The session to write now, for all that have joined.
    pub(crate) fn freeze_session(&self) -> Session {
        let session = self.with(|attempt| {
            attempt.is_written = true;
            attempt.sign_in.session.clone()
        });
        session.unwrap_or_else(|| self.sign_in.session.clone())
    }

    /// Lets none join any more. Says whether one of those that did asks for a credential.
    pub(crate) fn close(&self) -> bool {
        let mut open = self.open.all();
        let Entry::Occupied(mut attempts) = open.entry(self.name()) else {
            return self.sign_in.credential;
        };
        let closed = attempts
            .get_mut()
            .extract_if(.., |attempt| attempt.id == self.id)
            .next();
        if attempts.get().is_empty() {
            attempts.remove();
        }
        closed.map_or(self.sign_in.credential, |attempt| attempt.sign_in.credential)
    }

    /// Tells all that have joined what came of it.
    pub(crate) fn finish(self, outcome: &Outcome) {
        self.close();
        self.outcome.send_replace(Some(outcome.clone()));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Joinable) -> T) -> Option<T> {
        let mut open = self.open.all();
        let attempts = open.get_mut(&self.name())?;
        attempts.iter_mut().find(|attempt| attempt.id == self.id).map(change)
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.close();
    }
}

// === impl Follower ===

impl Follower {
    /// What came of the attempt. None if it was abandoned: the sign-in that led it was decided otherwise, or cut off.
    pub async fn outcome(mut self) -> Option<Outcome> {
        let told = timeout(OUTCOME_TIMEOUT, self.0.wait_for(Option::is_some)).await;
        match told {
            Ok(outcome) => outcome.ok()?.clone(),
            Err(_) => Some(Err(Arc::new(Error::TimedOut(OUTCOME_TIMEOUT)))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;
    use futures::FutureExt;
    use jiff::Timestamp;

    fn at(second: i64) -> SignIn {
        SignIn {
            session: examples::session("1h", Timestamp::from_second(second).unwrap()),
            max_sessions: None,
            credential: false,
            approved: None,
            break_glass: false,
        }
    }

    fn leads(attempts: &Attempts, sign_in: &SignIn) -> Attempt {
        match attempts.join(sign_in) {
            AttemptRole::Leader(attempt) => *attempt,
            AttemptRole::Follower(_) => panic!("it waits"),
        }
    }

    fn waits(attempts: &Attempts, sign_in: &SignIn) -> Follower {
        match attempts.join(sign_in) {
            AttemptRole::Leader(_) => panic!("it leads"),
            AttemptRole::Follower(waiter) => waiter,
        }
    }

    fn done(session: &Session) -> Arc<SignedIn> {
        Arc::new(SignedIn::new(session, true, false, None))
    }

    #[test]
    fn emergency_makes_a_difference_and_moment_and_credential_none() {
        let asking = SignIn {
            credential: true,
            ..at(2)
        };
        assert!(at(1).is_identical(&asking));
        let emergency = SignIn {
            break_glass: true,
            ..at(1)
        };
        assert!(!at(1).is_identical(&emergency) && !emergency.is_identical(&at(1)));
    }

    #[tokio::test]
    async fn outcome_is_shared_and_counts_from_the_latest() {
        let attempts = Attempts::default();
        let attempt = leads(&attempts, &at(1));
        let asking = SignIn {
            credential: true,
            ..at(2)
        };
        let waiters = [waits(&attempts, &asking), waits(&attempts, &at(1))];
        let session = attempt.freeze_session();
        assert_eq!(session, at(2).session);
        assert!(attempt.close(), "one of them asks for a credential");
        attempt.finish(&Ok(done(&session)));
        for waiter in waiters {
            let outcome = waiter.outcome().await.unwrap().unwrap();
            assert_eq!(outcome.stored.session, at(2).session);
        }
        assert!(attempts.open.all().is_empty());
    }

    #[test]
    fn what_is_written_is_joined_by_those_it_gives_enough() {
        let attempts = Attempts::default();
        let attempt = leads(&attempts, &at(5));
        attempt.freeze_session();
        let _same = waits(&attempts, &at(5));
        let _earlier = waits(&attempts, &at(4));
        let later = leads(&attempts, &at(6));
        let _its = waits(&attempts, &at(7));
        assert_eq!(attempt.freeze_session(), at(5).session);
        assert_eq!(later.freeze_session(), at(7).session);
    }

    #[test]
    fn none_joins_what_is_closed() {
        let attempts = Attempts::default();
        let attempt = leads(&attempts, &at(5));
        assert!(!attempt.close());
        let _next = leads(&attempts, &at(5));
    }

    #[test]
    fn other_requests_are_other_attempts() {
        let attempts = Attempts::default();
        let _attempt = leads(&attempts, &at(5));
        let mut others = [at(5), at(5), at(5)];
        others[0].session.period = "30m".parse().unwrap();
        others[1].session.reason = Some("pager".to_owned().try_into().unwrap());
        others[2].max_sessions = NonZeroU32::new(1);
        let led: Vec<_> = others.iter().map(|other| leads(&attempts, other)).collect();
        assert_eq!(led.len(), 3);
    }

    #[tokio::test]
    async fn abandoned_attempt_is_told_and_led_anew() {
        let attempts = Attempts::default();
        let attempt = leads(&attempts, &at(5));
        let waiters = [waits(&attempts, &at(5)), waits(&attempts, &at(5))];
        drop(attempt);
        for waiter in waiters {
            assert!(waiter.outcome().await.is_none());
        }
        let _one = leads(&attempts, &at(5));
        let _the_others = waits(&attempts, &at(5));
    }

    #[test]
    fn leader_decided_otherwise_leaves_the_attempt() {
        let attempts = Attempts::default();
        let mut attempt = leads(&attempts, &at(5));
        assert!(attempt.replace_sign_in(&at(8)));
        let mut other = at(8);
        other.session.period = "30m".parse().unwrap();
        assert!(!attempt.replace_sign_in(&other));
        assert_eq!(attempt.freeze_session(), at(8).session);
    }

    #[tokio::test(start_paused = true)]
    async fn attempt_that_hangs_is_not_waited_for_without_end() {
        let attempts = Attempts::default();
        let _attempt = leads(&attempts, &at(5));
        let waiter = waits(&attempts, &at(5));
        let outcome = waiter.outcome().await.unwrap();
        assert!(matches!(outcome.as_deref(), Err(error) if matches!(**error, Error::TimedOut(OUTCOME_TIMEOUT))));
        let waiter = waits(&attempts, &at(5));
        assert!(waiter.outcome().now_or_never().is_none());
    }
}
