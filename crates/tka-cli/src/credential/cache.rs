//! One session's credential, and the last failure to get one, shared by all calls of kubectl.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tka_api::exec::ExecCredential;

use crate::server::Server;

/// How long before its end a credential is renewed, at the most: longer than any one request of kubectl's takes to begin.
const MARGIN: Duration = Duration::from_mins(1);
/// How long a failure is remembered. Tools ask again and again, and each time nothing has changed.
const REMEMBERED: Duration = Duration::from_secs(5);
/// How long what nobody touches is kept: the server's longest credential is a day's by any setting that makes sense.
const UNTOUCHED: Duration = Duration::from_hours(24);
/// Names of sessions are DNS labels; anything else has no place in a file name.
const LONGEST_NAME: usize = 63;

/// Where the credential of one session is kept.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    stem: String,
}

/// A credential as it is kept.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Kept {
    /// When it was fetched.
    fetched: Timestamp,
    pub(crate) credential: ExecCredential,
}

/// Why there was no credential.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Failure {
    pub(crate) at: Timestamp,
    pub(crate) status: u8,
    pub(crate) text: String,
    /// The process that was told: kubectl asks several times, and its reader needs to read it once.
    pub(crate) told: u32,
}

/// The turn to ask the server. It ends when this is dropped, or its process does.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "holds the lock")] File);

// === impl Kept ===

impl Kept {
    /// A credential that was fetched now.
    pub(crate) fn new(credential: ExecCredential, now: Timestamp) -> Self {
        Self {
            fetched: now,
            credential,
        }
    }

    /// Whether it was fetched after `other`.
    pub(crate) fn is_newer_than(&self, other: Option<Timestamp>) -> bool {
        other.is_none_or(|other| other < self.fetched)
    }

    /// When it was fetched.
    pub(crate) fn fetched(&self) -> Timestamp {
        self.fetched
    }

    /// Whether it will last. The last credential of a session lives as long as that, however short that is.
    fn is_good(&self, now: Timestamp) -> bool {
        let end = self.credential.status.expiration_timestamp;
        let life = end.duration_since(self.fetched);
        let margin = jiff::SignedDuration::try_from(MARGIN)
            .unwrap_or_default()
            .min(life / 10);
        // A clock that was set back must not keep it alive.
        self.fetched <= now && now < end && end.duration_since(now) > margin
    }
}

// === impl Failure ===

impl Failure {
    /// Whether it still holds for a call that began at `began`.
    pub(crate) fn holds(&self, began: Timestamp, now: Timestamp) -> bool {
        let age = now.duration_since(self.at);
        let is_recent = !age.is_negative() && age.unsigned_abs() < REMEMBERED;
        // Whoever waited for the one that failed has its answer.
        is_recent || began <= self.at && self.at <= now
    }
}

// === impl Cache ===

impl Cache {
    /// The place of `session` at `server` in `folder`; none for what cannot be a session's name.
    pub(crate) fn new(folder: &Path, server: &Server, session: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=LONGEST_NAME).contains(&session.len()) && session.bytes().all(plain);
        is_name.then(|| Self {
            folder: folder.to_owned(),
            stem: format!("{}_{session}", server.file_stem()),
        })
    }

    /// Forgets all sessions at `server`.
    pub(crate) fn forget_all(folder: &Path, server: &Server) -> io::Result<()> {
        let prefix = format!("{}_", server.file_stem());
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let is_of_server = entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix));
            // One that is locked is asked for at this moment, and goes with the folder.
            let is_lock = entry.path().extension().is_some_and(|extension| extension == "lock");
            if is_of_server && !is_lock {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Forgets this session, which is over.
    #[cfg(unix)]
    pub(crate) fn forget(&self) {
        for extension in ["json", "failed", "given", "lock"] {
            // There may be none.
            let _ = fs::remove_file(self.path(extension));
        }
    }

    /// The credential, if it will last. One that cannot be read, or that was cut off while it was written, is none.
    pub(crate) fn credential(&self, now: Timestamp) -> Option<Kept> {
        let kept: Kept = self.read("json")?;
        kept.is_good(now).then_some(kept)
    }

    /// Notes that `process` gets the credential that is kept. Whether it had it before: whoever asks again was refused with it.
    pub(crate) fn give_to(&self, process: u32) -> bool {
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

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.read("failed")
    }

    /// Keeps a credential; an earlier failure is history, and so is what other sessions left long ago.
    pub(crate) fn keep(&self, kept: &Kept) -> io::Result<()> {
        self.write("json", kept)?;
        tidy(&self.folder);
        // Of the one before.
        for extension in ["failed", "given"] {
            match fs::remove_file(self.path(extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets the credential, of a session that is over.
    pub(crate) fn drop_credential(&self) {
        // If it stays the API server refuses it.
        let _ = fs::remove_file(self.path("json"));
    }

    pub(crate) fn remember(&self, failure: &Failure) -> io::Result<()> {
        self.write("failed", failure)
    }

    /// Waits until nobody else asks the server for this session.
    pub(crate) fn turn(&self) -> io::Result<Turn> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(self.path("lock"))?;
        file.lock()?;
        Ok(Turn(file))
    }

    fn path(&self, extension: &str) -> PathBuf {
        self.folder.join(format!("{}.{extension}", self.stem))
    }

    fn read<T: serde::de::DeserializeOwned>(&self, extension: &str) -> Option<T> {
        serde_json::from_slice(&fs::read(self.path(extension)).ok()?).ok()
    }

    /// In one step, and readable by its owner only.
    fn write(&self, extension: &str, value: &impl Serialize) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
        file.write_all(&serde_json::to_vec(value)?)?;
        file.persist(self.path(extension)).map_err(|error| error.error)?;
        Ok(())
    }
}

/// Removes what nobody has touched for longer than any credential lives.
fn tidy(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let touched = entry.metadata().and_then(|metadata| metadata.modified());
        let age = touched.ok().and_then(|touched| touched.elapsed().ok());
        // Locks are never written to, and one may be held.
        let is_lock = entry.path().extension().is_some_and(|extension| extension == "lock");
        if !is_lock && age.is_some_and(|age| age > UNTOUCHED) {
            // Another may have been faster.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_api::Token;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn kept(fetched: i64, expires: i64) -> Kept {
        let credential = ExecCredential::new(Token::from("secret".to_owned()), at(expires));
        Kept::new(credential, at(fetched))
    }

    fn cache(folder: &Path) -> Cache {
        let server = Server::new("tka", 8080, None).unwrap();
        Cache::new(folder, &server, "tka-alice-abc").unwrap()
    }

    #[test]
    fn credential_is_renewed_before_its_end() {
        let hour = kept(1000, 4600);
        for (now, good) in [(999, false), (1000, true), (4539, true), (4540, false), (4600, false)] {
            assert_eq!(hour.is_good(at(now)), good, "{now}");
        }
        let short = kept(1000, 1005);
        assert!(short.is_good(at(1004)) && !short.is_good(at(1005)));
    }

    #[test]
    fn failure_holds_for_a_moment_and_for_whoever_waited_for_it() {
        let failure = Failure {
            at: at(100),
            status: 3,
            text: "no".into(),
            told: 1,
        };
        assert!(failure.holds(at(104), at(104)));
        assert!(!failure.holds(at(105), at(105)));
        assert!(failure.holds(at(90), at(130)), "waited 40 s for it");
        assert!(!failure.holds(at(99), at(99)), "the clock was set back");
    }

    #[test]
    fn names_that_are_no_sessions_have_no_place() {
        let server = Server::new("tka", 443, None).unwrap();
        for name in ["", "..", "a/b", "A", "a.b", "ü", &"a".repeat(64)] {
            assert!(Cache::new(Path::new("/x"), &server, name).is_none(), "{name}");
        }
    }

    #[test]
    fn what_is_kept_is_private_and_found_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        assert!(cache.credential(at(1000)).is_none());
        cache
            .remember(&Failure {
                at: at(1),
                status: 3,
                text: "no".into(),
                told: 1,
            })
            .unwrap();
        cache.keep(&kept(1000, 4600)).unwrap();
        assert_eq!(cache.failure(), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(fs::metadata(cache.path("json")).unwrap().mode() & 0o777, 0o600);
        }
        let found = cache.credential(at(1000)).unwrap();
        assert_eq!(found.credential.status.token.expose(), "secret");
        Cache::forget_all(folder.path(), &Server::new("other", 8080, None).unwrap()).unwrap();
        assert!(cache.credential(at(1000)).is_some());
        Cache::forget_all(folder.path(), &Server::new("tka", 8080, None).unwrap()).unwrap();
        assert!(cache.credential(at(1000)).is_none());
    }

    #[test]
    fn damaged_and_half_written_files_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        cache.keep(&kept(1000, 4600)).unwrap();
        let whole = fs::read(cache.path("json")).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"", b"{}", b"\xff\xfe", b"null"] {
            fs::write(cache.path("json"), damaged).unwrap();
            assert!(cache.credential(at(1000)).is_none());
        }
        cache.keep(&kept(1000, 4600)).unwrap();
        assert!(cache.credential(at(1000)).is_some());
    }
}
