//! What runs beside the serving of requests, for as long as the server does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tka_core::Escalation;
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

/// Tells of roles that may be given out. The log says what each of them can really do. The log, the pod and `missing`, which holds a sentence
/// then, say which of them the cluster does not have.
pub(crate) async fn check_roles(
    sessions: Arc<Sessions>,
    missing: watch::Sender<Option<String>>,
    stop: CancellationToken,
) {
    let (mut failures, mut told) = (0, BTreeMap::new());
    loop {
        let wait = match sessions.named_roles().await {
            Ok(roles) => {
                failures = 0;
                tell_risky(&mut told, roles.risky);
                tell_missing(&sessions, &missing, &roles.missing)
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

/// Logs a line for each role from which more follows than its rules say, and again when that changes.
fn tell_risky(told: &mut BTreeMap<String, Vec<Escalation>>, risky: Vec<(String, Vec<Escalation>)>) {
    let risky: BTreeMap<_, _> = risky.into_iter().collect();
    for (role, escalations) in &risky {
        if told.get(role) != Some(escalations) {
            let rights: Vec<_> = escalations.iter().map(|escalation| escalation.id).collect();
            tracing::warn!(role, ?rights, "{}", risks(role, escalations));
        }
    }
    *told = risky;
}

/// What follows from a role, and where that is explained.
fn risks(role: &str, escalations: &[Escalation]) -> String {
    let sentences: Vec<_> = escalations.iter().map(|escalation| escalation.sentence).collect();
    let sources: std::collections::BTreeSet<_> = escalations.iter().map(|escalation| escalation.source).collect();
    let sources: Vec<_> = sources.into_iter().collect();
    format!(
        "sessions may have the ClusterRole {role}, from which more follows than it says: {} See {}",
        sentences.join(" "),
        sources.join(", ")
    )
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
    let mut acquisitions = leadership.acquisitions().boxed();
    let (mut failures, mut next) = (0, Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = acquisitions.next() => {}
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
    fn risky_role_is_one_log_line() {
        let rule = |verb: &str, resource: &str| tka_core::RoleRule {
            verbs: vec![verb.into()],
            api_groups: vec![String::new()],
            resources: vec![resource.into()],
            ..tka_core::RoleRule::default()
        };
        let line = risks(
            "edit",
            &tka_core::escalations(&[rule("get", "secrets"), rule("create", "pods")], None),
        );
        assert!(line.starts_with(
            "sessions may have the ClusterRole edit, from which more follows than it says: It reads Secrets"
        ));
        assert!(
            line.contains("It runs pods") && line.contains("#listing-secrets") && line.contains("#workload-creation"),
            "{line}"
        );
    }

    #[test]
    fn sweep_that_failed_is_tried_again_soon_and_then_ever_later() {
        let waits = [1, 2, 3, 6, 7, u32::MAX].map(|failures| backoff(failures, None, SWEEP).as_secs());
        assert_eq!(waits, [1, 2, 4, 32, 60, 60]);
        assert_eq!(backoff(1, Some(Duration::from_secs(6)), SWEEP), Duration::from_secs(6));
        assert_eq!(backoff(1, Some(Duration::MAX), SWEEP), SWEEP);
    }
}
