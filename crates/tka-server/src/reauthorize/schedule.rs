//! When to check: when something changed, and from time to time.

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// What is done again and again.
pub(super) trait PeriodicCheck {
    /// Does it once, and says when to do it again at the latest.
    fn round(&mut self) -> impl Future<Output = Instant> + Send;
}

/// Runs rounds, one at a time, at once and then whenever asked. However often it is asked during a round, one follows.
pub(super) async fn rounds(wake: &Notify, mut round: impl PeriodicCheck) {
    loop {
        let next = round.round().await;
        tokio::select! {
            () = wake.notified() => {}
            () = sleep_until(next) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use tokio::time::{advance, sleep};

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes a second, and wants to be done again 30 s after it began.
    struct Slow(Arc<AtomicUsize>);

    impl PeriodicCheck for Slow {
        async fn round(&mut self) -> Instant {
            let next = Instant::now() + 30 * SECOND;
            self.0.fetch_add(1, Ordering::SeqCst);
            sleep(SECOND).await;
            next
        }
    }

    fn start() -> (Arc<Notify>, impl Fn() -> usize) {
        let (wake, begun) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let (ask, count) = (Arc::clone(&wake), Arc::clone(&begun));
        tokio::spawn(async move { rounds(&ask, Slow(count)).await });
        (wake, move || begun.load(Ordering::SeqCst))
    }

    #[tokio::test(start_paused = true)]
    async fn storm_of_changes_is_one_round_at_a_time_and_one_after() {
        let (wake, begun) = start();
        sleep(SECOND / 2).await;
        for _ in 0..1_000 {
            wake.notify_one();
        }
        assert_eq!(begun(), 1);
        sleep(SECOND).await;
        assert_eq!(begun(), 2);
        sleep(20 * SECOND).await;
        assert_eq!(begun(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn change_is_checked_at_once() {
        let (wake, begun) = start();
        sleep(5 * SECOND).await;
        wake.notify_one();
        advance(Duration::ZERO).await;
        tokio::task::yield_now().await;
        assert_eq!(begun(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_checked_every_30_seconds() {
        let (_asked, begun) = start();
        sleep(301 * SECOND).await;
        assert_eq!(begun(), 11);
    }
}
