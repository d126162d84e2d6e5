//! When each session was last known to stand.

use std::time::Duration;

use jiff::Timestamp;
use tka_core::{Revocation, Session};
use tka_operator::PerSession;
use tokio::time::Instant;

/// The sessions, each with when it was last known to stand.
///
/// Every replica counts for itself, also while another reconciles: who holds the Lease next knows by itself for how long there has been doubt. So
/// nothing that happens to the Lease begins it anew.
///
/// It begins anew with the process. A session that this process has not verified yet counts from when it was first seen. Otherwise a server that
/// starts a moment before its tailscaled would end every session that is older than the limit.
#[derive(Debug)]
pub(super) struct LastVerified {
    /// It may change between two rounds.
    pub(super) limit: Duration,
    /// By the sign-in: another one verifies anew.
    sessions: PerSession<Timestamp, Record>,
}

#[derive(Debug)]
struct Record {
    verified: Instant,
    reason: Option<String>,
}

// === impl LastVerified ===

impl LastVerified {
    /// No doubt may last for `limit`.
    pub(super) fn new(limit: Duration) -> Self {
        Self {
            limit,
            sessions: PerSession::default(),
        }
    }

    /// These are the sessions now. One that is new, or was signed in to again, was verified by that.
    pub(super) fn observe(&mut self, sessions: &[Session], now: Instant) {
        for session in sessions {
            let first = || Record::verified(now);
            self.sessions
                .get_or_insert_with(session.name().as_str(), session.signed_in, first);
        }
    }

    /// Forgets all but those of which `is_there` holds, by name.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.sessions.retain(|name, _, _| is_there(name));
    }

    /// `session` stood at `now`.
    pub(super) fn verified(&mut self, session: &Session, now: Instant) {
        let record = Record::verified(now);
        self.sessions.insert(session.name().as_str(), session.signed_in, record);
    }

    /// At `now` it cannot be verified that `session` stands. If that is so for too long it is revoked.
    pub(super) fn unverified(&mut self, session: &Session, why: &str, now: Instant) -> Option<Revocation> {
        let record = self.sessions.get_mut(session.name().as_str(), &session.signed_in)?;
        if record.reason.as_deref() != Some(why) {
            let (name, limit) = (session.name(), self.limit);
            tracing::warn!(session = %name, username = session.caller.username(), reason = why, ?limit, "session not verified; it is revoked when it was not verified for maxUnverified");
            record.reason = Some(why.to_owned());
        }
        let unverified_for = now.saturating_duration_since(record.verified);
        (unverified_for >= self.limit).then(|| Revocation::Unverified {
            unverified_for,
            why: why.to_owned(),
        })
    }

    /// When the first of the doubts will have lasted too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let unverified = self.sessions.values().filter(|record| record.reason.is_some());
        let deadlines = unverified.filter_map(|record| record.verified.checked_add(self.limit));
        deadlines.min()
    }
}

// === impl Record ===

impl Record {
    fn verified(now: Instant) -> Self {
        Self {
            verified: now,
            reason: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(signed_in: &str) -> Session {
        examples::session("n", signed_in.parse().unwrap())
    }

    #[test]
    fn doubt_may_last_until_the_limit_since_it_was_last_verified() {
        let (mut last_verified, start) = (LastVerified::new(10 * SECOND), Instant::now());
        let session = session("2026-01-01T00:00:00Z");
        last_verified.observe(std::slice::from_ref(&session), start);
        assert_eq!(last_verified.deadline(), None);
        last_verified.verified(&session, start + 5 * SECOND);
        assert_eq!(last_verified.unverified(&session, "silence", start + 14 * SECOND), None);
        assert_eq!(last_verified.deadline(), Some(start + 15 * SECOND));
        last_verified.observe(std::slice::from_ref(&session), start + 15 * SECOND);
        let Some(Revocation::Unverified { unverified_for, why }) =
            last_verified.unverified(&session, "silence", start + 15 * SECOND)
        else {
            panic!("not revoked")
        };
        assert_eq!((unverified_for, why.as_str()), (10 * SECOND, "silence"));
    }

    #[test]
    fn verified_again_is_no_doubt() {
        let (mut last_verified, start) = (LastVerified::new(10 * SECOND), Instant::now());
        let session = session("2026-01-01T00:00:00Z");
        last_verified.observe(std::slice::from_ref(&session), start);
        assert_eq!(last_verified.unverified(&session, "silence", start + 9 * SECOND), None);
        last_verified.verified(&session, start + 9 * SECOND);
        assert_eq!(last_verified.deadline(), None);
        assert_eq!(last_verified.unverified(&session, "silence", start + 18 * SECOND), None);
    }

    #[test]
    fn signing_in_again_verifies() {
        let (mut last_verified, start) = (LastVerified::new(10 * SECOND), Instant::now());
        last_verified.observe(&[session("2026-01-01T00:00:00Z")], start);
        let again = session("2026-01-01T00:00:09Z");
        last_verified.observe(std::slice::from_ref(&again), start + 9 * SECOND);
        assert_eq!(last_verified.unverified(&again, "silence", start + 18 * SECOND), None);
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let (mut last_verified, start) = (LastVerified::new(10 * SECOND), Instant::now());
        let session = session("2026-01-01T00:00:00Z");
        last_verified.observe(std::slice::from_ref(&session), start);
        let _ = last_verified.unverified(&session, "silence", start);
        last_verified.retain(|_| false);
        assert_eq!(last_verified.deadline(), None);
        assert_eq!(last_verified.sessions.values().count(), 0);
    }
}
