//! Why an exec was refused that its client tries again by SPDY.
//!
//! kubectl tries any WebSocket that is refused once more by SPDY, and shows only what that is answered with. Where all must be recorded that would always be that
//! SPDY cannot be; so the second answer repeats the reason of the first.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tka_core::shorten_to;
use tokio::time::Instant;

/// How many reasons are kept. One that is pushed out costs a person the better message.
const MAX_REASONS: usize = 256;
/// For how long: kubectl tries again at once.
const REASON_TTL: Duration = Duration::from_secs(10);
/// How much of a reason is kept.
const CHARACTERS: usize = 2000;

/// The last reasons, each by a session's request.
#[derive(Debug, Default)]
pub(super) struct SpdyFallbackReasons {
    /// So that no caller can make a request of another's digest.
    keys: RandomState,
    kept: Mutex<VecDeque<(RequestKey, Instant, Reason)>>,
}

/// Stands for one request of one session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct RequestKey(u64);

/// Why a request was refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reason {
    pub(super) status: StatusCode,
    pub(super) message: String,
}

// === impl SpdyFallbackReasons ===

impl SpdyFallbackReasons {
    /// The key of a request for `path_and_query` of the session of that incarnation.
    pub(super) fn key(&self, uid: &str, path_and_query: &str) -> RequestKey {
        RequestKey(self.keys.hash_one((uid, path_and_query)))
    }

    /// A request was refused.
    pub(super) fn keep(&self, key: RequestKey, now: Instant, status: StatusCode, message: &str) {
        let message = shorten_to(message, CHARACTERS);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, at, _)| *other != key && now.duration_since(*at) < REASON_TTL);
        if kept.len() >= MAX_REASONS {
            kept.pop_front();
        }
        kept.push_back((key, now, Reason { status, message }));
    }

    /// Why it was refused a moment ago.
    pub(super) fn last(&self, key: RequestKey, now: Instant) -> Option<Reason> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = kept.iter().filter(|(_, at, _)| now.duration_since(*at) < REASON_TTL);
        kept.find(|(other, _, _)| *other == key)
            .map(|(_, _, reason)| reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reason_is_repeated_for_a_moment_and_to_its_session_alone() {
        let refusals = SpdyFallbackReasons::default();
        let key = refusals.key("uid-1", "/api/v1/namespaces/a/pods/b/exec?command=sh");
        let now = Instant::now();
        refusals.keep(key, now, StatusCode::FORBIDDEN, "pods \"b\" is forbidden");
        refusals.keep(key, now, StatusCode::NOT_FOUND, "pods \"b\" not found");
        assert_eq!(refusals.last(key, now).unwrap().status, 404);
        let other = refusals.key("uid-2", "/api/v1/namespaces/a/pods/b/exec?command=sh");
        assert_eq!(refusals.last(other, now), None);
        assert_eq!(refusals.last(key, now + REASON_TTL), None);
    }

    #[tokio::test(start_paused = true)]
    async fn reasons_do_not_pile_up() {
        let refusals = SpdyFallbackReasons::default();
        let now = Instant::now();
        for count in 0..2 * MAX_REASONS {
            let key = refusals.key("uid", &count.to_string());
            refusals.keep(key, now, StatusCode::FORBIDDEN, &"x".repeat(100_000));
        }
        let kept = refusals.kept.lock().unwrap();
        assert_eq!(kept.len(), MAX_REASONS);
        assert!(
            kept.iter()
                .all(|(_, _, reason)| reason.message.chars().count() <= CHARACTERS + 1)
        );
    }
}
