//! Who owns what root creates.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Gives a file that root created in `folder` to the owner of `folder`. Otherwise the owner would be locked out.
///
/// Containers run programs as root with another user's home folder, and `sudo` may keep `HOME`.
#[cfg(unix)]
pub(super) fn inherit_owner(made: &File, folder: &Path) -> io::Result<()> {
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
pub(super) fn inherit_owner(_: &File, folder: &Path) -> io::Result<()> {
    fs::metadata(folder).map(drop)
}
