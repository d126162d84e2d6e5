//! Work that goes on when its caller hangs up, or when the answer takes too long: what was done must be recorded.
//!
//! Each task has a time limit of its own, because no caller waits for it.

use std::time::Duration;

use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// All work of one server.
#[derive(Clone, Debug, Default)]
pub struct DetachedTasks(TaskTracker);

// === impl DetachedTasks ===

impl DetachedTasks {
    /// Does `work` to its end.
    pub async fn run_to_completion<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        match self.0.spawn(work.in_current_span()).await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The process ends.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Lets `work` go on by itself.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work.in_current_span());
    }

    /// Waits until nothing is left to do, for `limit` at most. Says whether nothing is.
    pub async fn done(&self, limit: Duration) -> bool {
        self.0.close();
        tokio::time::timeout(limit, self.0.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use tokio::sync::oneshot;

    #[tokio::test(start_paused = true)]
    async fn work_outlives_its_caller_and_is_waited_for() {
        let work = DetachedTasks::default();
        let (finish, finished) = oneshot::channel::<()>();
        let caller = work.run_to_completion(finished);
        assert!(caller.now_or_never().is_none());
        assert!(!work.done(Duration::from_secs(1)).await);
        finish.send(()).unwrap();
        assert!(work.done(Duration::from_secs(1)).await);
    }
}
