//! Changing a kubeconfig that is not ours as kubectl does, and with more care: locked, in one step, and with a copy of what was.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::MergeError;
use crate::signals::Hold;
use crate::store;
use tka_kubeconfig::Document;

/// How long another program may take: kubectl has the lock for milliseconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// A file cannot be watched for its end by what every system has.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A kubeconfig that is not ours, and that kubectl does not change meanwhile.
#[derive(Debug)]
pub(crate) struct UserFile {
    path: PathBuf,
    document: Document,
    is_there: bool,
    _lock: Lock,
}

/// kubectl's lock on a file: another one beside it, which only one can make
/// (<https://github.com/kubernetes/client-go/blob/v0.34.0/tools/clientcmd/loader.go>, `lockFile`).
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    /// Whoever leaves it behind keeps kubectl from the file for good.
    _hold: Hold,
}

// === impl UserFile ===

impl UserFile {
    /// What the file says, as long as nobody changes it; empty where it is not there.
    pub(crate) fn peek(path: &Path) -> Result<Document, MergeError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(unreadable(path, source)),
        };
        Document::parse(text).map_err(|source| MergeError::Refused {
            path: path.to_owned(),
            source,
        })
    }

    /// Locks the file and reads it. Waits at most for `limit`.
    pub(crate) fn open(path: &Path, limit: Duration) -> Result<Self, MergeError> {
        let failed = |source| MergeError::Write {
            path: path.to_owned(),
            source,
        };
        if let Some(folder) = path.parent() {
            store::create_private(folder).map_err(failed)?;
        }
        let lock = Lock::take(path, limit.min(PATIENCE))?;
        let is_there = match fs::metadata(path) {
            Ok(found) if found.permissions().readonly() => {
                return Err(MergeError::ReadOnly { path: path.to_owned() });
            }
            Ok(found) if found.is_file() => true,
            // What a shell gives as /dev/fd/63, and the like.
            Ok(_) => return Err(unreadable(path, io::Error::other("it is not a file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
                // What it leads to may come back, and a file in the link's place would be in its way.
                Ok(target) => {
                    return Err(MergeError::Dangling {
                        path: path.to_owned(),
                        target,
                    });
                }
                Err(_) => false,
            },
            Err(source) => return Err(unreadable(path, source)),
        };
        Ok(Self {
            path: path.to_owned(),
            document: Self::peek(path)?,
            is_there,
            _lock: lock,
        })
    }

    /// Whether it could be changed, found out without leaving a trace.
    pub(crate) fn check(path: &Path, limit: Duration) -> Result<(), MergeError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        if folder.is_dir() {
            Self::open(path, limit)?;
        }
        let real = path.canonicalize().ok();
        let folders = [Some(folder), real.as_deref().and_then(Path::parent)];
        let mut folders = folders.into_iter().flatten();
        folders.try_for_each(|folder| {
            store::writable(folder).map_err(|(_, source)| MergeError::Write {
                path: path.to_owned(),
                source,
            })
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// Whether it was there before.
    pub(crate) fn is_there(&self) -> bool {
        self.is_there
    }

    /// Replaces the file, one behind a symbolic link there. The first time what was there is kept beside it.
    pub(crate) fn save(&self, document: &Document) -> Result<(), MergeError> {
        if document.text() == self.document.text() {
            return Ok(());
        }
        self.replace(document).map_err(|source| MergeError::Write {
            path: self.path.clone(),
            source,
        })
    }

    pub(crate) fn remove(self) -> Result<(), MergeError> {
        fs::remove_file(&self.path).map_err(|source| MergeError::Write {
            path: self.path.clone(),
            source,
        })
    }

    fn replace(&self, document: &Document) -> io::Result<()> {
        let target = if self.is_there {
            fs::canonicalize(&self.path)?
        } else {
            self.path.clone()
        };
        if self.is_there {
            self.back_up(&target)?;
        }
        let file = written(&target, &target, document.text().as_bytes())?;
        file.persist(&target).map_err(|error| error.error)?;
        Ok(())
    }

    /// Keeps what was there before us. What is kept already is older, and better.
    fn back_up(&self, target: &Path) -> io::Result<()> {
        let backup = beside(&self.path, ".tka-backup");
        if fs::symlink_metadata(&backup).is_ok() {
            return Ok(());
        }
        let file = written(&backup, target, self.document.text().as_bytes())?;
        match file.persist_noclobber(&backup) {
            Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
            _ => Ok(()),
        }
    }
}

/// A new file beside `path`, whole on the disk, with the owner and permissions of `like` where that is there.
fn written(path: &Path, like: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".tka-")
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(bytes)?;
    match fs::metadata(like) {
        Ok(found) => belong_like(file.as_file(), &found)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(unix)]
fn belong_like(file: &File, like: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let own = file.metadata()?;
    if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
        fchown(file, Some(like.uid()), Some(like.gid()))?;
    }
    file.set_permissions(like.permissions())
}

#[cfg(not(unix))]
fn belong_like(file: &File, like: &fs::Metadata) -> io::Result<()> {
    file.set_permissions(like.permissions())
}

fn unreadable(path: &Path, source: io::Error) -> MergeError {
    MergeError::Unreadable {
        path: path.to_owned(),
        source,
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

// === impl Lock ===

impl Lock {
    fn take(path: &Path, limit: Duration) -> Result<Self, MergeError> {
        let lock = beside(path, ".lock");
        let until = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let path = path.to_owned();
            match Self::make(&lock) {
                Ok(lock) => return Ok(lock),
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(MergeError::Write { path, source });
                }
                Err(_) if Instant::now() >= until => return Err(MergeError::Locked { path, lock }),
                Err(_) => thread::sleep(pause),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn make(path: &Path) -> io::Result<Self> {
        // Signals are held back from before it is there, and not while another is waited for.
        let hold = Hold::new();
        OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            _hold: hold,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    const NOW: Duration = Duration::ZERO;

    fn document(text: &str) -> Document {
        Document::parse(text.to_owned()).unwrap()
    }

    fn save(path: &Path, text: &str) {
        UserFile::open(path, NOW).unwrap().save(&document(text)).unwrap();
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn first_copy_is_kept_and_permissions_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "x: one\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        save(&path, "x: one\n");
        assert_eq!(names(folder.path()), ["config"], "nothing changed");
        save(&path, "x: two\n");
        save(&path, "x: three\n");
        let backup = folder.path().join("config.tka-backup");
        assert_eq!(fs::read_to_string(&backup).unwrap(), "x: one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "x: three\n");
        assert_eq!((mode(&path), mode(&backup)), (0o640, 0o640));
        assert_eq!(names(folder.path()), ["config", "config.tka-backup"]);
    }

    #[test]
    fn new_file_is_private_and_has_no_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/config");
        save(&path, "x: one\n");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(names(path.parent().unwrap()), ["config"]);
    }

    #[test]
    fn file_behind_a_link_is_changed_there() {
        let (folder, dotfiles) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (path, real) = (folder.path().join("config"), dotfiles.path().join("kube"));
        fs::write(&real, "x: one\n").unwrap();
        symlink(&real, &path).unwrap();
        save(&path, "x: two\n");
        assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&real).unwrap(), "x: two\n");
        assert_eq!(names(dotfiles.path()), ["kube"]);
    }

    #[test]
    fn owner_stays_the_owner() {
        if !crate::untested::is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "x: one\n").unwrap();
        std::os::unix::fs::chown(&path, Some(12345), Some(54321)).unwrap();
        save(&path, "x: two\n");
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (12345, 54321));
    }

    #[test]
    fn lock_is_kubectls_and_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (path, lock) = (folder.path().join("config"), folder.path().join("config.lock"));
        let held = UserFile::open(&path, NOW).unwrap();
        assert!(lock.exists());
        assert!(matches!(UserFile::open(&path, NOW), Err(MergeError::Locked { .. })));
        thread::scope(|scope| {
            let next = scope.spawn(|| UserFile::open(&path, Duration::from_mins(1)).map(drop));
            drop(held);
            next.join().unwrap().unwrap();
        });
        assert!(!lock.exists());
    }

    #[test]
    fn what_may_not_be_changed_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        fs::write(&path, "x: one\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        assert!(matches!(UserFile::open(&path, NOW), Err(MergeError::ReadOnly { .. })));
        assert_eq!(names(folder.path()), ["config"]);
        assert!(matches!(
            UserFile::open(folder.path(), NOW),
            Err(MergeError::Unreadable { .. })
        ));
    }
}
