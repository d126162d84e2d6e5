//! The time limit of all requests of a command.

use std::time::{Duration, Instant};

/// A time limit and its start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Deadline {
    limit: Duration,
    started: Instant,
}

// === impl Deadline ===

impl Deadline {
    /// Ends after `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        Self {
            limit,
            started: Instant::now(),
        }
    }

    /// The same deadline, which ends after `limit` at the latest.
    pub(crate) fn capped_at(self, limit: Duration) -> Self {
        let other = Self::new(limit);
        if self.remaining(other.started) < limit {
            self
        } else {
            other
        }
    }

    /// The same deadline, `time` later: a user took that time to answer a question.
    pub(crate) fn extended_by(self, time: Duration) -> Self {
        Self {
            started: self.started + time,
            ..self
        }
    }

    /// The whole time limit.
    pub(crate) fn limit(self) -> Duration {
        self.limit
    }

    /// The time left at `now`.
    pub(crate) fn remaining(self, now: Instant) -> Duration {
        self.limit.saturating_sub(now.saturating_duration_since(self.started))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_never_grows_or_is_negative() {
        let deadline = Deadline::new(Duration::from_secs(3));
        let after = |seconds| {
            deadline
                .remaining(deadline.started + Duration::from_secs(seconds))
                .as_secs()
        };
        assert_eq!([0, 1, 3, 4].map(after), [3, 2, 0, 0]);
    }

    #[test]
    fn shorter_limit_counts_and_answers_take_no_time() {
        let deadline = Deadline::new(Duration::from_secs(3));
        assert_eq!(deadline.capped_at(Duration::from_mins(1)), deadline);
        let second = Duration::from_secs(1);
        assert_eq!(deadline.capped_at(second).limit(), second);
        let later = deadline.extended_by(Duration::from_secs(2));
        let now = deadline.started + Duration::from_secs(4);
        assert_eq!(later.remaining(now), Duration::from_secs(1));
    }
}
