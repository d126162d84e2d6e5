//! Where every decision about a session is recorded.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::sync::{Mutex, PoisonError};

use futures::future::BoxFuture;
use jiff::Timestamp;
use tka_core::Session;

use crate::End;

/// Keeps the record of what is decided about sessions.
///
/// Each decision is recorded at least once, wherever a server is cut off: that a session is given before it can be used, that it ended before its
/// `TkaSignin` is gone.
pub trait Records: Send + Sync {
    /// Records that `session` began, or that it is `extended`. Unless this returns well it is not given.
    fn began<'a>(&'a self, session: &'a Session, extended: bool) -> BoxFuture<'a, Result<(), NotRecorded>>;

    /// Records that `session` ended. Its access is gone by then.
    fn ended<'a>(&'a self, session: &'a Session, how: &'a End) -> BoxFuture<'a, ()>;
}

/// Why something was not recorded.
pub type NotRecorded = Box<dyn StdError + Send + Sync>;

/// What this process has recorded of what it has not brought to its end yet, and tries again: sign-ins by UID and time, and ends by UID.
#[derive(Debug, Default)]
pub(crate) struct Recorded(Mutex<HashSet<(String, Option<Timestamp>)>>);

// === impl Recorded ===

impl Recorded {
    /// Whether the beginning is recorded.
    pub(crate) fn has_begun(&self, uid: &str, signed_in: Timestamp) -> bool {
        self.with(|recorded| recorded.contains(&(uid.to_owned(), Some(signed_in))))
    }

    /// The beginning is recorded.
    pub(crate) fn begun(&self, uid: &str, signed_in: Timestamp) {
        self.with(|recorded| recorded.insert((uid.to_owned(), Some(signed_in))));
    }

    /// The end is being recorded. Says whether it was not yet.
    pub(crate) fn end(&self, uid: &str) -> bool {
        self.with(|recorded| recorded.insert((uid.to_owned(), None)))
    }

    /// There is nothing left to try again.
    pub(crate) fn forget(&self, uid: &str) {
        self.with(|recorded| recorded.retain(|(other, _)| other != uid));
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashSet<(String, Option<Timestamp>)>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again_is_recorded_once_and_what_comes_later_anew() {
        let (recorded, first) = (Recorded::default(), Timestamp::UNIX_EPOCH);
        assert!(!recorded.has_begun("a", first));
        recorded.begun("a", first);
        assert!(recorded.has_begun("a", first));
        assert!(!recorded.has_begun("a", Timestamp::MAX));
        assert!(recorded.end("a") && !recorded.end("a") && recorded.end("b"));
        recorded.forget("a");
        assert!(!recorded.has_begun("a", first));
        assert!(recorded.end("a") && !recorded.end("b"));
    }
}
