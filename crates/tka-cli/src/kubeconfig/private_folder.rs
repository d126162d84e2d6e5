//! The private folders of ephemeral sessions.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sys::environment::variable;
use crate::sys::files;

/// The prefix of their names.
pub(crate) const PREFIX: &str = "tka-";

/// Folders in memory: the user's own (XDG Base Directory Specification), and the shared one.
pub(crate) fn memory_folders() -> Vec<PathBuf> {
    let runtime_folder = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime_folder =
        runtime_folder.filter(|path| path.is_absolute() && files::is_ours(path, None).unwrap_or(false));
    runtime_folder.into_iter().chain([PathBuf::from("/dev/shm")]).collect()
}

/// Whether the file is that of an ephemeral session, by the name of its folder. A folder of that name which others may enter is a user's.
pub(crate) fn is_private(kubeconfig: &Path) -> bool {
    let folder = kubeconfig.parent();
    let name = folder.and_then(Path::file_name);
    let is_named = name.is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let place = folder.and_then(Path::parent);
    let mut places = memory_folders().into_iter().chain([std::env::temp_dir()]);
    let may_be_entered =
        |folder: &Path| fs::metadata(folder).is_ok_and(|found| found.mode() & !files::PRIVATE & 0o777 != 0);
    is_named && places.any(|one| Some(one.as_path()) == place) && !folder.is_some_and(may_be_entered)
}
