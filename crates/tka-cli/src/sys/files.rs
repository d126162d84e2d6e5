//! Writing to disk: folders are created, files of `tka` are replaced, and files of users are changed in place.

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
pub(crate) use atomic::{RESERVE, create, probe, replace, replace_unsynced};
pub(crate) use folder::{PRIVATE, is_ours, make as make_folder};
pub(crate) use locked::{FileError, LockedFile, check_folder, with_appended};

/// The folder of a file. A path without a folder is in the working directory.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Gives a file that root created in `folder` to the owner of `folder`. Otherwise the owner would be locked out.
///
/// Containers run programs as root with another user's home folder, and `sudo` may keep `HOME`.
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

/// Whether new files belong to the owner of their folder, and not to this user.
#[cfg(unix)]
pub(crate) fn inherits_owner() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
pub(crate) fn inherits_owner() -> bool {
    false
}

/// Windows inherits the owner of a folder by itself.
#[cfg(not(unix))]
fn inherit_owner(_: &File, folder: &Path) -> io::Result<()> {
    fs::metadata(folder).map(drop)
}
