//! Who owns what root creates.

#[cfg(not(unix))]
use std::fs;
use std::fs::File;
use std::io;
use std::path::Path;

/// Gives a file that root created in `folder` to the owner of `folder`, or of the home folder that `folder` is in. Otherwise the owner would be
/// locked out.
///
/// Containers run programs as root with another user's home folder, and `sudo` may keep `HOME`.
#[cfg(unix)]
pub(super) fn inherit_owner(made: &File, folder: &Path) -> io::Result<()> {
    use crate::sys::environment::home;
    if !inherits_owner() {
        return Ok(());
    }
    let home = home().and_then(|home| home.canonicalize().ok());
    let in_home = || {
        let home = home.as_deref().filter(|home| system::is_below(made, folder, home))?;
        system::owner(home).ok()
    };
    match choose(system::owner(folder)?, in_home) {
        Some(owner) => system::give(made, owner),
        None => Ok(()),
    }
}

/// Gives what root wrote into `copy` to the owner of the file that said it. In a folder of another's the owner of that would read it else.
#[cfg(unix)]
pub(super) fn inherit_owner_of(copy: &File, original: &File) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if !inherits_owner() {
        return Ok(());
    }
    let found = original.metadata()?;
    system::give(copy, (found.uid(), found.gid()))
}

/// User and group.
#[cfg(unix)]
type Owner = (u32, u32);

/// Who gets what root creates: the owner of the folder, else of the home folder that it is in. None if that is root.
#[cfg(unix)]
fn choose(folder: Owner, home: impl FnOnce() -> Option<Owner>) -> Option<Owner> {
    let is_other = |owner: &Owner| owner.0 != 0;
    Some(folder).filter(is_other).or_else(|| home().filter(is_other))
}

#[cfg(unix)]
mod system {
    use std::fs::{self, File};
    use std::io;
    use std::os::unix::fs::{MetadataExt, fchown};
    use std::path::{Path, PathBuf};

    use super::Owner;

    pub(super) fn owner(folder: &Path) -> io::Result<Owner> {
        let found = fs::metadata(folder)?;
        Ok((found.uid(), found.gid()))
    }

    pub(super) fn give(made: &File, (user, group): Owner) -> io::Result<()> {
        fchown(made, Some(user), Some(group))
    }

    /// Whether what was made in `folder` really is below `home`. A link in the home folder may lead to a folder of root's, where nothing may
    /// belong to others.
    pub(super) fn is_below(made: &File, folder: &Path, home: &Path) -> bool {
        place(made, folder).is_some_and(|place| place.starts_with(home))
    }

    /// Where it is. The kernel says that of the open file. A path could lead elsewhere by now.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn place(made: &File, _: &Path) -> Option<PathBuf> {
        use std::os::fd::AsRawFd;
        fs::read_link(format!("/proc/self/fd/{}", made.as_raw_fd())).ok()
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn place(_: &File, folder: &Path) -> Option<PathBuf> {
        folder.canonicalize().ok()
    }
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

#[cfg(not(unix))]
pub(super) fn inherit_owner_of(_: &File, _: &File) -> io::Result<()> {
    Ok(())
}

/// Windows inherits the owner of a folder by itself.
#[cfg(not(unix))]
pub(super) fn inherit_owner(_: &File, folder: &Path) -> io::Result<()> {
    fs::metadata(folder).map(drop)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn what_root_makes_in_a_home_is_its_owners() {
        let (root, person, other) = ((0, 0), (1000, 100), (1001, 101));
        for (folder, home, expected) in [
            (person, Some(person), Some(person)),
            (root, Some(person), Some(person)),
            (other, Some(person), Some(other)),
            (root, Some(root), None),
            (root, None, None),
            (person, None, Some(person)),
        ] {
            assert_eq!(choose(folder, || home), expected, "{folder:?} in {home:?}");
        }
    }
}
