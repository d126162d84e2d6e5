//! Writing to disk, in three ways: folders are made, files of ours are replaced, and files of other people are changed in place.

mod advice;
mod atomic;
mod folder;
mod locked;
#[cfg(test)]
#[cfg(unix)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::path::Path;

pub(crate) use advice::advice;
pub(crate) use atomic::{RESERVE, create, probe, replace};
pub(crate) use folder::{PRIVATE, is_ours, make as make_folder};
pub(crate) use locked::{FileError, LockedFile, check_folder, with_appended};

/// The folder that a file is in; a path of one part is in the present folder.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Gives what root has just made in `folder` to the owner of that folder, who would be locked out otherwise.
///
/// Containers run programs as root with the home folder of another user, and `sudo` may keep `HOME`.
#[cfg(unix)]
fn inherit_owner(made: &File, folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    if !inherits_owner() {
        return Ok(());
    }
    let owner = fs::metadata(folder)?;
    if owner.uid() == 0 {
        return Ok(());
    }
    fchown(made, Some(owner.uid()), Some(owner.gid()))
}

/// Whether what is made in a folder belongs to the owner of that, and not to this user.
#[cfg(unix)]
pub(crate) fn inherits_owner() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
pub(crate) fn inherits_owner() -> bool {
    false
}

/// Windows hands on the owner of a folder by itself.
#[cfg(not(unix))]
fn inherit_owner(_: &File, folder: &Path) -> io::Result<()> {
    fs::metadata(folder).map(drop)
}
