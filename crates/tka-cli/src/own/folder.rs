//! A private folder for what should leave no trace.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::app::variable;
use crate::store::StoreError;

/// A new folder of its owner only, removed when dropped: in memory where the system has room for such things there, so that no
/// disk ever holds the credential.
pub(super) fn private() -> Result<TempDir, StoreError> {
    let in_memory = in_memory().into_iter().find_map(|place| create(&place).ok());
    let place = std::env::temp_dir();
    in_memory.map_or_else(
        || {
            create(&place).map_err(|source| StoreError::NotWritable {
                path: place.clone(),
                source,
            })
        },
        Ok,
    )
}

/// The user's own (XDG Base Directory Specification), and everybody's.
fn in_memory() -> Vec<PathBuf> {
    let own = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute());
    own.into_iter().chain([PathBuf::from("/dev/shm")]).collect()
}

fn create(place: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix("tka-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(place)
}
