//! Entry names that are free on this machine.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tka_api::kubeconfig::{Cluster, EntryNames};

use super::other_kubeconfigs::OtherKubeconfig;
use super::own_kubeconfig;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::gateway_address::GatewayAddress;
use crate::kubeconfig::merge::{self, MergeError, UserKubeconfig};
use crate::kubeconfig::session_cache::{MergedEntry, SessionCache};
use crate::kubeconfig::{entry_names, exec_plugin};
use crate::net::server::Server;
use tka_kubeconfig::{Document, KubeconfigEntry, List, find};

/// The files in which kubectl finds names.
pub(super) struct LoadedKubeconfigs<'a> {
    /// The kubeconfig of `tka` for the server.
    pub(super) own: &'a Document,
    /// The entries of the server's sessions in it.
    pub(super) own_entries: &'a [MergedEntry],
    /// The user's kubeconfig, if it gets the context, too.
    pub(super) merged: Option<&'a UserKubeconfig>,
    /// All that kubectl reads beside it.
    pub(super) others: &'a [OtherKubeconfig],
}

/// Chooses `names`, or `names` with the server's name, so that no other entry has them.
pub(super) fn choose(
    ctx: &CommandContext,
    files: &LoadedKubeconfigs<'_>,
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
    let ours = files.merged_entries(ctx.server(), cache);
    let own = files.own;
    let is_ours_in_own = |list, name: &str| files.own_entries.iter().any(|one| one.has(list, name));
    // Other programs write there, too: it is what `KUBECONFIG` names.
    let cluster = &new.cluster.cluster;
    let is_taken_in_own = |names: &EntryNames| {
        has_any(names, |list, name| {
            own.has(list, name) && !is_ours_in_own(list, name) && !is_same_cluster(own, list, name, cluster)
        })
    };
    // A server keeps the names that it has in its own file.
    let is_preferred =
        |names: &EntryNames| own.has(List::Clusters, &names.cluster) || own.has(List::Contexts, &names.context);
    let is_free = |names: &EntryNames| {
        !is_in_other_file(names) && !is_taken_in_own(names) && files.conflicting_file(names, cluster, &ours).is_none()
    };
    entry_names::first_free(&names, ctx.server(), is_preferred, is_free).ok_or_else(|| {
        let path = files
            .conflicting_file(&names, cluster, &ours)
            .unwrap_or(store.folder())
            .to_owned();
        let name = names.context;
        MergeError::NameConflict { path, name }.into()
    })
}

// === impl LoadedKubeconfigs ===

impl LoadedKubeconfigs<'_> {
    /// The entries of the server in the user's kubeconfig.
    fn merged_entries(&self, server: &Server, cache: &SessionCache) -> Vec<MergedEntry> {
        let of_file = |file: &UserKubeconfig| merge::own_entries(file.path(), file.document(), server, &cache.merged);
        self.merged.map(of_file).unwrap_or_default()
    }

    /// The file in which something else has one of `names`, or refers to it. kubectl takes what the first file says, so that one entry would hide
    /// the other. A context without its user, for example while a file is missing, would get the one of `tka`, and send its token elsewhere.
    ///
    /// A name that is there already stays. It hides nothing that could be seen before. In the user's kubeconfig it must be one of `ours`.
    fn conflicting_file(&self, names: &EntryNames, new: &Cluster, ours: &[MergedEntry]) -> Option<&Path> {
        let is_ours = |list, name: &str| ours.iter().any(|one| one.has(list, name));
        let here = self.merged.map_or(self.own, UserKubeconfig::document);
        let is_taken = |list, name: &str| {
            let is_there = here.has(list, name) || here.is_used(list, name);
            is_there && !is_ours(list, name) && !is_same_cluster(here, list, name, new)
        };
        if let Some(merged) = self.merged.filter(|_| has_any(names, is_taken)) {
            return Some(merged.path());
        }
        let hides = |other: &&OtherKubeconfig| {
            has_any(names, |list, name| {
                !here.has(list, name) && other.has_foreign(list, name)
            })
        };
        self.others.iter().find(hides).map(|other| &*other.path)
    }
}

/// Whether a cluster of that name leads to the same API server, by the same trust. Contexts of people may need it after a sign-out.
fn is_same_cluster(document: &Document, list: List, name: &str, new: &Cluster) -> bool {
    let authority = new.certificate_authority_data.as_deref().unwrap_or_default();
    let Ok(certificate_authority_data) = STANDARD.decode(authority) else {
        return false;
    };
    let same = tka_kubeconfig::Cluster {
        server: new.server.clone(),
        tls_server_name: new.tls_server_name.clone().unwrap_or_default(),
        insecure_skip_tls_verify: new.insecure_skip_tls_verify,
        certificate_authority_data,
        ..tka_kubeconfig::Cluster::default()
    };
    list == List::Clusters && find(&document.says().clusters, name) == Some(&same)
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
