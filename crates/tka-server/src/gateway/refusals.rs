//! Sessions that use did not begin, and why, for a moment. So a program that polls costs the API server no more than one that signs in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tka_core::SessionName;
use tokio::time::Instant;

use crate::answer::Failure;

/// For how long what was refused is not tried again.
const REFUSAL_TTL: Duration = Duration::from_secs(2);

/// Why use did not begin sessions, by name.
#[derive(Debug, Default)]
pub(super) struct OnUseRefusals(Mutex<HashMap<SessionName, Refused>>);

#[derive(Debug)]
struct Refused {
    at: Instant,
    failure: Failure,
}

// === impl OnUseRefusals ===

impl OnUseRefusals {
    /// Why the session of that name was refused a moment before `now`.
    pub(super) fn get(&self, name: &SessionName, now: Instant) -> Option<Failure> {
        let all = self.all();
        let refused = all.get(name).filter(|refused| refused.is_recent(now))?;
        Some(refused.failure.clone())
    }

    /// The session of that name was refused at `now`, because of `failure`. What may pass is tried again at once. What is over is forgotten.
    pub(super) fn remember(&self, name: &SessionName, failure: &Failure, now: Instant) {
        if !failure.status.is_client_error() {
            return;
        }
        let mut all = self.all();
        all.retain(|_, refused| refused.is_recent(now));
        let failure = failure.clone();
        all.insert(name.clone(), Refused { at: now, failure });
    }

    fn all(&self) -> MutexGuard<'_, HashMap<SessionName, Refused>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refused {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) < REFUSAL_TTL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;
    use tka_core::{Caller, Device, Identity, Rule};

    fn name(device: &str) -> SessionName {
        let caller = Caller {
            identity: Identity::user(1, "alice@example.com"),
            device: Device::new(device, "laptop"),
        };
        let rule = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
        SessionName::new(&caller, &rule.key(), None)
    }

    #[test]
    fn refusal_is_repeated_for_a_moment_and_forgotten() {
        let (refusals, now) = (OnUseRefusals::default(), Instant::now());
        let refused = Failure::new(StatusCode::FORBIDDEN, "too many", &[]);
        refusals.remember(&name("n1"), &refused, now);
        let again = refusals.get(&name("n1"), now).unwrap();
        assert_eq!(
            (again.status, again.body.message.as_str()),
            (StatusCode::FORBIDDEN, "too many")
        );
        assert!(refusals.get(&name("n2"), now).is_none());
        assert!(refusals.get(&name("n1"), now + REFUSAL_TTL).is_none());
        refusals.remember(&name("n2"), &Failure::transient("away", &[]), now);
        assert!(refusals.get(&name("n2"), now).is_none(), "what may pass is tried again");
        refusals.remember(&name("n3"), &refused, now + REFUSAL_TTL);
        assert_eq!(refusals.all().len(), 1);
    }
}
