//! The private folder of an ephemeral session.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;

use crate::error::Error;
use crate::kubeconfig::env_variable;
use crate::kubeconfig::private_folder::{PREFIX, memory_folders};
use crate::kubeconfig::store::StoreError;
use crate::sys::files;

/// A new folder for its owner only, with room for a kubeconfig. It is removed when dropped. It is in memory if possible, so that no disk
/// holds the credential.
pub(super) fn private() -> Result<TempDir, Error> {
    let memory_folders = memory_folders().into_iter();
    let memory_folders = memory_folders.filter(|place| env_variable::join([place]).is_ok());
    if let Some(folder) = memory_folders.map(|place| create(&place)).find_map(Result::ok) {
        return Ok(folder);
    }
    let place = std::env::temp_dir();
    env_variable::join([&place])?;
    create(&place).map_err(|source| StoreError::NotWritable { path: place, source }.into())
}

fn create(place: &Path) -> std::io::Result<TempDir> {
    let folder = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(files::PRIVATE))
        .tempdir_in(place)?;
    files::probe(folder.path(), files::RESERVE).map_err(|(_, source)| source)?;
    Ok(folder)
}
