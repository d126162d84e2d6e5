//! What calls of kubectl tell each other that is no secret: whose turn it is, who has which credential, why there is none.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::files;

/// How long a failure is remembered. Tools ask again and again, and each time nothing has changed.
const REMEMBERED: Duration = Duration::from_secs(5);

/// The notes of one session.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    folder: PathBuf,
    name: String,
}

/// Why there was no credential.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Failure {
    pub(super) at: Timestamp,
    pub(super) status: u8,
    pub(super) text: String,
    /// The process that was told: kubectl asks several times, and its reader needs to read it once. None where that is not known.
    pub(super) told: Option<u32>,
}

/// The turn to ask the server. It ends when this is dropped, or its process does.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "holds the lock")] File);

// === impl Failure ===

impl Failure {
    /// Whether it still holds for a call that began at `began`.
    pub(super) fn holds(&self, began: Timestamp, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        let is_recent = !age.is_negative() && age.unsigned_abs() < REMEMBERED;
        // Whoever waited for the one that failed has its answer.
        is_recent || began <= self.at && self.at <= now
    }
}

// === impl Notes ===

impl Notes {
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            name: name.to_owned(),
        }
    }

    /// Waits until nobody else asks the server for this session.
    pub(super) fn turn(&self) -> io::Result<Turn> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path("lock"))?;
        file.lock()?;
        Ok(Turn(file))
    }

    /// Notes that `process` gets the credential that is kept. Whether it had it before: whoever asks again was refused with it.
    pub(super) fn give_to(&self, process: u32) -> bool {
        let path = self.path("given");
        let line = format!("{process}\n");
        let given = fs::read_to_string(&path).unwrap_or_default();
        if given.lines().any(|had| had == line.trim_end()) {
            return true;
        }
        // What cannot be noted is asked for once more than it must be.
        let file = OpenOptions::new().create(true).append(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
        false
    }

    /// The last failure.
    pub(super) fn failure(&self) -> Option<Failure> {
        serde_json::from_slice(&fs::read(self.path("failed")).ok()?).ok()
    }

    pub(super) fn remember(&self, failure: &Failure) -> io::Result<()> {
        files::write(&self.path("failed"), &serde_json::to_vec(failure)?)
    }

    /// There is another credential: what was noted is history.
    pub(super) fn begin_anew(&self) -> io::Result<()> {
        files::remove(&self.path("failed"))?;
        files::remove(&self.path("given"))
    }

    /// Forgets what other sessions left long ago.
    pub(super) fn tidy(&self) {
        files::tidy(&self.folder, |_| ());
    }

    /// Forgets this session.
    pub(super) fn forget(&self) {
        for kind in ["failed", "given", "lock"] {
            // There may be none.
            let _ = fs::remove_file(self.path(kind));
        }
    }

    /// Forgets what is noted of all sessions whose names begin with `prefix`.
    pub(super) fn forget_all(folder: &Path, prefix: &str) -> io::Result<()> {
        // One that is locked is asked for at this moment, and goes with the folder.
        for kind in ["failed", "given"] {
            for name in files::stems(folder, kind)
                .iter()
                .filter(|name| name.starts_with(prefix))
            {
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
    use super::*;

    #[test]
    fn failure_holds_for_a_moment_and_for_whoever_waited_for_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let failure = Failure {
            at: at(100),
            status: 3,
            text: "no".into(),
            told: Some(1),
        };
        assert!(failure.holds(at(104), at(104)));
        assert!(!failure.holds(at(105), at(105)));
        assert!(failure.holds(at(90), at(130)), "waited 40 s for it");
        assert!(!failure.holds(at(99), at(99)), "the clock was set back");
    }

    #[test]
    fn whoever_asks_again_is_known_until_there_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let notes = Notes::new(folder.path(), "a");
        let given = [1, 11, 1, 11].map(|process| notes.give_to(process));
        assert_eq!(given, [false, false, true, true]);
        notes.begin_anew().unwrap();
        assert!(!notes.give_to(1));
    }
}
