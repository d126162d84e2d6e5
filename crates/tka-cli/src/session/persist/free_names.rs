//! Entry names that are free on this machine.

use tka_api::kubeconfig::EntryNames;

use super::own_kubeconfig;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::gateway_address::GatewayAddress;
use crate::kubeconfig::merge::{self, MergeError, UserKubeconfig};
use crate::kubeconfig::session_cache::SessionCache;
use crate::kubeconfig::{entry_names, exec_plugin};
use tka_kubeconfig::{Document, KubeconfigEntry, List};

/// Chooses `names`, or `names` with the server's name, so that no other entry has them.
pub(super) fn choose(
    ctx: &CommandContext,
    own: &Document,
    file: Option<&UserKubeconfig>,
    cache: &SessionCache,
    new: &KubeconfigEntry,
    names: EntryNames,
) -> Result<EntryNames, Error> {
    let store = ctx.store()?;
    let others = store.other_documents();
    let is_in_other_file = |names: &EntryNames| {
        let has = |other: &Document| has_any(names, |list, name| other.has(list, name));
        let mut others = others.iter().filter(|other| has(other));
        others.any(|other| !is_same_entry(other, names, new))
    };
    let ours = file.map(|file| merge::own_entries(file.path(), file.document(), ctx.server(), &cache.merged));
    let is_ours = |list, name: &str| ours.iter().flatten().any(|one| one.has(list, name));
    let is_foreign = |names: &EntryNames| {
        let has = |document: &Document| has_any(names, |list, name| document.has(list, name) && !is_ours(list, name));
        file.is_some_and(|file| has(file.document()))
    };
    let is_preferred =
        |names: &EntryNames| own.has(List::Clusters, &names.cluster) || own.has(List::Contexts, &names.context);
    let is_free = |names: &EntryNames| !is_in_other_file(names) && !is_foreign(names);
    entry_names::first_free(&names, ctx.server(), is_preferred, is_free).ok_or_else(|| {
        let path = file.map_or(store.folder(), UserKubeconfig::path).to_owned();
        let name = names.context;
        MergeError::NameConflict { path, name }.into()
    })
}

/// Whether another server's file has the same entry. Users may write one server's address in several ways.
fn is_same_entry(other: &Document, names: &EntryNames, new: &KubeconfigEntry) -> bool {
    let exec = new.user.user.exec.as_ref();
    let session = exec.and_then(|exec| exec_plugin::session_argument(&exec.args));
    let has_same_credential = match session {
        Some(session) => own_kubeconfig::requests_session(other, names, session),
        // Without one the address says it all.
        None => GatewayAddress::of(&new.cluster.cluster, &new.user.user).is_some() && other.is_plain(&names.user),
    };
    has_same_credential
        && other.context(&names.context).as_ref() == Some(names)
        && other.server(&names.cluster) == Some(&new.cluster.cluster.server)
}

fn has_any(names: &EntryNames, has: impl Fn(List, &str) -> bool) -> bool {
    has(List::Clusters, &names.cluster) || has(List::Users, &names.user) || has(List::Contexts, &names.context)
}
