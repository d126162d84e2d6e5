//! Files of users, changed as kubectl changes a kubeconfig: locked, and written in place.
//!
//! Writing in place keeps the owner, group, mode, hard links, extended attributes, access control list and mounts of a file. A replacement
//! would lose some of them, and often is not permitted. But a killed program leaves half a file. So the old content is first written into
//! the lock file, which then stays.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::advice::{self, advice};
use super::atomic::{self, RESERVE};
use super::folder::folder_of;
use super::owner::{inherit_owner, inherit_owner_of};
use super::regular;
use crate::sys::signals::SignalHold;
use tka_kubeconfig::NotUtf8;

/// How long to wait for the lock. kubectl holds it for milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// The lock file is polled, as not every system can watch files.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// A file that is locked against other programs that use the lock.
#[derive(Debug)]
pub(crate) struct LockedFile {
    path: PathBuf,
    text: String,
    /// None if the file does not exist yet.
    file: Option<File>,
    lock: Lock,
}

/// kubectl's lock: a file beside the locked one, which only one process can create
/// (<https://github.com/kubernetes/client-go/blob/v0.34.0/tools/clientcmd/loader.go>, `lockFile`).
#[derive(Debug)]
struct Lock {
    path: PathBuf,
    file: File,
    /// Whether to remove the lock file on drop.
    remove_on_drop: bool,
    /// A lock file that stays would block kubectl for ever.
    _hold: SignalHold,
}

/// Why a file cannot be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    #[error("cannot read {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot read {}", path.display())]
    NotUtf8 { path: PathBuf, source: NotUtf8 },
    #[error("{} is read-only", path.display())]
    ReadOnly { path: PathBuf },
    #[error("{} is a link to {}, which does not exist", path.display(), target.display())]
    Dangling { path: PathBuf, target: PathBuf },
    #[error("{} is locked, by kubectl or another tka", path.display())]
    Locked {
        path: PathBuf,
        lock: PathBuf,
        /// Whether the lock file has the content before an interrupted change.
        has_copy: bool,
    },
    #[error("{} cannot be locked", path.display())]
    NoLock { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("another program has just changed {}", path.display())]
    Changed { path: PathBuf },
    #[error("{} was only partly written", path.display())]
    Damaged {
        path: PathBuf,
        copy: PathBuf,
        source: io::Error,
    },
}

// === impl LockedFile ===

impl LockedFile {
    /// Reads the file without a lock. A missing file is empty.
    pub(crate) fn read_unlocked(path: &Path) -> Result<String, FileError> {
        match regular::read(path) {
            Ok(bytes) => text(path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(source) => Err(FileError::unreadable(path, source)),
        }
    }

    /// Locks the file and reads it. Its folder must exist. Waits for `limit` at most.
    pub(crate) fn open(path: &Path, limit: Duration) -> Result<Self, FileError> {
        // A file that cannot be changed needs no lock.
        open_in_place(path)?;
        let lock = Lock::take(path, limit.min(LOCK_TIMEOUT))?;
        let mut file = open_in_place(path)?;
        let bytes = file.as_mut().map_or_else(|| Ok(Vec::new()), read);
        let bytes = bytes.map_err(|source| FileError::unreadable(path, source))?;
        Ok(Self {
            text: text(path, &bytes)?,
            path: path.to_owned(),
            file,
            lock,
        })
    }

    /// Checks whether the file can be changed, as far as possible without leaving a trace.
    pub(crate) fn check_writable(&self) -> Result<(), FileError> {
        if let Some(file) = &self.file {
            check_free_space(file, RESERVE).map_err(|source| self.not_written(source))?;
        }
        // Room for the lock file and the backup.
        check_folder(&self.path, 2 * self.text.len() + RESERVE)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the file existed before.
    pub(crate) fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Writes `text`. If that fails, restores the old content.
    pub(crate) fn replace(mut self, text: &str) -> Result<(), FileError> {
        if text == self.text {
            return Ok(());
        }
        let Some(mut file) = self.file.take() else {
            let made = atomic::create(&self.path, text.as_bytes());
            return made.map_err(|source| self.not_written(source));
        };
        match read(&mut file) {
            Ok(now) if now == self.text.as_bytes() => {}
            Ok(_) => {
                let path = self.path.clone();
                return Err(FileError::Changed { path });
            }
            Err(source) => return Err(FileError::unreadable(&self.path, source)),
        }
        let copied = self.lock.write_copy(self.text.as_bytes(), &file);
        copied.map_err(|source| self.not_written(source))?;
        let written = reserve(&file, text.len()).and_then(|()| write(&mut file, text.as_bytes()));
        written.map_err(|source| self.restore(&mut file, source))
    }

    /// Restores the content after a failed write, and returns the error. If that fails, the lock file with the copy stays.
    fn restore(&mut self, file: &mut File, source: io::Error) -> FileError {
        // A size limit stops this too, at a place behind which nothing was changed.
        let _ = write(file, self.text.as_bytes());
        if read(file).is_ok_and(|now| now == self.text.as_bytes()) {
            return self.not_written(source);
        }
        self.lock.remove_on_drop = false;
        FileError::Damaged {
            path: self.path.clone(),
            copy: self.lock.path.clone(),
            source,
        }
    }

    /// Removes the file, which this program created.
    ///
    /// A link, or a file with several names, belongs to the user. It is emptied instead.
    pub(crate) fn remove(self) -> Result<(), FileError> {
        let is_alone = fs::symlink_metadata(&self.path).is_ok_and(|found| found.is_file() && has_one_name(&found));
        if !is_alone {
            return self.replace("");
        }
        fs::remove_file(&self.path).map_err(|source| self.not_written(source))
    }

    /// Copies the content to a new file beside it, which must not exist yet. A file that is not there has none.
    pub(crate) fn copy_to(&self, path: &Path) -> io::Result<()> {
        match &self.file {
            Some(file) => atomic::create_copy(path, self.text.as_bytes(), file),
            None => Ok(()),
        }
    }

    fn not_written(&self, source: io::Error) -> FileError {
        FileError::not_written(&self.path, source)
    }
}

/// Checks whether a file of `size` bytes can be put beside `path`, and whether there may be such a name.
pub(crate) fn check_folder(path: &Path, size: usize) -> Result<(), FileError> {
    atomic::probe(folder_of(path), size).map_err(|(folder, source)| match source.kind() {
        io::ErrorKind::PermissionDenied if folder == folder_of(path) => FileError::NoLock {
            path: path.to_owned(),
            source,
        },
        _ => FileError::Write { path: folder, source },
    })
}

/// Opens the file for reading and writing, without changing it. None if it does not exist.
fn open_in_place(path: &Path) -> Result<Option<File>, FileError> {
    let refused = || FileError::ReadOnly { path: path.to_owned() };
    match fs::metadata(path) {
        // Root could write it, but the mode forbids it.
        Ok(found) if found.is_file() && found.permissions().readonly() => Err(refused()),
        Ok(found) if found.is_file() => {
            let file = OpenOptions::new().read(true).write(true).open(path);
            let may_write = || OpenOptions::new().write(true).open(path).is_ok();
            file.map(Some).map_err(|source| match source.kind() {
                io::ErrorKind::PermissionDenied if may_write() => FileError::unreadable(path, source),
                _ => FileError::not_written(path, source),
            })
        }
        // For example `/dev/fd/63` from a shell.
        Ok(_) => Err(FileError::unreadable(path, io::Error::other("it is not a file"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_link(path) {
            // The target may come back. A file in the link's place would be in its way.
            Ok(target) => Err(FileError::Dangling {
                path: path.to_owned(),
                target,
            }),
            Err(_) => Ok(None),
        },
        Err(source) => Err(FileError::unreadable(path, source)),
    }
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The text of the file at `path`. What is written is UTF-8, so what stays must be.
fn text(path: &Path, bytes: &[u8]) -> Result<String, FileError> {
    let text = tka_kubeconfig::utf8(bytes).map(ToOwned::to_owned);
    text.map_err(|source| FileError::NotUtf8 {
        path: path.to_owned(),
        source,
    })
}

fn write(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.rewind()?;
    file.write_all(content)?;
    // Truncated last: a full disk must not destroy the old content.
    file.set_len(content.len() as u64)?;
    file.sync_all()
}

/// Reserves `size` bytes before the change, if the file system can.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn reserve(file: &File, size: usize) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    use rustix::io::Errno;
    match fallocate(file, FallocateFlags::KEEP_SIZE, 0, size as u64) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reserve(_: &File, _: usize) -> io::Result<()> {
    Ok(())
}

/// Checks for `size` free bytes. A file system that does not report any passes.
#[cfg(unix)]
fn check_free_space(file: &File, size: usize) -> io::Result<()> {
    let Ok(found) = rustix::fs::fstatvfs(file) else {
        return Ok(());
    };
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if found.f_blocks > 0 && free < size as u64 {
        return Err(io::ErrorKind::StorageFull.into());
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_free_space(_: &File, _: usize) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn has_one_name(found: &fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(found) == 1
}

#[cfg(not(unix))]
fn has_one_name(_: &fs::Metadata) -> bool {
    true
}

/// `path` with `suffix` appended to its name.
pub(crate) fn with_appended(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

// === impl Lock ===

impl Lock {
    fn take(path: &Path, limit: Duration) -> Result<Self, FileError> {
        let lock = with_appended(path, ".lock");
        let until = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        loop {
            let path = path.to_owned();
            match Self::make(&lock) {
                Ok(lock) => return Ok(lock),
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(FileError::NoLock { path, source });
                }
                Err(_) if Instant::now() >= until => {
                    let has_copy = fs::metadata(&lock).is_ok_and(|found| found.len() > 0);
                    return Err(FileError::Locked { path, lock, has_copy });
                }
                Err(_) => thread::sleep(pause),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn make(path: &Path) -> io::Result<Self> {
        // Signals are held back while the lock file exists, but not while waiting for it.
        let hold = SignalHold::new();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let lock = Self {
            file: options.open(path)?,
            path: path.to_owned(),
            remove_on_drop: true,
            _hold: hold,
        };
        inherit_owner(&lock.file, folder_of(path))?;
        Ok(lock)
    }

    /// Writes the content of the locked file into the lock file, for its owner.
    fn write_copy(&mut self, text: &[u8], original: &File) -> io::Result<()> {
        inherit_owner_of(&self.file, original)?;
        self.file.write_all(text)?;
        self.file.sync_all()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.remove_on_drop {
            let _ = fs::remove_file(&self.path);
        }
    }
}

// === impl FileError ===

impl FileError {
    pub(crate) fn not_written(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Write { path, source }
    }

    pub(crate) fn unreadable(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Unreadable { path, source }
    }

    /// What to do about the file.
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::NotUtf8 { path, .. } => format!("save {} as UTF-8", path.display()),
            Self::Unreadable { path, source } if source.kind() == io::ErrorKind::PermissionDenied => {
                advice::on_reading(path)
            }
            Self::Unreadable { path, .. } => format!("check that {} is a file that you may read", path.display()),
            Self::ReadOnly { path } => format!("make it writable: `chmod u+w {}`", path.display()),
            Self::Dangling { path, .. } => {
                format!("restore the target of {}, or remove the link", path.display())
            }
            Self::Locked {
                path,
                lock,
                has_copy: true,
            } => format!(
                "try again; if neither is running, one was killed: check {}, or restore it from {lock}, which holds the old \
                 content; then remove {lock}",
                path.display(),
                lock = lock.display()
            ),
            Self::Locked { lock, .. } => format!("try again; if neither is running, remove {}", lock.display()),
            Self::NoLock { path, source } => {
                let how = advice(folder_of(path), source);
                format!("tka creates a lock file beside it, as kubectl does: {how}")
            }
            Self::Write { path, source } => advice(path, source),
            Self::Changed { .. } => "try again".to_owned(),
            Self::Damaged { path, copy, source } => format!(
                "{}; then restore it with `cp {copy} {}`, and remove {copy}",
                advice(path, source),
                path.display(),
                copy = copy.display()
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_stays_where_the_old_content_cannot_be_written_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let copy = with_appended(&path, ".lock");
        fs::write(&path, "x: one\n").unwrap();
        let mut locked = LockedFile::open(&path, Duration::ZERO).unwrap();
        let original = File::open(&path).unwrap();
        locked.lock.write_copy(b"x: one\n", &original).unwrap();
        fs::write(&path, "x: t").unwrap();
        let mut unwritable = File::open(&path).unwrap();
        let error = locked.restore(&mut unwritable, io::ErrorKind::StorageFull.into());
        drop(locked);
        let is_damaged = matches!(&error, FileError::Damaged { copy: kept, .. } if *kept == copy);
        assert!(is_damaged, "{error:?}");
        assert_eq!(fs::read_to_string(&copy).unwrap(), "x: one\n");
        let way_back = format!("cp {} {}", copy.display(), path.display());
        assert!(error.advice().contains(&way_back), "{}", error.advice());
    }
}
