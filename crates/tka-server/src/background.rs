//! What runs beside the serving of requests, for as long as the server does.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tka_operator::error::with_causes;
use tka_operator::{Leadership, Sessions, Swept};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::run::RunError;

/// How often leftovers are looked for. They are rare, and harm only whoever lists accounts.
const SWEEP: Duration = Duration::from_mins(5);

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
    /// ends, to be started anew.
    pub(crate) async fn ended(mut self, stop: CancellationToken) -> Result<(), RunError> {
        let mut result = Ok(());
        while let Some(ended) = self.0.join_next().await {
            if !stop.is_cancelled() {
                let what = ended.unwrap_or("a part that panicked");
                tracing::error!(what, "ended by itself");
                result = Err(RunError::Background(what));
                stop.cancel();
            }
        }
        result
    }
}

/// Removes leftovers when this replica begins to reconcile, and regularly while it does.
pub(crate) async fn sweep(sessions: Arc<Sessions>, leadership: Leadership, stop: CancellationToken) {
    let mut every = tokio::time::interval(SWEEP);
    let mut gains = leadership.gains().boxed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = gains.next() => {}
            _ = every.tick() => {}
        }
        if !leadership.is_held() {
            continue;
        }
        let Some(swept) = stop.run_until_cancelled(sessions.sweep()).await else {
            return;
        };
        match swept {
            Ok(Swept { orphans: 0, broken: 0 }) => {}
            Ok(Swept { orphans, broken }) => {
                tracing::warn!(
                    orphans,
                    broken,
                    "removed leftovers of sessions that are over, ended those that lost theirs"
                );
            }
            Err(error) => tracing::warn!(error = with_causes(&error), "sweep failed"),
        }
    }
}
