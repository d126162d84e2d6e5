//! How long to wait before the next request.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;

/// The `Retry-After` header (RFC 9110, 10.2.3), if it can be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RetryAfter(Option<Duration>);

/// Pauses between retries of a failed request. Together they are longer than a server needs to restart, and shorter than users wait.
#[derive(Debug)]
pub(crate) struct RetryBackoff {
    next: Duration,
    left: u8,
}

/// Pauses between polls.
///
/// The first pauses are short, since a session is usually ready within milliseconds. They double up to the pause that the server asks for.
#[derive(Debug)]
pub(crate) struct PollBackoff {
    next: Duration,
}

/// How often a client that tries again does so.
pub(crate) const RETRIES: u8 = 4;
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(5);
const FIRST_PAUSE: Duration = Duration::from_millis(25);

// === impl RetryAfter ===

impl RetryAfter {
    /// Reads the header: seconds, or a date relative to `now`.
    pub(crate) fn from_header(value: Option<&str>, now: Timestamp) -> Self {
        let text = value.map(str::trim);
        Self(text.and_then(|text| seconds(text).or_else(|| until_date(text, now))))
    }

    /// The pause before a busy server is asked again, if it names one. It is a second at least.
    pub(crate) fn while_busy(self) -> Option<Duration> {
        self.0.map(|pause| pause.max(SHORTEST))
    }

    /// The pause while the server provisions a session, within bounds.
    fn while_pending(self) -> Duration {
        self.0.unwrap_or(SHORTEST).clamp(SHORTEST, LONGEST)
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse().ok().map(Duration::from_secs)
}

fn until_date(text: &str, now: Timestamp) -> Option<Duration> {
    Duration::try_from(timestamp(text)?.duration_since(now)).ok()
}

/// Parses the time of an HTTP header (RFC 9110, 5.6.7).
pub(crate) fn timestamp(text: &str) -> Option<Timestamp> {
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

// === impl RetryBackoff ===

impl RetryBackoff {
    /// So many pauses.
    pub(crate) fn new(left: u8) -> Self {
        Self {
            next: Duration::from_millis(250),
            left,
        }
    }
}

impl Iterator for RetryBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let pause = self.next;
        self.next *= 2;
        Some(pause)
    }
}

// === impl PollBackoff ===

impl PollBackoff {
    pub(crate) fn new() -> Self {
        Self { next: FIRST_PAUSE }
    }

    /// The pause before the next attempt.
    pub(crate) fn next(&mut self, retry_after: RetryAfter) -> Duration {
        let pause = self.next.min(retry_after.while_pending());
        self.next = pause * 2;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_for(value: Option<&str>) -> u64 {
        RetryAfter::from_header(value, "1994-11-06T08:49:34Z".parse().unwrap())
            .while_pending()
            .as_secs()
    }

    #[test]
    fn retry_after_by_value() {
        for (value, expected) in [
            (None, 1),
            (Some("2"), 2),
            (Some(" 3 "), 3),
            (Some("0"), 1),
            (Some("86400"), 5),
            (Some("-1"), 1),
            (Some("soon"), 1),
            (Some("Sun, 06 Nov 1994 08:49:37 GMT"), 3),
            (Some("Sun, 06 Nov 1994 08:00:00 GMT"), 1),
        ] {
            assert_eq!(asked_for(value), expected, "{value:?}");
        }
    }

    #[test]
    fn a_busy_server_is_left_alone_for_as_long_as_it_asks() {
        let now = Timestamp::UNIX_EPOCH;
        for (value, expected) in [
            (Some("60"), Some(60)),
            (Some("0"), Some(1)),
            (Some("soon"), None),
            (None, None),
        ] {
            let pause = RetryAfter::from_header(value, now).while_busy();
            assert_eq!(pause.map(|pause| pause.as_secs()), expected, "{value:?}");
        }
    }

    #[test]
    fn what_failed_is_tried_again_a_few_times() {
        let taken: Vec<_> = RetryBackoff::new(RETRIES).map(|pause| pause.as_millis()).collect();
        assert_eq!(taken, [250, 500, 1000, 2000]);
    }

    #[test]
    fn pauses_double_up_to_what_the_server_asks_for() {
        let mut backoff = PollBackoff::new();
        let retry_after = RetryAfter(Some(Duration::from_secs(1)));
        let taken: Vec<_> = (0..8).map(|_| backoff.next(retry_after).as_millis()).collect();
        assert_eq!(taken, [25, 50, 100, 200, 400, 800, 1000, 1000]);
    }
}
