//! When a session was last used: by a request that begins, or by data that its caller sends on a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When a session was last used, by a clock that cannot be set. Clones are the same.
#[derive(Clone, Debug)]
pub struct LastUse {
    since: Instant,
    /// In milliseconds since then.
    last: Arc<AtomicU64>,
}

// === impl LastUse ===

impl LastUse {
    /// A session that is used at `now`.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let last = Arc::default();
        Self { since: now, last }
    }

    /// It is used at `now`.
    pub fn used(&self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.since).as_millis();
        let elapsed = u64::try_from(elapsed).unwrap_or(u64::MAX);
        self.last.fetch_max(elapsed, Ordering::Relaxed);
    }

    /// For how long it has not been used at `now`.
    #[must_use]
    pub fn unused_for(&self, now: Instant) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        now.saturating_duration_since(self.since).saturating_sub(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_use_is_the_latest_whoever_tells_of_it_last() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let last = LastUse::new(start);
        let clone = last.clone();
        assert_eq!(last.unused_for(at(5)), Duration::from_secs(5));
        clone.used(at(8));
        last.used(at(7));
        assert_eq!(last.unused_for(at(10)), Duration::from_secs(2));
    }
}
