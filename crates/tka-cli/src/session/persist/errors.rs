//! Errors of kubeconfigs that cannot be changed.

use std::path::Path;

use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::merge::MergeError;
use crate::kubeconfig::store::KubeconfigStore;
use tka_kubeconfig::Refused;

/// The refusal of a change to the file at `path`.
pub(super) fn refused(path: &Path, source: Refused) -> MergeError {
    MergeError::Refused {
        path: path.to_owned(),
        source,
    }
}

/// The refusal of a change to the kubeconfig of `tka` for the server.
pub(super) fn unusable(ctx: &CommandContext, source: Refused) -> Error {
    let path = ctx.store().map_or(Path::new(""), KubeconfigStore::path);
    refused(path, source).into()
}
