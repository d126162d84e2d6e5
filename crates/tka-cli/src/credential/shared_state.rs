//! State that calls of kubectl share. It is not secret: which call asks the server, when a credential was handed out, the last failure.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::cache::RECHECK;
use super::files;
use super::parent_process::ParentProcess;
use crate::exit::Exit;
use crate::sys::files::regular;

/// How long a failure is valid. Tools repeat their calls while nothing has changed.
const FAILURE_TTL: Duration = Duration::from_secs(5);
/// Calls of one process within this time belong together, as kubectl's first requests do.
const REPEAT_WINDOW: Duration = Duration::from_millis(1500);

/// The shared state of one session.
#[derive(Clone, Debug)]
pub(crate) struct SharedState {
    folder: PathBuf,
    name: String,
}

/// Why there was no credential.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct FetchFailure {
    pub(crate) at: Timestamp,
    pub(crate) status: u8,
    pub(crate) text: String,
    /// The processes that printed this failure or the one before. kubectl asks several times, and its user reads it once.
    #[serde(rename = "told")]
    pub(crate) notified: Vec<Notified>,
}

/// A process that printed the failure, and when it last asked.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Notified {
    #[serde(rename = "asker")]
    pub(crate) parent: ParentProcess,
    pub(crate) at: Timestamp,
}

/// The lock for asking the server. It is released when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct FetchLock(#[expect(dead_code, reason = "holds the lock")] File);

// === impl FetchFailure ===

impl FetchFailure {
    pub(crate) fn new(at: Timestamp, exit: Exit, text: String) -> Self {
        Self {
            at,
            status: exit as u8,
            text,
            notified: vec![],
        }
    }

    /// Whether the failure is valid for a call that began at `began`. With `has_cached` there is a credential to hand out, so it is valid for
    /// longer.
    pub(crate) fn applies(&self, has_cached: bool, began: Timestamp, now: Timestamp) -> bool {
        let ttl = if has_cached { RECHECK } else { FAILURE_TTL };
        // A call that waited for the failed one shares its result.
        is_within(ttl, self.at, now) || began <= self.at && self.at <= now
    }

    /// Whether the server refused, rather than failed to respond.
    pub(crate) fn is_refusal(&self) -> bool {
        [Exit::NotSignedIn, Exit::Refused, Exit::Policy]
            .map(|exit| exit as u8)
            .contains(&self.status)
    }

    /// Records that `parent` prints the failure. Returns whether it has not printed it recently.
    pub(crate) fn mark_notified(&mut self, parent: Option<ParentProcess>, now: Timestamp) -> bool {
        self.notified
            .retain(|notified| is_within(REPEAT_WINDOW, notified.at, now));
        let Some(parent) = parent else { return true };
        let before = self.notified.len();
        self.notified.retain(|notified| notified.parent != parent);
        let is_new = self.notified.len() == before;
        self.notified.push(Notified { parent, at: now });
        is_new
    }
}

/// Whether `then` is less than `limit` ago. False if the clock was set back.
pub(crate) fn is_within(limit: Duration, then: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(then);
    !age.is_negative() && age.unsigned_abs() < limit
}

// === impl SharedState ===

impl SharedState {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Waits until no other call asks the server for this session.
    pub(crate) fn lock(&self) -> io::Result<FetchLock> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path("lock"))?;
        file.lock()?;
        Ok(FetchLock(file))
    }

    /// Records that a credential is handed out. Returns whether one was within `limit`, or whether that cannot be recorded.
    ///
    /// The file is replaced, since a call that reads it half written would hand out a refused credential again. Calls write in another order
    /// than they began, so another's time may be a moment later than `now`, and counts.
    pub(crate) fn mark_handed_out(&self, now: Timestamp, limit: Duration) -> bool {
        let path = self.path("given");
        let last = regular::read_text(&path).ok().and_then(|text| text.trim().parse().ok());
        let is_recorded = files::write_unsynced(&path, now.to_string().as_bytes()).is_ok();
        let is_near = |last: Timestamp| now.duration_since(last).unsigned_abs() < limit;
        !is_recorded || last.is_some_and(is_near)
    }

    /// The last failure.
    pub(crate) fn failure(&self) -> Option<FetchFailure> {
        serde_json::from_slice(&regular::read(&self.path("failed")).ok()?).ok()
    }

    pub(crate) fn record_failure(&self, failure: &FetchFailure) -> io::Result<()> {
        files::write(&self.path("failed"), &serde_json::to_vec(failure)?)
    }

    /// Removes the failure, since there is a new credential.
    pub(crate) fn clear_failure(&self) -> io::Result<()> {
        files::remove(&self.path("failed"))
    }

    /// Removes stale files of other sessions.
    pub(crate) fn remove_stale(&self) {
        files::remove_stale(&self.folder, |_| ());
    }

    /// Removes the state of this session.
    pub(crate) fn remove(&self) {
        for kind in ["failed", "given", "lock"] {
            // The file may not exist.
            let _ = fs::remove_file(self.path(kind));
        }
    }

    /// Removes the state of all sessions whose names `is_selected` accepts.
    pub(crate) fn remove_all(folder: &Path, is_selected: impl Fn(&str) -> bool) -> io::Result<()> {
        // Lock files stay: another call may hold one.
        for kind in ["failed", "given"] {
            for name in files::stems(folder, kind).iter().filter(|name| is_selected(name)) {
                files::remove(&Self::new(folder, name).path(kind))?;
            }
        }
        Ok(())
    }

    fn path(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::super::parent_process::tests::parent;
    use super::*;

    #[test]
    fn failure_is_valid_for_a_moment_and_for_waiting_calls() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let failure = FetchFailure {
            at: at(100),
            status: 3,
            text: "no".into(),
            notified: vec![],
        };
        assert!(failure.applies(false, at(104), at(104)));
        assert!(!failure.applies(false, at(105), at(105)));
        assert!(failure.applies(true, at(119), at(119)) && !failure.applies(true, at(120), at(120)));
        assert!(failure.applies(false, at(90), at(130)), "waited 40 s for it");
        assert!(!failure.applies(true, at(99), at(99)), "the clock was set back");
    }

    #[test]
    fn unrecorded_credential_counts_as_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(10).unwrap();
        assert!(!SharedState::new(folder.path(), "a").mark_handed_out(now, RECHECK));
        assert!(SharedState::new(folder.path(), "a").mark_handed_out(now, RECHECK));
        assert!(SharedState::new(&folder.path().join("gone"), "a").mark_handed_out(now, RECHECK));
    }

    #[test]
    fn concurrent_calls_see_that_it_was_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_second(10).unwrap();
        let mark = || SharedState::new(folder.path(), "a").mark_handed_out(now, RECHECK);
        assert!(!mark());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| assert!((0..500).all(|_| mark())));
            }
        });
    }

    /// A call that began first may be the last one that reads.
    #[test]
    fn call_that_was_overtaken_sees_that_it_was_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let mark = |milli| {
            let now = Timestamp::from_millisecond(milli).unwrap();
            SharedState::new(folder.path(), "a").mark_handed_out(now, RECHECK)
        };
        assert!(!mark(100_001));
        assert!(mark(100_000), "the other call began later");
        assert!(mark(81_000));
        assert!(!mark(0), "the clock was set back");
    }

    #[test]
    fn process_is_notified_again_after_the_repeat_window() {
        let at = |milli| Timestamp::from_millisecond(milli).unwrap();
        let mut failure = FetchFailure::new(at(0), Exit::Failure, "no".into());
        let asks = [
            (1, 0),
            (2, 0),
            (1, 1000),
            (2, 1400),
            (1, 2499),
            (1, 3999),
            (2, 3999),
            (1, 3000),
        ];
        let is_new = asks.map(|(process, milli)| failure.mark_notified(Some(parent(process)), at(milli)));
        assert_eq!(is_new, [true, true, false, false, false, true, true, true]);
        let by_unknown = [4000, 4000].map(|milli| failure.mark_notified(None, at(milli)));
        assert_eq!(by_unknown, [true; 2], "the parent is unknown");
    }
}
