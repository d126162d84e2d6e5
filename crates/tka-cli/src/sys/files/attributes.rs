//! Attributes of files and folders that forbid to replace them, whatever their permissions say: chattr(1), and mounts.

use std::io;
use std::path::Path;

/// Refuses a folder in which no file can be renamed or removed.
pub(super) fn check_folder(folder: &Path) -> io::Result<()> {
    system::check(folder, &[system::IMMUTABLE, system::APPEND])
}

/// Refuses a file that no other can replace.
pub(super) fn check_file(path: &Path) -> io::Result<()> {
    system::check(path, &[system::IMMUTABLE, system::APPEND, system::MOUNT])
}

/// File systems that do not tell have none.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod system {
    use std::io;
    use std::path::Path;

    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    use rustix::io::Errno;

    pub(super) const IMMUTABLE: (StatxAttributes, Errno) = (StatxAttributes::IMMUTABLE, Errno::PERM);
    pub(super) const APPEND: (StatxAttributes, Errno) = (StatxAttributes::APPEND, Errno::PERM);
    /// For example a single file that a container has from its host.
    pub(super) const MOUNT: (StatxAttributes, Errno) = (StatxAttributes::MOUNT_ROOT, Errno::BUSY);

    pub(super) fn check(path: &Path, forbidden: &[(StatxAttributes, Errno)]) -> io::Result<()> {
        let Ok(found) = statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE) else {
            return Ok(());
        };
        let known = found.stx_attributes & found.stx_attributes_mask;
        match forbidden.iter().find(|(attribute, _)| known.contains(*attribute)) {
            Some((_, errno)) => Err((*errno).into()),
            None => Ok(()),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod system {
    use std::io;
    use std::path::Path;

    pub(super) const IMMUTABLE: () = ();
    pub(super) const APPEND: () = ();
    pub(super) const MOUNT: () = ();

    pub(super) fn check(_: &Path, _: &[()]) -> io::Result<()> {
        Ok(())
    }
}
