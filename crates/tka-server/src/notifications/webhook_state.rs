//! How a webhook stands, by value: what is said of it, and how often.

use std::time::Duration;

use tokio::time::Instant;

/// How often it is logged at the most that notifications were given up.
const LOG_INTERVAL: Duration = Duration::from_mins(1);
/// For how long it is told that some were.
const FAILURE_TTL: Duration = Duration::from_hours(1);

/// How a webhook stands.
#[derive(Debug, Default)]
pub(super) struct WebhookState {
    /// Why the last try failed, if it did.
    failed: Option<String>,
    /// How many were given up that no line of the log has told yet, and when one last did.
    untold: u64,
    logged: Option<Instant>,
    /// How many were given up since the count began, and when the last was.
    dead: u64,
    last_dead: Option<Instant>,
}

// === impl WebhookState ===

impl WebhookState {
    /// A try failed, because of `why`. Answers whether the one before did not.
    pub(super) fn failed(&mut self, why: String) -> bool {
        self.failed.replace(why).is_none()
    }

    /// One was taken. Answers whether the try before it failed.
    pub(super) fn delivered(&mut self) -> bool {
        self.failed.take().is_some()
    }

    /// So many were given up at `now`. Answers how many are to be logged now, if any are.
    pub(super) fn gave_up(&mut self, count: u64, now: Instant) -> Option<u64> {
        if !self.is_recent(now) {
            self.dead = 0;
        }
        self.dead += count;
        self.last_dead = Some(now);
        self.untold += count;
        if self
            .logged
            .is_some_and(|logged| now.duration_since(logged) < LOG_INTERVAL)
        {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// How many were given up that no line of the log tells. The next call answers none.
    pub(super) fn take_unlogged(&mut self) -> u64 {
        std::mem::take(&mut self.untold)
    }

    /// Why the last try failed, if it did.
    pub(super) fn why(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// What is to be said of it at `now`, while so many wait; nothing where all is well.
    pub(super) fn note(&self, waiting: usize, now: Instant) -> Option<String> {
        let failing = self
            .failed
            .as_ref()
            .map(|why| format!("{waiting} wait, and the last try failed: {why}"));
        let dead = self
            .is_recent(now)
            .then(|| format!("{} were given up of late", self.dead));
        let said: Vec<_> = failing.into_iter().chain(dead).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn is_recent(&self, now: Instant) -> bool {
        self.last_dead
            .is_some_and(|last| now.duration_since(last) < FAILURE_TTL)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_up_is_logged_once_a_minute_and_told_for_an_hour() {
        let (mut standing, now) = (WebhookState::default(), Instant::now());
        let seconds = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(standing.note(3, now), None);
        assert_eq!(standing.gave_up(1, now), Some(1));
        assert_eq!(
            (standing.gave_up(2, seconds(1)), standing.gave_up(1, seconds(59))),
            (None, None)
        );
        assert_eq!(standing.gave_up(1, seconds(60)), Some(4));
        assert_eq!(
            (
                standing.gave_up(7, seconds(61)),
                standing.take_unlogged(),
                standing.take_unlogged()
            ),
            (None, 7, 0)
        );
        assert_eq!(standing.note(0, seconds(62)).unwrap(), "12 were given up of late");
        assert_eq!(standing.note(0, seconds(3661)), None);
        standing.gave_up(1, seconds(4000));
        assert_eq!(standing.note(0, seconds(4000)).unwrap(), "1 were given up of late");
    }

    #[test]
    fn first_failure_and_the_end_of_failures_are_told() {
        let (mut standing, now) = (WebhookState::default(), Instant::now());
        assert!(!standing.delivered());
        assert!(standing.failed("answered 500".into()));
        assert!(!standing.failed("answered 503".into()));
        assert_eq!(
            standing.note(2, now).unwrap(),
            "2 wait, and the last try failed: answered 503"
        );
        assert_eq!(standing.why(), Some("answered 503"));
        assert!(standing.delivered() && !standing.delivered());
        assert_eq!(standing.note(2, now), None);
    }
}
