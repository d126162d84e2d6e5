//! Private folders that last between calls of kubectl.

use std::path::PathBuf;

use crate::net::proxy::Variables;

/// A folder in memory, created if needed. None if there is no private place in memory.
///
/// A folder on a disk is not used: a token must not outlive its session on a disk or in a backup.
#[cfg(target_os = "linux")]
pub(crate) fn in_memory(variables: Variables<'_>) -> Option<PathBuf> {
    // The folder of the login session (https://specifications.freedesktop.org/basedir-spec/), else the shared memory of the machine.
    let own = variables("XDG_RUNTIME_DIR").map(|parent| (PathBuf::from(parent), "tka".to_owned()));
    let shared = (PathBuf::from("/dev/shm"), private::user_folder_name());
    let mut places = own.into_iter().chain([shared]);
    places.find_map(|(parent, name)| private::is_memory(&parent).then(|| private::in_folder(&parent, &name))?)
}

/// No such place is known on this system.
#[cfg(not(target_os = "linux"))]
pub(crate) fn in_memory(_: Variables<'_>) -> Option<PathBuf> {
    None
}

/// A folder for state that is not secret, in memory or on a disk.
#[cfg(unix)]
pub(crate) fn on_disk(variables: Variables<'_>) -> Option<PathBuf> {
    let set = |name: &str| variables(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = || crate::sys::environment::home();
    let usual = if cfg!(target_os = "macos") {
        "Library/Caches"
    } else {
        ".cache"
    };
    let places = [
        (set("XDG_RUNTIME_DIR"), "tka".to_owned()),
        (
            set("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(usual))),
            "tka".to_owned(),
        ),
        // Containers may have nothing else.
        (Some(std::env::temp_dir()), private::user_folder_name()),
    ];
    let mut places = places.into_iter();
    places.find_map(|(parent, name)| private::in_folder(&parent?, &name))
}

/// Windows keeps other users out of a profile's folders by itself.
#[cfg(not(unix))]
pub(crate) fn on_disk(variables: Variables<'_>) -> Option<PathBuf> {
    let folder = PathBuf::from(variables("LOCALAPPDATA")?).join("tka");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder)
}

#[cfg(unix)]
mod private {
    use std::fs::{self, DirBuilder};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::path::{Path, PathBuf};

    use crate::sys::files;

    /// The name of this user's folder in a shared place.
    pub(crate) fn user_folder_name() -> String {
        format!("tka-{}", rustix::process::geteuid().as_raw())
    }

    /// The folder `name` in `parent`, if only this user can enter it. Creates it if needed.
    pub(crate) fn in_folder(parent: &Path, name: &str) -> Option<PathBuf> {
        if !parent.is_absolute() {
            return None;
        }
        let folder = parent.join(name);
        if files::inherits_owner() && fs::symlink_metadata(&folder).is_err() && !is_parent_ours(&folder) {
            return None;
        }
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        // Fails if the folder exists, which is fine if it is private. The parent may not exist yet.
        if builder.create(&folder).is_err() && fs::symlink_metadata(&folder).is_err() {
            builder.recursive(true).create(&folder).ok()?;
        }
        let found = fs::symlink_metadata(&folder).ok()?;
        let is_ours = found.uid() == rustix::process::geteuid().as_raw();
        (found.is_dir() && is_ours && found.mode() & 0o777 == 0o700).then_some(folder)
    }

    /// Whether the parent of `folder` belongs to this user. Root creates nothing in another user's home folder, since that user would be
    /// locked out.
    fn is_parent_ours(folder: &Path) -> bool {
        let above = folder.ancestors().find(|one| one.exists());
        above.is_some_and(|above| files::is_ours(above, None).unwrap_or(false))
    }

    /// Whether it is on tmpfs or ramfs (statfs(2)).
    #[cfg(target_os = "linux")]
    pub(crate) fn is_memory(folder: &Path) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        let found = rustix::fs::statfs(folder).ok();
        found.is_some_and(|found| matches!(u64::try_from(found.f_type), Ok(TMPFS | RAMFS)))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::unix::fs::{PermissionsExt, symlink};

        #[test]
        fn folder_is_made_private_and_found_again() {
            let parent = tempfile::tempdir().unwrap();
            let folder = in_folder(&parent.path().join("new"), "tka").unwrap();
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
            assert_eq!(in_folder(&parent.path().join("new"), "tka"), Some(folder));
        }

        #[test]
        fn folder_that_others_can_enter_is_none() {
            let parent = tempfile::tempdir().unwrap();
            let folder = in_folder(parent.path(), "tka").unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
            assert_eq!(in_folder(parent.path(), "tka"), None);
            symlink(&folder, parent.path().join("link")).unwrap();
            assert_eq!(in_folder(parent.path(), "link"), None);
            fs::write(parent.path().join("file"), "").unwrap();
            assert_eq!(in_folder(parent.path(), "file"), None);
            if crate::sys::test_requirements::is_root() {
                let foreign = in_folder(parent.path(), "foreign").unwrap();
                std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
                assert_eq!(in_folder(parent.path(), "foreign"), None);
            }
        }

        #[test]
        fn what_cannot_be_made_and_relative_paths_are_no_place() {
            assert_eq!(in_folder(Path::new("/proc"), "tka"), None);
            assert_eq!(in_folder(Path::new("shm"), "tka"), None);
        }

        #[cfg(target_os = "linux")]
        #[test]
        fn memory_is_told_from_disk() {
            assert!(!is_memory(Path::new("/proc")) && !is_memory(Path::new("/nowhere")));
        }
    }
}
