//! Where every decision about a session is recorded.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use tka_core::Session;
use tokio::sync::watch;

use crate::EndReason;

/// Keeps the record of what is decided about sessions.
///
/// Each decision is recorded at least once, wherever a server is cut off: that a session is given before it can be used, that it ended before its
/// `TkaSignin` is gone.
pub trait Records: Send + Sync {
    /// Records that `session` began, or that it is `extended`. Unless this returns well it is not given.
    fn began<'a>(&'a self, session: &'a Session, extended: bool) -> BoxFuture<'a, Result<(), NotRecorded>>;

    /// Records that `session` ended. Its access is gone by then. Returns when the record is written, or told where else it may be found; until then its
    /// `TkaSignin` is kept.
    fn ended<'a>(&'a self, session: &'a Session, how: &'a EndReason) -> BoxFuture<'a, ()>;
}

/// Why something was not recorded.
pub type NotRecorded = Box<dyn StdError + Send + Sync>;

/// How long something is remembered that no `TkaSignin` is seen of: longer than a request may try again, and than anybody hears late of what began.
const REMEMBERED: Duration = Duration::from_mins(1);

/// What this process has recorded of what it has not brought to its end yet, and tries again, by UID.
#[derive(Debug, Default)]
pub(crate) struct Recorded(Mutex<HashMap<String, Known>>);

#[derive(Debug)]
struct Known {
    since: Instant,
    /// The sign-in that is recorded.
    begun: Option<Timestamp>,
    /// Whether the end is written.
    end: Option<watch::Receiver<bool>>,
}

// === impl Recorded ===

impl Recorded {
    /// Whether the beginning is recorded.
    pub(crate) fn has_begun(&self, uid: &str, signed_in: Timestamp) -> bool {
        let all = self.all();
        all.get(uid).is_some_and(|known| known.begun == Some(signed_in))
    }

    /// The beginning is recorded, at `now`.
    pub(crate) fn begun(&self, uid: &str, signed_in: Timestamp, now: Instant) {
        let mut all = self.all();
        all.entry(uid.to_owned()).or_insert(Known::new(now)).begun = Some(signed_in);
    }

    /// Says whether the end is written, if it is being recorded.
    pub(crate) fn end(&self, uid: &str) -> Option<watch::Receiver<bool>> {
        let end = self.all().get(uid)?.end.clone()?;
        // The task that recorded it may have been cut off.
        let goes_on = *end.borrow() || end.has_changed().is_ok();
        goes_on.then_some(end)
    }

    /// The end is being recorded, since `now`, and is when `written` says so.
    pub(crate) fn ending(&self, uid: &str, written: watch::Receiver<bool>, now: Instant) {
        let mut all = self.all();
        all.entry(uid.to_owned()).or_insert(Known::new(now)).end = Some(written);
    }

    /// There is nothing left to try again.
    pub(crate) fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// Forgets at `now` what another brought to its end: all but those of which `is_there` holds, by UID.
    pub(crate) fn retain(&self, now: Instant, is_there: impl Fn(&str) -> bool) {
        let is_young = |known: &Known| now.saturating_duration_since(known.since) < REMEMBERED;
        self.all().retain(|uid, known| is_young(known) || is_there(uid));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn new(since: Instant) -> Self {
        Self {
            since,
            begun: None,
            end: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_again_is_recorded_once_and_what_comes_later_anew() {
        let (recorded, first, now) = (Recorded::default(), Timestamp::UNIX_EPOCH, Instant::now());
        assert!(!recorded.has_begun("a", first));
        recorded.begun("a", first, now);
        assert!(recorded.has_begun("a", first) && !recorded.has_begun("b", first));
        assert!(!recorded.has_begun("a", Timestamp::MAX));
        let (tell, written) = watch::channel(false);
        recorded.ending("a", written, now);
        assert!(recorded.end("a").is_some() && recorded.end("b").is_none());
        recorded.forget("a");
        assert!(!recorded.has_begun("a", first) && recorded.end("a").is_none());
        drop(tell);
    }

    #[test]
    fn end_is_recorded_anew_when_whoever_did_was_cut_off() {
        let (recorded, now) = (Recorded::default(), Instant::now());
        let (tell, written) = watch::channel(false);
        recorded.ending("a", written, now);
        drop(tell);
        assert!(recorded.end("a").is_none());
        let (tell, written) = watch::channel(false);
        recorded.ending("a", written, now);
        tell.send_replace(true);
        drop(tell);
        assert!(recorded.end("a").is_some_and(|written| *written.borrow()));
    }

    #[test]
    fn what_another_brought_to_its_end_is_forgotten() {
        let (recorded, first, now) = (Recorded::default(), Timestamp::UNIX_EPOCH, Instant::now());
        for uid in ["gone", "there"] {
            recorded.begun(uid, first, now);
        }
        let there = || ["gone", "there"].map(|uid| recorded.has_begun(uid, first));
        recorded.retain(now + REMEMBERED / 2, |uid| uid == "there");
        assert_eq!(there(), [true, true], "it may not have been seen yet");
        recorded.retain(now + REMEMBERED, |uid| uid == "there");
        assert_eq!(there(), [false, true]);
    }
}
