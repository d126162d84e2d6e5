//! What runs beside the serving of requests, for as long as the server does.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tka_operator::error::with_causes;
use tka_operator::{Leadership, Sessions, backoff};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How often leftovers are looked for. They are rare, and harm only readers of the list of accounts.
const SWEEP: Duration = Duration::from_mins(1);

/// How often it is looked whether the cluster has the roles that may be given out. They come and go with what people install.
const ROLES: Duration = Duration::from_mins(5);
/// The same while one is missing, so that one that comes is seen.
const MISSING_ROLES: Duration = Duration::from_secs(30);

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

/// Tells of roles that may be given out and that the cluster does not have: in the log, on the pod, and to `missing`, which holds a sentence then.
pub(crate) async fn check_roles(
    sessions: Arc<Sessions>,
    missing: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
    let mut failures = 0;
    loop {
        let wait = match sessions.missing_roles().await {
            Ok(roles) => {
                failures = 0;
                tell_missing(&sessions, &missing, &roles)
            }
            Err(error) => {
                failures += 1;
                tracing::debug!(error = with_causes(&error), "roles not checked");
                backoff(failures, error.retry_after(), ROLES)
            }
        };
        if stop
            .run_until_cancelled(sleep_until(Instant::now() + wait))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// Returns when to look again.
fn tell_missing(sessions: &Sessions, missing: &watch::Sender<Option<String>>, roles: &[String]) -> Duration {
    let said = missing_roles(roles);
    let is_new = missing.send_if_modified(|before| std::mem::replace(before, said.clone()) != said);
    let Some(said) = said else {
        if is_new {
            tracing::info!("this cluster has all roles that may be given out");
        }
        return ROLES;
    };
    if is_new {
        tracing::warn!(?roles, "{said}");
    }
    sessions.tell_missing_roles(&said);
    MISSING_ROLES
}

/// What is wrong and what to do; none where nothing is missing.
fn missing_roles(roles: &[String]) -> Option<String> {
    let list = roles.join(", ");
    (!roles.is_empty()).then(|| {
        format!(
            "this cluster has no ClusterRole {list}, so sign-ins for it are refused; create it, or correct `roles` and `namespacedRoles` \
             of the chart (`kubectl get clusterroles` lists those that there are)"
        )
    })
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
