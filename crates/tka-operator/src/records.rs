//! Where every decision about a session is recorded.

use std::error::Error as StdError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use jiff::Timestamp;
use kube::ResourceExt;
use tka_api::resource::TkaSignin;
use tka_core::Session;
use tokio::sync::watch;

use crate::EndReason;
use crate::per_session::PerSession;

/// Keeps the record of what is decided about sessions.
///
/// Each decision is recorded at least once, wherever a server is cut off. That a session is given is recorded before it can be used. That it ended is
/// recorded before its `TkaSignin` is gone.
pub trait Records: Send + Sync {
    /// Records that `session` began, or that it is `extended`. Unless this returns well it is not given.
    fn began<'a>(&'a self, session: &'a Session, extended: bool) -> BoxFuture<'a, Result<(), NotRecorded>>;

    /// Records that `session` ended. Its access is gone by then. Returns when the record is written, or told where else it may be found; until then its
    /// `TkaSignin` is kept.
    fn ended<'a>(&'a self, session: &'a Session, how: &'a EndReason) -> BoxFuture<'a, ()>;
}

/// Why something was not recorded.
pub type NotRecorded = Box<dyn StdError + Send + Sync>;

/// How long something is remembered of which no `TkaSignin` is seen. That is longer than a request may be tried again, and than a watch tells late of
/// what began.
const REMEMBERED: Duration = Duration::from_mins(1);

/// What this process has recorded of what it has not brought to its end yet, and tries again, by the object's UID.
#[derive(Debug, Default)]
pub(crate) struct RecordedSessions(Mutex<PerSession<String, RecordedSession>>);

#[derive(Debug)]
struct RecordedSession {
    since: Instant,
    /// The sign-in that is recorded.
    begun: Option<Timestamp>,
    /// Whether the end is written.
    end: Option<watch::Receiver<bool>>,
}

// === impl RecordedSessions ===

impl RecordedSessions {
    /// Whether the beginning is recorded of the session that `signin` holds.
    pub(crate) fn has_begun(&self, signin: &TkaSignin, signed_in: Timestamp) -> bool {
        let all = self.all();
        let known = all.get(&signin.name_any(), &uid(signin));
        known.is_some_and(|known| known.begun == Some(signed_in))
    }

    /// The beginning is recorded, at `now`.
    pub(crate) fn begun(&self, signin: &TkaSignin, signed_in: Timestamp, now: Instant) {
        self.change(signin, now, |known| known.begun = Some(signed_in));
    }

    /// Says whether the end is written, if it is being recorded.
    pub(crate) fn end(&self, signin: &TkaSignin) -> Option<watch::Receiver<bool>> {
        let end = self.all().get(&signin.name_any(), &uid(signin))?.end.clone()?;
        // The task that recorded it may have been cut off.
        let goes_on = *end.borrow() || end.has_changed().is_ok();
        goes_on.then_some(end)
    }

    /// The end is being recorded, since `now`, and is when `written` says so.
    pub(crate) fn recording_end(&self, signin: &TkaSignin, written: watch::Receiver<bool>, now: Instant) {
        self.change(signin, now, |known| known.end = Some(written));
    }

    /// There is nothing left to try again.
    pub(crate) fn forget(&self, signin: &TkaSignin) {
        self.all().remove(&signin.name_any(), &uid(signin));
    }

    /// Forgets at `now` what another brought to its end: all but those of which `is_there` holds, by UID.
    pub(crate) fn retain(&self, now: Instant, is_there: impl Fn(&str) -> bool) {
        let is_young = |known: &RecordedSession| now.saturating_duration_since(known.since) < REMEMBERED;
        self.all().retain(|_, uid, known| is_young(known) || is_there(uid));
    }

    fn change(&self, signin: &TkaSignin, now: Instant, change: impl FnOnce(&mut RecordedSession)) {
        let mut all = self.all();
        let unknown = || RecordedSession {
            since: now,
            begun: None,
            end: None,
        };
        change(all.get_or_insert_with(&signin.name_any(), uid(signin), unknown));
    }

    fn all(&self) -> MutexGuard<'_, PerSession<String, RecordedSession>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn uid(signin: &TkaSignin) -> String {
    signin.uid().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{examples, objects};

    /// An object of that UID, under a name of its own.
    fn signin(uid: &str) -> TkaSignin {
        let mut signin = objects::signin(&examples::session("1h", Timestamp::UNIX_EPOCH), None, "tka");
        signin.metadata.name = Some(format!("tka-{uid}"));
        signin.metadata.uid = Some(uid.to_owned());
        signin
    }

    #[test]
    fn retry_is_recorded_once_and_a_later_sign_in_anew() {
        let (recorded, first, now) = (RecordedSessions::default(), Timestamp::UNIX_EPOCH, Instant::now());
        assert!(!recorded.has_begun(&signin("a"), first));
        recorded.begun(&signin("a"), first, now);
        assert!(recorded.has_begun(&signin("a"), first) && !recorded.has_begun(&signin("b"), first));
        assert!(!recorded.has_begun(&signin("a"), Timestamp::MAX));
        let (tell, written) = watch::channel(false);
        recorded.recording_end(&signin("a"), written, now);
        assert!(recorded.end(&signin("a")).is_some() && recorded.end(&signin("b")).is_none());
        recorded.forget(&signin("a"));
        assert!(!recorded.has_begun(&signin("a"), first) && recorded.end(&signin("a")).is_none());
        drop(tell);
    }

    #[test]
    fn end_is_recorded_anew_when_its_task_was_cut_off() {
        let (recorded, now) = (RecordedSessions::default(), Instant::now());
        let (tell, written) = watch::channel(false);
        recorded.recording_end(&signin("a"), written, now);
        drop(tell);
        assert!(recorded.end(&signin("a")).is_none());
        let (tell, written) = watch::channel(false);
        recorded.recording_end(&signin("a"), written, now);
        tell.send_replace(true);
        drop(tell);
        assert!(recorded.end(&signin("a")).is_some_and(|written| *written.borrow()));
    }

    #[test]
    fn what_another_brought_to_its_end_is_forgotten() {
        let (recorded, first, now) = (RecordedSessions::default(), Timestamp::UNIX_EPOCH, Instant::now());
        for uid in ["gone", "there"] {
            recorded.begun(&signin(uid), first, now);
        }
        let there = || ["gone", "there"].map(|uid| recorded.has_begun(&signin(uid), first));
        recorded.retain(now + REMEMBERED / 2, |uid| uid == "there");
        assert_eq!(there(), [true, true], "it may not have been seen yet");
        recorded.retain(now + REMEMBERED, |uid| uid == "there");
        assert_eq!(there(), [false, true]);
    }
}
