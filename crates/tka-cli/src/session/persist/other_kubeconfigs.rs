//! The other files of `KUBECONFIG`, which kubectl reads together with the one that gets a context.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

use tka_kubeconfig::{Document, Kubeconfig, List, Refused, sources};

use crate::context::CommandContext;
use crate::kubeconfig::merge::{self, MergeError, MergeTarget};
use crate::kubeconfig::session_cache::MergedEntry;
use crate::sys::files::FileError;

/// One of them.
pub(super) struct OtherKubeconfig {
    pub(super) path: PathBuf,
    says: Kubeconfig,
    /// The entries of the server in it.
    ours: Vec<MergedEntry>,
}

/// Reads those beside the user's kubeconfig that exist. kubectl reads all files of `KUBECONFIG`, or none.
pub(super) fn beside(ctx: &CommandContext, target: &MergeTarget) -> Result<Vec<OtherKubeconfig>, MergeError> {
    let list = target.list.clone().unwrap_or_else(variable);
    let paths = whole(list).into_iter().filter(|path| *path != target.path);
    let read = paths.map(|path| OtherKubeconfig::read(ctx, path));
    read.filter_map(Result::transpose).collect()
}

/// Reads those beside the kubeconfig of `tka`, where `KUBECONFIG` has that, too. Nothing is merged, so that one that cannot be read is no obstacle.
pub(super) fn beside_own(ctx: &CommandContext) -> Vec<OtherKubeconfig> {
    let Ok(store) = ctx.store() else { return vec![] };
    let paths = whole(variable());
    if !paths.iter().any(|path| path == store.path()) {
        return vec![];
    }
    // Those of other servers are looked at in any case.
    let others = paths.into_iter().filter(|path| path.parent() != Some(store.folder()));
    let read = others.map(|path| OtherKubeconfig::read(ctx, path));
    read.filter_map(|read| read.ok().flatten()).collect()
}

fn variable() -> Vec<PathBuf> {
    let list = env::var_os("KUBECONFIG").unwrap_or_default();
    env::split_paths(&list).collect()
}

/// The files that kubectl reads in a list.
fn whole(list: Vec<PathBuf>) -> Vec<PathBuf> {
    let named = list.into_iter().filter(|path| !path.as_os_str().is_empty());
    sources(named.map(|path| std::path::absolute(&path).unwrap_or(path)))
}

// === impl OtherKubeconfig ===

impl OtherKubeconfig {
    /// Reads the file; none if it is missing.
    fn read(ctx: &CommandContext, path: PathBuf) -> Result<Option<Self>, MergeError> {
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(FileError::unreadable(&path, source).into()),
        };
        let refused = |source: Refused| MergeError::refused(&path, source);
        let says = Kubeconfig::read(&bytes).map_err(|source| refused(source.into()))?;
        let ours = own_entries(ctx, &path, bytes);
        Ok(Some(Self { path, says, ours }))
    }

    /// Whether something of that name is in `list` that is not the server's.
    pub(super) fn has_foreign(&self, list: List, name: &str) -> bool {
        self.says.names(list).contains(&name) && !self.ours.iter().any(|one| one.has(list, name))
    }
}

/// The entries of the server in a file. One that `tka` could not change has none of them.
fn own_entries(ctx: &CommandContext, path: &Path, bytes: Vec<u8>) -> Vec<MergedEntry> {
    let document = String::from_utf8(bytes)
        .ok()
        .and_then(|text| Document::parse(text).ok());
    // Records of other servers are not those of this one.
    let records = ctx.session_cache().merged;
    let entries = |document| merge::own_entries(path, &document, ctx.server(), &records);
    document.map(entries).unwrap_or_default()
}
