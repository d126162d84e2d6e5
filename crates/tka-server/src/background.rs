//! What runs beside the serving of requests, for as long as the server does.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tka_operator::error::with_causes;
use tka_operator::{Leadership, Sessions, backoff};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often leftovers are looked for. They are rare, and harm only readers of the list of accounts.
const SWEEP: Duration = Duration::from_mins(1);

/// Parts that run until the server stops.
#[derive(Debug, Default)]
pub(crate) struct Background(JoinSet<&'static str>);

// === impl Background ===

impl Background {
    /// Starts a part; `name` says in a sentence what it is.
    pub(crate) fn spawn(&mut self, name: &'static str, part: impl Future<Output: Send> + Send + 'static) {
        self.0.spawn(async move {
            part.await;
            name
        });
    }

    /// Waits until all parts have ended. If any does before `stop`, sessions would no longer end by themselves, and the server
    /// ends, to be started anew. The error is what such a part is.
    pub(crate) async fn ended(mut self, stop: CancellationToken) -> Result<(), &'static str> {
        let mut result = Ok(());
        while let Some(ended) = self.0.join_next().await {
            if !stop.is_cancelled() {
                let what = ended.unwrap_or("a part that panicked");
                tracing::error!(task = what, "background task exited unexpectedly; stopping the server");
                result = Err(what);
                stop.cancel();
            }
        }
        result
    }
}

/// Removes leftovers when this replica begins to reconcile, and regularly while it does.
pub(crate) async fn sweep(sessions: Arc<Sessions>, leadership: Leadership, stop: CancellationToken) {
    let mut gains = leadership.gains().boxed();
    let (mut failures, mut next) = (0, Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = gains.next() => {}
            () = sleep_until(next) => {}
        }
        if !leadership.is_held() {
            next = Instant::now() + SWEEP;
            continue;
        }
        let Some(swept) = stop.run_until_cancelled(sessions.sweep()).await else {
            return;
        };
        let wait = match swept {
            Ok(_) => {
                failures = 0;
                SWEEP
            }
            Err(error) => {
                failures += 1;
                let wait = backoff(failures, error.retry_after(), SWEEP);
                tracing::warn!(failures, ?wait, error = with_causes(&error), "sweep failed");
                wait
            }
        };
        next = Instant::now() + wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweep_that_failed_is_tried_again_soon_and_then_ever_later() {
        let waits = [1, 2, 3, 6, 7, u32::MAX].map(|failures| backoff(failures, None, SWEEP).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60]);
        assert_eq!(backoff(1, Some(Duration::from_secs(6)), SWEEP), Duration::from_secs(6));
        assert_eq!(backoff(1, Some(Duration::MAX), SWEEP), SWEEP);
    }
}
