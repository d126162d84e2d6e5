//! The user's kubeconfig: locked, and with a backup of the file before the first change.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use super::MergeError;
use crate::sys::files::{self, FileError, LockedFile};
use tka_kubeconfig::Document;

/// The user's kubeconfig, locked against kubectl.
#[derive(Debug)]
pub(crate) struct UserKubeconfig {
    file: LockedFile,
    document: Document,
}

// === impl UserKubeconfig ===

impl UserKubeconfig {
    /// Reads the file without a lock. A missing file is empty.
    pub(crate) fn read_unlocked(path: &Path) -> Result<Document, MergeError> {
        parsed(path, LockedFile::read_unlocked(path)?)
    }

    /// Locks the file and reads it. Waits at most for `limit`.
    pub(crate) fn open(path: &Path, limit: Duration) -> Result<Self, MergeError> {
        if let Some(folder) = path.parent() {
            let made = files::make_folder(folder, files::PRIVATE);
            made.map_err(|source| FileError::not_written(folder, source))?;
        }
        let file = LockedFile::open(path, limit)?;
        let document = parsed(path, file.text().to_owned())?;
        Ok(Self { file, document })
    }

    /// Checks whether the file can be changed, without leaving a trace.
    pub(crate) fn check(path: &Path, limit: Duration) -> Result<(), MergeError> {
        // Before the lock: where nothing can be removed, that would stay, and keep kubectl out.
        files::check_folder(path, files::RESERVE)?;
        check_name(&backup_of(path))?;
        if path.parent().is_none_or(Path::is_dir) {
            Self::open(path, limit)?.file.check_writable()?;
        }
        Ok(())
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    pub(crate) fn document(&self) -> &Document {
        &self.document
    }

    /// Whether the file existed before.
    pub(crate) fn is_there(&self) -> bool {
        self.file.is_there()
    }

    /// Writes `document`. The first time the old file is backed up.
    pub(crate) fn save(self, document: &Document) -> Result<(), MergeError> {
        if self.is_there() && document.text() != self.document.text() {
            self.back_up()?;
        }
        Ok(self.file.replace(document.text())?)
    }

    /// Removes the file, which `tka` created.
    pub(crate) fn remove(self) -> Result<(), MergeError> {
        Ok(self.file.remove()?)
    }

    /// Backs the file up, for its owner only. An existing backup is older, and stays.
    fn back_up(&self) -> Result<(), FileError> {
        let backup = backup_of(self.path());
        if fs::symlink_metadata(&backup).is_ok() {
            return Ok(());
        }
        match self.file.copy_to(&backup) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(FileError::Write { path: backup, source })
            }
            _ => Ok(()),
        }
    }
}

fn backup_of(path: &Path) -> PathBuf {
    files::with_appended(path, ".tka-backup")
}

/// Whether a file may have that name, which may be too long.
fn check_name(path: &Path) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Err(source) if source.kind() == io::ErrorKind::InvalidFilename => Err(FileError::not_written(path, source)),
        _ => Ok(()),
    }
}

fn parsed(path: &Path, text: String) -> Result<Document, MergeError> {
    Document::parse(text).map_err(|source| MergeError::refused(path, source))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    const NOW: Duration = Duration::ZERO;

    fn save(path: &Path, text: &str) {
        let document = Document::parse(text.to_owned()).unwrap();
        UserKubeconfig::open(path, NOW).unwrap().save(&document).unwrap();
    }

    #[test]
    fn first_copy_is_kept_and_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let (path, backup) = (folder.path().join("config"), folder.path().join("config.tka-backup"));
        fs::write(&path, "x: one\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o664)).unwrap();
        save(&path, "x: one\n");
        assert!(!backup.exists(), "nothing changed");
        save(&path, "x: two\n");
        save(&path, "x: three\n");
        assert_eq!(fs::read_to_string(&backup).unwrap(), "x: one\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "x: three\n");
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!((mode(&path), mode(&backup)), (0o664, 0o600));
    }

    #[test]
    fn new_file_has_no_copy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/config");
        save(&path, "x: one\n");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn check_leaves_no_trace() {
        let folder = tempfile::tempdir().unwrap();
        UserKubeconfig::check(&folder.path().join("a/config"), NOW).unwrap();
        UserKubeconfig::check(&folder.path().join("config"), NOW).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
