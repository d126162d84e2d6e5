//! How long sessions have lasted, by a clock that cannot be set.
//!
//! A session ends at a time of day. When the time of day is set back, be it that it was wrong when the session began, that is later than it
//! should be, by as much as it was set back. No session lasts longer than its period from when this process first saw it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tka_core::{Session, SessionName};

/// When sessions were first seen.
#[derive(Debug, Default)]
pub(crate) struct SessionAges(Mutex<HashMap<SessionName, Seen>>);

#[derive(Debug)]
struct Seen {
    /// The sign-in: another begins another period.
    signed_in: Timestamp,
    since: Instant,
}

// === impl SessionAges ===

impl SessionAges {
    /// How long `session` has lasted since it was first seen, or extended; it is seen at `now`.
    pub(crate) fn so_far(&self, session: &Session, now: Instant) -> Duration {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (name, signed_in) = (session.name(), session.signed_in);
        let seen = all.entry(name).or_insert(Seen { signed_in, since: now });
        if seen.signed_in != signed_in {
            *seen = Seen { signed_in, since: now };
        }
        now.saturating_duration_since(seen.since)
    }

    /// Forgets all but those of which `is_there` holds.
    pub(crate) fn retain(&self, is_there: impl Fn(&SessionName) -> bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|name, _| is_there(name));
    }
}
