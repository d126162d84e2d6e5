//! Whether what rules give can be had in the cluster: asked of the API server once for all callers of the same moment.
//!
//! It is told to callers before they sign in, and nothing is given by it: a sign-in finds out itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tka_core::{RoleName, Scope};
use tka_operator::Sessions;
use tokio::sync::OnceCell;
use tokio::time::Instant;

/// For how long an answer counts. Administrators who correct a rule or a role look at what came of it.
const ANSWER_TTL: Duration = Duration::from_secs(2);

/// The answers of the last moment, by what was asked.
#[derive(Debug, Default)]
pub struct RuleChecks(Mutex<HashMap<(RoleName, Scope), Arc<Check>>>);

/// One question, which is asked by the first of those that share it.
#[derive(Debug)]
struct Check {
    since: Instant,
    answer: OnceCell<RuleCheck>,
}

/// What the cluster says of a role where a rule gives it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RuleCheck {
    /// It can be had.
    Usable,
    /// It cannot be had, and why.
    Unusable(String),
    /// The cluster could not be asked.
    Unchecked,
}

// === impl RuleChecks ===

impl RuleChecks {
    /// What the cluster says of `role` in `scope`.
    pub async fn check(&self, sessions: &Sessions, role: &RoleName, scope: &Scope) -> RuleCheck {
        let check = self.shared(role, scope, Instant::now());
        let ask = || async {
            match sessions.check_bindable(role, scope).await {
                Ok(()) => RuleCheck::Usable,
                Err(error) if error.is_transient() => RuleCheck::Unchecked,
                Err(error) => RuleCheck::Unusable(error.to_string()),
            }
        };
        check.answer.get_or_init(ask).await.clone()
    }

    /// The question as it is shared at `now`. What is over is forgotten.
    fn shared(&self, role: &RoleName, scope: &Scope, now: Instant) -> Arc<Check> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (role.clone(), scope.clone());
        if let Some(check) = all.get(&key).filter(|check| check.is_recent(now)) {
            return Arc::clone(check);
        }
        all.retain(|_, check| check.is_recent(now));
        let check = Arc::new(Check {
            since: now,
            answer: OnceCell::new(),
        });
        all.insert(key, Arc::clone(&check));
        check
    }
}

// === impl Check ===

impl Check {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < ANSWER_TTL
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn question_is_shared_for_a_moment_and_forgotten() {
        let (checks, now) = (RuleChecks::default(), Instant::now());
        let [edit, view] = ["edit", "view"].map(|role| RoleName::try_from(role.to_owned()).unwrap());
        let first = checks.shared(&edit, &Scope::Cluster, now);
        assert!(Arc::ptr_eq(&first, &checks.shared(&edit, &Scope::Cluster, now)));
        assert!(!Arc::ptr_eq(&first, &checks.shared(&view, &Scope::Cluster, now)));
        let later = checks.shared(&edit, &Scope::Cluster, now + ANSWER_TTL);
        assert!(!Arc::ptr_eq(&first, &later));
        assert_eq!(checks.0.lock().unwrap().len(), 1, "what is over is forgotten");
    }
}
