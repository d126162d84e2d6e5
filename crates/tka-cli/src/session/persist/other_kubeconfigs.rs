//! The other files of `KUBECONFIG`, which kubectl reads together with the one that gets a context.

use std::io;
use std::path::{Path, PathBuf};

use tka_kubeconfig::{Document, Kubeconfig, List, Refused, sources};

use crate::kubeconfig::env_variable;
use crate::kubeconfig::merge::{self, MergeError, MergeTarget};
use crate::kubeconfig::session_cache::MergedEntry;
use crate::kubeconfig::store::KubeconfigStore;
use crate::net::server::Server;
use crate::sys::files::{FileError, regular};

/// One of them.
pub(super) struct OtherKubeconfig {
    pub(super) path: PathBuf,
    says: Kubeconfig,
    /// The entries of the server in it.
    ours: Vec<MergedEntry>,
}

/// Reads those beside the user's kubeconfig that exist. kubectl reads all files of `KUBECONFIG`, or none.
pub(super) fn beside(
    server: &Server,
    target: &MergeTarget,
    records: &[MergedEntry],
) -> Result<Vec<OtherKubeconfig>, MergeError> {
    let list = target.list.clone().unwrap_or_else(env_variable::paths);
    let paths = whole(list).into_iter().filter(|path| *path != target.path);
    let read = paths.map(|path| OtherKubeconfig::read(server, path, records));
    read.filter_map(Result::transpose).collect()
}

/// Reads those beside the kubeconfig of `tka`, where `KUBECONFIG` has that, too. Nothing is merged, so that one that cannot be read is no obstacle.
pub(super) fn beside_own(server: &Server, store: &KubeconfigStore, records: &[MergedEntry]) -> Vec<OtherKubeconfig> {
    let paths = whole(env_variable::paths());
    if !paths.iter().any(|path| path == store.path()) {
        return vec![];
    }
    // Those of other servers are looked at in any case.
    let others = paths.into_iter().filter(|path| path.parent() != Some(store.folder()));
    let read = others.map(|path| OtherKubeconfig::read(server, path, records));
    read.filter_map(|read| read.ok().flatten()).collect()
}

/// The files that kubectl reads in a list.
fn whole(list: Vec<PathBuf>) -> Vec<PathBuf> {
    let named = list.into_iter().filter(|path| !path.as_os_str().is_empty());
    sources(named.map(|path| std::path::absolute(&path).unwrap_or(path)))
}

// === impl OtherKubeconfig ===

impl OtherKubeconfig {
    /// Reads the file; none if it is missing.
    fn read(server: &Server, path: PathBuf, records: &[MergedEntry]) -> Result<Option<Self>, MergeError> {
        let bytes = match regular::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FileError::unreadable(&path, source).into()),
        };
        let refused = |source: Refused| MergeError::refused(&path, source);
        let says = Kubeconfig::read(&bytes).map_err(|source| refused(source.into()))?;
        let ours = own_entries(server, &path, bytes, records);
        Ok(Some(Self { path, says, ours }))
    }

    /// Whether something of that name is in `list`, or a context refers to it, and it is not the server's.
    pub(super) fn has_foreign(&self, list: List, name: &str) -> bool {
        let is_there = self.says.names(list).contains(&name) || self.says.is_used(list, name);
        is_there && !self.ours.iter().any(|one| one.has(list, name))
    }
}

/// The entries of the server in a file, by its `records`. One that `tka` could not change has none of them.
fn own_entries(server: &Server, path: &Path, bytes: Vec<u8>, records: &[MergedEntry]) -> Vec<MergedEntry> {
    let document = String::from_utf8(bytes)
        .ok()
        .and_then(|text| Document::parse(text).ok());
    let entries = |document| merge::own_entries(path, &document, server, records);
    document.map(entries).unwrap_or_default()
}
