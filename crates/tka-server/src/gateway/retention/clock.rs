//! Whether the clock can be believed where it says that recordings are old. By value.
//!
//! A machine's time may be wrong by years: a battery is empty, or a time server is. Recordings would all be old at once then, and what is removed
//! does not come back. So a time is believed that follows from an earlier one by a clock that cannot be set. Any other is believed after a day, in
//! which people can put it right.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// How far the time may be ahead of what follows from an earlier one. So at most a day's recordings are removed a day too early. Servers that were down for less are
/// not noticed.
const TOLERATED_JUMP: SignedDuration = SignedDuration::from_hours(24);
/// How long a time must go on as it began before it is believed.
const DOUBT_PERIOD: Duration = Duration::from_hours(24);

/// What is known of the clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClockCheck {
    /// A time that is believed, and when it was.
    believed: Option<(Timestamp, Instant)>,
    /// Another one that is not believed yet.
    doubted: Option<(Timestamp, Instant)>,
}

/// What to make of a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// It is right.
    Believed,
    /// It may be wrong.
    Doubted {
        /// Whether it was not told before.
        is_new: bool,
    },
}

// === impl ClockCheck ===

impl ClockCheck {
    /// The check of a server that starts `now`. `last` is a time that the one before believed.
    pub(super) fn new(last: Option<Timestamp>, now: Timestamp, at: Instant) -> Self {
        // A last time that is still to come is of a clock that was wrong, or is.
        let believed = last.filter(|last| *last <= now + TOLERATED_JUMP).map(|last| (last, at));
        Self {
            believed,
            doubted: None,
        }
    }

    /// What to make of the time `now`.
    pub(super) fn check(&mut self, now: Timestamp, at: Instant) -> Verdict {
        if self.believed.is_some_and(|believed| follows(believed, now, at)) {
            self.doubted = None;
            return Verdict::Believed;
        }
        let doubted = self.doubted.filter(|doubted| follows(*doubted, now, at));
        let is_new = doubted.is_none();
        let (began, since) = doubted.unwrap_or((now, at));
        if at.saturating_duration_since(since) >= DOUBT_PERIOD {
            *self = Self {
                believed: Some((now, at)),
                doubted: None,
            };
            return Verdict::Believed;
        }
        self.doubted = Some((began, since));
        Verdict::Doubted { is_new }
    }
}

/// Whether `now` is no later than what follows from an earlier time. An earlier one makes nothing old.
fn follows((earlier, since): (Timestamp, Instant), now: Timestamp, at: Instant) -> bool {
    let passed = SignedDuration::try_from(at.saturating_duration_since(since)).unwrap_or(SignedDuration::MAX);
    now.duration_since(earlier) <= passed.saturating_add(TOLERATED_JUMP)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: Verdict = Verdict::Doubted { is_new: true };
    const KNOWN: Verdict = Verdict::Doubted { is_new: false };

    fn time(day: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + SignedDuration::from_hours(24 * day)
    }

    /// Checks times, given as days, after so many hours each.
    fn verdicts(last: Option<i64>, checks: &[(i64, u64)]) -> Vec<Verdict> {
        let start = Instant::now();
        let mut clock = ClockCheck::new(last.map(time), time(checks[0].0), start);
        let checks = checks.iter();
        checks
            .map(|(day, hours)| clock.check(time(*day), start + Duration::from_hours(*hours)))
            .collect()
    }

    #[test]
    fn time_that_goes_on_is_believed() {
        assert_eq!(
            verdicts(Some(0), &[(0, 0), (1, 24), (30, 24 * 30)]),
            [Verdict::Believed; 3]
        );
        // A server that was down for less than a day, and a clock that was set back.
        assert_eq!(verdicts(Some(0), &[(1, 0), (-300, 1), (1, 2)]), [Verdict::Believed; 3]);
    }

    #[test]
    fn jump_is_doubted_for_a_day_and_forgotten_when_it_is_undone() {
        assert_eq!(
            verdicts(
                Some(0),
                &[(0, 0), (400, 1), (400, 2), (0, 3), (400, 4), (401, 27), (401, 28)]
            ),
            [
                Verdict::Believed,
                NEW,
                KNOWN,
                Verdict::Believed,
                NEW,
                KNOWN,
                Verdict::Believed
            ]
        );
        // Small jumps do not add up.
        assert_eq!(
            verdicts(Some(0), &[(1, 1), (2, 2), (3, 3)]),
            [Verdict::Believed, NEW, KNOWN]
        );
        // A time that jumps again is not the one that is doubted already.
        assert_eq!(
            verdicts(Some(0), &[(400, 0), (800, 23), (800, 25), (800, 47)]),
            [NEW, NEW, KNOWN, Verdict::Believed]
        );
    }

    #[test]
    fn first_time_and_one_of_a_wrong_clock_are_doubted() {
        assert_eq!(verdicts(None, &[(0, 0), (1, 24)]), [NEW, Verdict::Believed]);
        assert_eq!(verdicts(Some(400), &[(0, 0), (1, 24)]), [NEW, Verdict::Believed]);
    }
}
