//! Files of `tka`, written atomically: a new private file replaces the old one.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::attributes;
use super::folder::folder_of;
use super::owner::{inherit_owner, inherit_owner_of};

/// How many bytes a file may grow by: a certificate authority and names.
pub(crate) const RESERVE: usize = 64 * 1024;

/// How many files and folders a sign-in makes: `~/.kube/tka`, the kubeconfig, what is beside it, and with `--merge` the user's kubeconfig, its lock
/// and its backup.
const FILES: u64 = 8;

/// The prefix of temporary files.
const PREFIX: &str = ".tka-new-";

/// Replaces the file at `path`, or a symbolic link there, which is not followed.
///
/// A concurrent reader sees the old file or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    persist(write_synced(path, content)?, path)
}

/// Replaces the file at `path` as [`replace`] does, but does not wait for the disk: after a power failure it may be empty.
pub(crate) fn replace_unsynced(path: &Path, content: &[u8]) -> io::Result<()> {
    persist(write_temporary(path, content)?, path)
}

/// Creates the file at `path`. Fails if it exists.
pub(crate) fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    persist_new(write_synced(path, content)?, path)
}

/// Creates the file at `path`, which says what `original` said, for the owner of that. Fails if it exists.
pub(crate) fn create_copy(path: &Path, content: &[u8], original: &fs::File) -> io::Result<()> {
    let mut file = temporary(path)?;
    // Before anything is in it.
    inherit_owner_of(file.as_file(), original)?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    persist_new(file, path)
}

/// A temporary private file that `finish` renames to `path`: what is written into it may be long. Dropped, it leaves nothing.
#[derive(Debug)]
pub(crate) struct TempFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl TempFile {
    /// Begins the file for `path`.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let (file, path) = (temporary(path)?, path.to_owned());
        Ok(Self { file, path })
    }

    /// Puts it in its place, as [`replace`] does, or as [`create`] does unless `force`.
    pub(crate) fn finish(self, force: bool) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        if force {
            persist(self.file, &self.path)
        } else {
            persist_new(self.file, &self.path)
        }
    }
}

impl Write for TempFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

fn persist_new(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes a temporary file beside `path`, and syncs it to the disk.
fn write_synced(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let file = write_temporary(path, content)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Writes a temporary file beside `path`.
fn write_temporary(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = temporary(path)?;
    file.write_all(content)?;
    Ok(file)
}

/// Makes a temporary file beside `path`.
fn temporary(path: &Path) -> io::Result<NamedTempFile> {
    let folder = folder_of(path);
    let file = tempfile::Builder::new().prefix(PREFIX).tempfile_in(folder)?;
    inherit_owner(file.as_file(), folder)?;
    Ok(file)
}

/// Checks whether a file of `size` bytes can be written in `folder` or its nearest existing parent, and put in its place. The error names that
/// folder.
///
/// It writes a file as [`replace`] does, and removes it. That detects missing permissions, read-only file systems, quotas and full disks, and
/// folders in which files can be made and not renamed. There must be room for as many files as a sign-in makes, too.
pub(crate) fn probe(folder: &Path, size: usize) -> Result<(), (PathBuf, io::Error)> {
    let existing = nearest_existing(folder);
    let written = attributes::check_folder(existing).and_then(|()| {
        if existing.is_relative() {
            // One that was removed has no name, and its errors tell nothing.
            std::env::current_dir()?;
        }
        // It keeps the system's error number, which a named temporary file loses.
        drop(tempfile::tempfile_in(existing)?);
        let mut file = temporary(&existing.join(PREFIX))?;
        file.write_all(&vec![0; size])?;
        check_free_inodes(file.as_file(), existing)?;
        // Where this process may open no more files, that is seen here.
        let descriptors: io::Result<Vec<_>> = (0..FILES).map(|_| file.as_file().try_clone()).collect();
        drop(descriptors?);
        rename_and_remove(file)
    });
    written.map_err(|source| (existing.to_owned(), source))
}

/// Checks whether [`replace`] can replace what is at `path`, if anything is.
pub(crate) fn check_replaceable(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => attributes::check_file(path),
        // It is replaced itself.
        Ok(found) if found.is_symlink() => Ok(()),
        Ok(_) => Err(io::Error::new(io::ErrorKind::IsADirectory, "it is not a regular file")),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The folder, or the nearest one above it that is there. A link without a target is there: nothing can be made in its place.
fn nearest_existing(folder: &Path) -> &Path {
    let mut above = folder.ancestors().filter(|one| !one.as_os_str().is_empty());
    let existing = above.find(|one| fs::symlink_metadata(one).is_ok());
    existing.unwrap_or(Path::new("."))
}

/// Gives the file another name, and removes it.
fn rename_and_remove(file: NamedTempFile) -> io::Result<()> {
    let mut second = file.path().as_os_str().to_owned();
    second.push("-");
    let renamed = file.into_temp_path();
    let second = PathBuf::from(second);
    fs::rename(&renamed, &second)?;
    let removed = fs::remove_file(&second);
    removed.map_err(|error| io::Error::new(error.kind(), format!("{} cannot be removed: {error}", second.display())))
}

/// Checks for free inodes beside the one of `file`, in its `folder`.
///
/// What a file system says of them is not always so, for example where it comes over a network. Where it says that few are left, files are
/// created to see it.
#[cfg(unix)]
fn check_free_inodes(file: &fs::File, folder: &Path) -> io::Result<()> {
    let Ok(found) = rustix::fs::fstatvfs(file) else {
        return Ok(());
    };
    if found.f_files == 0 || found.f_favail >= FILES {
        return Ok(());
    }
    // Held until all of them are there.
    let held: io::Result<Vec<_>> = (1..FILES).map(|_| tempfile::tempfile_in(folder)).collect();
    held.map(drop)
}

#[cfg(not(unix))]
fn check_free_inodes(_: &fs::File, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, chown};

    fn count(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[test]
    fn files_are_private_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        create(&path, b"one").unwrap();
        assert_eq!(create(&path, b"two").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        replace(&path, b"three").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(count(folder.path()), 1);
    }

    #[test]
    fn files_of_root_belong_to_the_folders_owner() {
        if !crate::sys::test_requirements::is_root() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), Some(12345), Some(54321)).unwrap();
        let path = folder.path().join("file");
        replace(&path, b"x").unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((found.uid(), found.gid()), (12345, 54321));
    }

    #[test]
    fn probe_leaves_nothing_and_names_the_place() {
        let folder = tempfile::tempdir().unwrap();
        probe(&folder.path().join("a/b"), RESERVE).unwrap();
        assert_eq!(count(folder.path()), 0);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(probe(&file.join("below"), 0).unwrap_err().0, file);
        assert!(probe(Path::new("/proc"), 0).is_err());
    }
}
