//! A private folder for what should leave no trace.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::app::variable;
use crate::error::Error;
use crate::kubeconfig::export;
use crate::kubeconfig::store::StoreError;
use crate::sys::files;

/// How its name begins.
const PREFIX: &str = "tka-";

/// A new folder of its owner only with room for a kubeconfig, removed when dropped: in memory where the system has room for such things
/// there, so that no disk ever holds the credential.
pub(super) fn private() -> Result<TempDir, Error> {
    let in_memory = in_memory().into_iter().filter(|place| export::list([place]).is_ok());
    if let Some(folder) = in_memory.map(|place| create(&place)).find_map(Result::ok) {
        return Ok(folder);
    }
    let place = std::env::temp_dir();
    export::list([&place])?;
    create(&place).map_err(|source| StoreError::NotWritable { path: place, source }.into())
}

/// The user's own (XDG Base Directory Specification), and everybody's.
fn in_memory() -> Vec<PathBuf> {
    let own = variable("XDG_RUNTIME_DIR").map(PathBuf::from);
    let own = own.filter(|path| path.is_absolute() && files::is_ours(path, None).unwrap_or(false));
    own.into_iter().chain([PathBuf::from("/dev/shm")]).collect()
}

/// Whether `kubeconfig` is one in such a folder.
pub(crate) fn is_private(kubeconfig: &Path) -> bool {
    let folder = kubeconfig.parent();
    let is_named = folder
        .and_then(Path::file_name)
        .is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()));
    let place = folder.and_then(Path::parent);
    let mut places = in_memory().into_iter().chain([std::env::temp_dir()]);
    is_named && places.any(|one| Some(one.as_path()) == place)
}

fn create(place: &Path) -> std::io::Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(files::PRIVATE))
        .tempdir_in(place)?;
    files::probe(folder.path(), files::ROOM).map_err(|(_, source)| source)?;
    Ok(folder)
}
