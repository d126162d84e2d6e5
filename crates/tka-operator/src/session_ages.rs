//! How long sessions have lasted, by a clock that cannot be set.
//!
//! A session ends at a time of day. Setting the clock back delays that by as much, also where the clock was wrong when the session began.
//! So no session lasts longer than its period from when this process first saw it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tka_core::Session;

use crate::per_session::PerSession;

/// When sessions were first seen, by their sign-in: another sign-in begins another period.
#[derive(Debug, Default)]
pub(crate) struct SessionAges(Mutex<PerSession<Timestamp, Instant>>);

// === impl SessionAges ===

impl SessionAges {
    /// `session` is seen at `now`.
    pub(crate) fn observe(&self, session: &Session, now: Instant) {
        self.all()
            .get_or_insert_with(session.name().as_str(), session.signed_in, || now);
    }

    /// How long `session` has lasted at `now` since it was first seen, or extended.
    pub(crate) fn age(&self, session: &Session, now: Instant) -> Duration {
        let all = self.all();
        let since = all.get(session.name().as_str(), &session.signed_in);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(*since))
    }

    /// Forgets the session of that name.
    pub(crate) fn forget(&self, name: &str) {
        self.all().forget(name);
    }

    /// Forgets all but those of which `is_there` holds, by name.
    pub(crate) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.all().retain(|name, _, _| is_there(name));
    }

    fn all(&self) -> MutexGuard<'_, PerSession<Timestamp, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
