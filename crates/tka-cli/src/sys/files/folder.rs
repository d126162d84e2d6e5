//! Folders: how they are created, and their owners.

use std::path::Path;
use std::{fs, io};

/// The mode of a folder for its owner only.
pub(crate) const PRIVATE: u32 = 0o700;

/// The folder of a file. A path without a folder is in the working directory.
pub(super) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Creates `folder` and missing parents, with `mode` as far as the umask allows.
///
/// What root creates in another user's folder belongs to that user.
pub(crate) fn make(folder: &Path, mode: u32) -> io::Result<()> {
    let is_missing = |one: &&Path| !one.as_os_str().is_empty() && fs::metadata(one).is_err();
    let missing: Vec<_> = folder.ancestors().take_while(is_missing).collect();
    for one in missing.into_iter().rev() {
        system::make_one(one, mode)?;
    }
    if fs::metadata(folder_itself(folder))?.is_dir() {
        Ok(())
    } else {
        Err(io::ErrorKind::NotADirectory.into())
    }
}

fn folder_itself(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    }
}

/// Whether this user owns `folder`. A symbolic link and its target are both checked.
///
/// Root also uses folders of the owner of `home`.
pub(crate) fn is_ours(folder: &Path, home: Option<&Path>) -> io::Result<bool> {
    system::is_ours(folder, home)
}

/// Whether `path` leads out of `home`, where root uses the home folder of another, to what is not that one's. The owner of a home folder chooses
/// where links in it lead, and root would follow them to folders of root's.
pub(crate) fn leads_out(path: &Path, home: Option<&Path>) -> bool {
    system::leads_out(path, home)
}

#[cfg(unix)]
mod system {
    use std::fs::{self, DirBuilder, File};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::path::Path;

    use rustix::fs::{Mode, OFlags};

    use super::super::owner::{inherit_owner, inherits_owner};
    use super::folder_of;

    pub(super) fn make_one(folder: &Path, mode: u32) -> io::Result<()> {
        match DirBuilder::new().mode(mode).create(folder) {
            // Another process created it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(()),
            created => created?,
        }
        let inherited = open(folder).and_then(|made| inherit_owner(&made, folder_of(folder)));
        if inherited.is_err() {
            // A folder of root would lock the home folder's owner out.
            let _ = fs::remove_dir(folder);
        }
        inherited
    }

    /// Opens the folder that was just created, and follows no link.
    fn open(folder: &Path) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = File::from(rustix::fs::open(folder, flags, Mode::empty())?);
        if made.metadata()?.uid() == rustix::process::geteuid().as_raw() {
            Ok(made)
        } else {
            Err(io::Error::other("another folder took its place"))
        }
    }

    pub(super) fn is_ours(folder: &Path, home: Option<&Path>) -> io::Result<bool> {
        let user = rustix::process::geteuid().as_raw();
        let accepted = [Some(user), other_owner(home)];
        let belongs = |found: &fs::Metadata| accepted.contains(&Some(found.uid()));
        let is_ours = belongs(&fs::metadata(folder)?) && belongs(&fs::symlink_metadata(folder)?);
        Ok(is_ours && !leads_out(folder, home))
    }

    pub(super) fn leads_out(path: &Path, home: Option<&Path>) -> bool {
        let Some(owner) = other_owner(home) else {
            return false;
        };
        let existing = path.ancestors().find(|one| fs::metadata(one).is_ok());
        let real = existing.and_then(|existing| existing.canonicalize().ok());
        let home = home.and_then(|home| home.canonicalize().ok());
        let (Some(real), Some(home)) = (real, home) else {
            return true;
        };
        !real.starts_with(home) && fs::metadata(&real).is_ok_and(|found| found.uid() != owner)
    }

    /// The owner of the home folder, where root uses that of another.
    fn other_owner(home: Option<&Path>) -> Option<u32> {
        let owner = fs::metadata(home.filter(|_| inherits_owner())?).ok()?.uid();
        (owner != 0).then_some(owner)
    }
}

/// Windows keeps other users out of a profile folder by itself.
#[cfg(not(unix))]
mod system {
    use std::path::Path;
    use std::{fs, io};

    pub(super) fn make_one(folder: &Path, _: u32) -> io::Result<()> {
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
            made => made,
        }
    }

    pub(super) fn is_ours(_: &Path, _: Option<&Path>) -> io::Result<bool> {
        Ok(true)
    }

    pub(super) fn leads_out(_: &Path, _: Option<&Path>) -> bool {
        false
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn folders_are_made_private() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/b/c");
        make(&folder, PRIVATE).unwrap();
        make(&folder, PRIVATE).unwrap();
        for one in folder.ancestors().take(3) {
            assert_eq!(fs::metadata(one).unwrap().mode() & 0o777, 0o700, "{}", one.display());
        }
        make(Path::new(""), PRIVATE).unwrap();
    }

    #[test]
    fn what_is_no_folder_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(make(&file, PRIVATE).is_err());
        assert!(make(&file.join("below"), PRIVATE).is_err());
        let link = place.path().join("link");
        symlink(place.path().join("nowhere"), &link).unwrap();
        assert!(make(&link.join("below"), PRIVATE).is_err());
    }

    /// cases.md 7: root with the home folder of another user.
    #[test]
    fn what_root_makes_belongs_to_the_owner_of_home() {
        if !crate::sys::test_requirements::is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(home.path(), Some(12345), Some(54321)).unwrap();
        let folder = home.path().join(".kube/tka");
        make(&folder, PRIVATE).unwrap();
        for one in folder.ancestors().take(2) {
            let found = fs::metadata(one).unwrap();
            assert_eq!((found.uid(), found.gid()), (12345, 54321), "{}", one.display());
        }
        assert!(is_ours(&folder, Some(home.path())).unwrap());
        assert!(!is_ours(&folder, None).unwrap(), "only of the home that is used");
        let link = home.path().join("link");
        symlink("/etc", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        std::os::unix::fs::chown(home.path(), Some(12346), None).unwrap();
        assert!(!is_ours(&link, Some(home.path())).unwrap());
    }
}
