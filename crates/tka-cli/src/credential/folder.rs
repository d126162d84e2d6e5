//! Where credentials are kept between two calls of kubectl: in memory, for their owner alone.
//!
//! A folder that is not memory is none: a token must not outlive its session on a disk or in its backups. Without one nothing is
//! kept, and each call asks the server.

use std::path::{Path, PathBuf};

/// The folder, made if need be; none where there is no memory-backed place that is this user's alone.
#[cfg(target_os = "linux")]
pub(super) fn find(variables: crate::proxy::Variables<'_>) -> Option<PathBuf> {
    use linux::private_in;

    // The login session's own (https://specifications.freedesktop.org/basedir-spec/), else the machine's shared memory.
    let runtime = variables("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = runtime.and_then(|parent| private_in(&parent, "tka"));
    own.or_else(|| {
        let user = rustix::process::geteuid().as_raw();
        private_in(Path::new("/dev/shm"), &format!("tka-{user}"))
    })
}

/// No such place is known here.
#[cfg(not(target_os = "linux"))]
pub(super) fn find(_: crate::proxy::Variables<'_>) -> Option<PathBuf> {
    None
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs::{self, DirBuilder};
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    use std::path::{Path, PathBuf};

    /// `name` in `parent`, if that is in memory and the folder is, or can be made, this user's alone.
    pub(super) fn private_in(parent: &Path, name: &str) -> Option<PathBuf> {
        if !parent.is_absolute() || !is_memory(parent) {
            return None;
        }
        let folder = parent.join(name);
        // Fails if it is there, which is fine if it is ours.
        let _ = DirBuilder::new().mode(0o700).create(&folder);
        let found = fs::symlink_metadata(&folder).ok()?;
        let is_ours = found.uid() == rustix::process::geteuid().as_raw();
        (found.is_dir() && is_ours && found.mode() & 0o777 == 0o700).then_some(folder)
    }

    /// Whether it is on tmpfs or ramfs (statfs(2)).
    fn is_memory(folder: &Path) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        let found = rustix::fs::statfs(folder).ok();
        found.is_some_and(|found| matches!(u64::try_from(found.f_type), Ok(TMPFS | RAMFS)))
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::unix::fs::{PermissionsExt, symlink};

        fn memory() -> Option<tempfile::TempDir> {
            let folder = tempfile::tempdir_in("/dev/shm").ok()?;
            is_memory(folder.path()).then_some(folder)
        }

        #[test]
        fn folder_in_memory_is_made_private_and_found_again() {
            let Some(parent) = memory() else { return };
            let folder = private_in(parent.path(), "tka").unwrap();
            assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o777, 0o700);
            assert_eq!(private_in(parent.path(), "tka"), Some(folder));
        }

        #[test]
        fn folder_that_others_can_enter_or_that_is_elsewhere_is_none() {
            let Some(parent) = memory() else { return };
            let folder = private_in(parent.path(), "tka").unwrap();
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
            assert_eq!(private_in(parent.path(), "tka"), None);
            symlink(&folder, parent.path().join("link")).unwrap();
            assert_eq!(private_in(parent.path(), "link"), None);
            fs::write(parent.path().join("file"), "").unwrap();
            assert_eq!(private_in(parent.path(), "file"), None);
            if rustix::process::geteuid().is_root() {
                let foreign = private_in(parent.path(), "foreign").unwrap();
                std::os::unix::fs::chown(&foreign, Some(12345), None).unwrap();
                assert_eq!(private_in(parent.path(), "foreign"), None);
            }
        }

        #[test]
        fn disk_and_relative_paths_are_no_place() {
            assert_eq!(private_in(Path::new("/proc"), "tka"), None);
            assert_eq!(private_in(Path::new("shm"), "tka"), None);
            assert_eq!(private_in(Path::new("/nowhere"), "tka"), None);
        }
    }
}
