//! Ends that could not be carried out, and when each is tried again. By value.

use std::time::Duration;

use jiff::Timestamp;
use tka_core::Session;
use tka_operator::{PerSession, backoff};
use tokio::time::Instant;

/// The longest that an end is put off, whatever the API server asks for.
const LONGEST: Duration = Duration::from_secs(30);

/// Ends that were tried in vain, by the sign-in that was to end: another is judged anew.
#[derive(Debug, Default)]
pub(super) struct RetryBackoff(PerSession<Timestamp, RetryState>);

#[derive(Debug)]
struct RetryState {
    failures: u32,
    not_before: Instant,
}

// === impl RetryBackoff ===

impl RetryBackoff {
    /// Whether the end of `session` is to wait at `now`.
    pub(super) fn is_waiting(&self, session: &Session, now: Instant) -> bool {
        let tried = self.0.get(session.name().as_str(), &session.signed_in);
        tried.is_some_and(|tried| now < tried.not_before)
    }

    /// The termination of `session` failed at `now`, where the API server says `retry_after`. Says how long the next try waits.
    pub(super) fn failed(&mut self, session: &Session, retry_after: Option<Duration>, now: Instant) -> Duration {
        let (name, signed_in) = (session.name(), session.signed_in);
        let before = self.0.get(name.as_str(), &signed_in);
        let failures = before.map_or(0, |tried| tried.failures).saturating_add(1);
        let wait = backoff(failures, retry_after, LONGEST);
        let tried = RetryState {
            failures,
            not_before: now + wait,
        };
        self.0.insert(name.as_str(), signed_in, tried);
        wait
    }

    /// Forgets all but those of which `is_there` holds, by name.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.0.retain(|name, _, _| is_there(name));
    }

    /// When the first is to be tried again, of those that were not due at `now`.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let ends = self.0.values().map(|tried| tried.not_before);
        ends.filter(|end| now < *end).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;

    const SECOND: Duration = Duration::from_secs(1);

    fn session(device: &str, signed_in: i64) -> Session {
        examples::session(device, Timestamp::from_second(signed_in).unwrap())
    }

    #[test]
    fn failed_termination_is_retried_with_backoff() {
        let (mut retries, now, one) = (RetryBackoff::default(), Instant::now(), session("a", 1));
        let waits: Vec<_> = (0..7).map(|_| retries.failed(&one, None, now).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        let waits_for = |seconds: u64| RetryBackoff::default().failed(&one, Some(Duration::from_secs(seconds)), now);
        assert_eq!([7, 600].map(waits_for), [7 * SECOND, LONGEST]);
    }

    #[test]
    fn what_failed_waits_and_nothing_else_does() {
        let (mut retries, now, one) = (RetryBackoff::default(), Instant::now(), session("a", 1));
        retries.failed(&one, Some(7 * SECOND), now);
        assert!(retries.is_waiting(&one, now + 6 * SECOND) && !retries.is_waiting(&one, now + 7 * SECOND));
        assert!(!retries.is_waiting(&session("b", 1), now) && !retries.is_waiting(&session("a", 2), now));
        assert_eq!(retries.next(now), Some(now + 7 * SECOND));
        assert_eq!(retries.next(now + 7 * SECOND), None);
        retries.retain(|name| name == session("b", 1).name().as_str());
        assert_eq!(retries.next(now), None);
    }
}
