//! The user's own kubeconfig, on this machine.

use std::path::{Path, PathBuf};
use std::{env, fs};

use tka_api::kubeconfig::{Cluster, Context, NamedCluster, NamedContext, NamedUser, User};
use tka_kubeconfig::{Document, KubeconfigEntry, List, Refused};

use super::other_kubeconfigs;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::current_context;
use crate::kubeconfig::merge::{self, MergeError, MergeTarget, UserKubeconfig};
use crate::kubeconfig::session_cache::{MergedEntry, SessionCache};
use crate::kubeconfig::store::StoreError;
use crate::sys::environment::home;
use crate::terminal::messages;

/// The record of an entry in the user's kubeconfig.
pub(super) fn record(
    ctx: &CommandContext,
    file: &UserKubeconfig,
    entry: &KubeconfigEntry,
    session: Option<String>,
) -> MergedEntry {
    MergedEntry {
        created: !file.is_there() || records(ctx, file.path()).iter().any(|record| record.created),
        previous: previous_context(ctx, file),
        address: Some(entry.cluster.cluster.server.clone()),
        ..MergedEntry::new(file.path(), entry.names(), session)
    }
}

/// The current context before the entries of `tka`, as written.
pub(super) fn previous_context(ctx: &CommandContext, file: &UserKubeconfig) -> Option<String> {
    merge::previous_context(file.document(), &records(ctx, file.path()))
}

/// The records about the file, of all servers.
pub(super) fn records(ctx: &CommandContext, file: &Path) -> Vec<MergedEntry> {
    let everywhere = ctx.all_session_caches().into_iter();
    let records = everywhere.flat_map(|cache| cache.merged);
    records.filter(|one| one.is_in(file)).collect()
}

/// Removes the selected entries from the user's kubeconfigs, and their records. A file that cannot be changed does not stop the others.
pub(super) fn remove_entries(
    ctx: &CommandContext,
    cache: &mut SessionCache,
    is_selected: impl Fn(&MergedEntry) -> bool,
) -> Result<(), MergeError> {
    let mut result = Ok(());
    for path in files(cache, &is_selected) {
        // A dangling link counts: its target may come back with the entries.
        let removed = if fs::symlink_metadata(&path).is_ok() {
            remove_from_file(ctx, &path, cache, &is_selected)
        } else {
            Ok(())
        };
        match removed {
            Ok(()) => cache.merged.retain(|one| !one.is_in(&path) || !is_selected(one)),
            Err(error) => result = Err(error),
        }
    }
    result
}

fn remove_from_file(
    ctx: &CommandContext,
    path: &Path,
    cache: &SessionCache,
    is_selected: impl Fn(&MergedEntry) -> bool,
) -> Result<(), MergeError> {
    let is_here = |one: &&MergedEntry| one.is_in(path) && is_selected(one);
    let recorded: Vec<_> = cache.merged.iter().filter(is_here).cloned().collect();
    // A file without entries of `tka` is not locked.
    let unlocked =
        UserKubeconfig::read_unlocked(path).map(|document| merge::find_entries(path, &document, ctx.server()));
    if recorded.is_empty() && !unlocked.is_ok_and(|found| found.iter().any(&is_selected)) {
        return Ok(());
    }
    let file = open(ctx, path)?;
    let found = merge::find_unrecorded(path, file.document(), ctx.server(), &recorded);
    let found = found.into_iter().filter(&is_selected);
    let found = found.map(|one| with_recorded_previous(one, &recorded));
    let all: Vec<_> = recorded.iter().cloned().chain(found).collect();
    let rest = all.iter().try_fold(file.document().clone(), merge::remove_entry);
    let rest = rest.map_err(|source| MergeError::refused(path, source))?;
    if rest.is_blank() && !rest.may_have_comment() && all.iter().any(|one| one.created) {
        return file.remove();
    }
    let before = file.document().current().map(ToOwned::to_owned);
    file.save(&rest)?;
    if rest.current() != before.as_deref() {
        note_current_context(ctx, path, &rest);
    }
    Ok(())
}

/// A context that the user renamed gets the recorded previous context of its session.
fn with_recorded_previous(found: MergedEntry, recorded: &[MergedEntry]) -> MergedEntry {
    let of_session = recorded.iter().find(|one| one.session == found.session);
    MergedEntry {
        previous: of_session.or(recorded.last()).and_then(|one| one.previous.clone()),
        ..found
    }
}

/// Notes the current context after the entries are removed.
fn note_current_context(ctx: &CommandContext, path: &Path, document: &Document) {
    let (home, shown) = (home(), path.display());
    let is_defined = |name: &str| {
        document.has(List::Contexts, name) || current_context::is_defined_beside(path, name, home.as_deref())
    };
    let text = match document.current() {
        Some(name) if is_defined(name) => format!("{name} is the current context of {shown} again"),
        Some(name) => format!("{name} is the current context of {shown} again, and is not defined there"),
        None => current_context::none_in(path, home.as_deref()),
    };
    ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
}

/// The user's kubeconfigs that may have entries of `tka`.
pub(super) fn files(cache: &SessionCache, is_selected: impl Fn(&MergedEntry) -> bool) -> Vec<PathBuf> {
    let selected = cache.merged.iter().filter(|one| is_selected(one));
    let recorded = selected.map(|one| one.file.clone());
    let mut files: Vec<_> = recorded.chain(target().ok().map(|target| target.path)).collect();
    files.sort();
    files.dedup();
    files
}

pub(super) fn target() -> Result<MergeTarget, StoreError> {
    let home = home().filter(|home| home.is_absolute()).ok_or(StoreError::NoHome)?;
    let list = env::var_os("KUBECONFIG");
    let reads_home = cfg!(windows) || env::var_os("HOME").is_some();
    let target = MergeTarget::choose(&home, reads_home, list.as_deref(), Path::exists);
    let path = std::path::absolute(&target.path).unwrap_or(target.path);
    Ok(MergeTarget { path, ..target })
}

/// Checks whether a context can be merged into the user's kubeconfig, and kubectl would find it. Leaves no trace.
pub(super) fn check(ctx: &CommandContext) -> Result<(), Error> {
    let target = target()?;
    UserKubeconfig::check(&target.path, ctx.config.timeout)?;
    let document = UserKubeconfig::read_unlocked(&target.path)?;
    try_entries(ctx, &target.path, &document).map_err(|source| MergeError::refused(&target.path, source))?;
    other_kubeconfigs::beside(ctx.server(), &target, &ctx.session_cache().merged)?;
    Ok(())
}

/// Tries to add an entry, and to replace and remove each of `tka`'s own: the user may have tied something else to it since.
fn try_entries(ctx: &CommandContext, path: &Path, document: &Document) -> Result<(), Refused> {
    let trial = trial_entry();
    merge::insert_entry(document.clone(), &trial, None)?;
    for own in merge::own_entries(path, document, ctx.server(), &records(ctx, path)) {
        merge::insert_entry(document.clone(), &trial.clone().named(own.names()), Some(&own.cluster))?;
        merge::remove_entry(document.clone(), &own)?;
    }
    Ok(())
}

/// An entry to test whether there is room for one.
fn trial_entry() -> KubeconfigEntry {
    let name = "tka-before-signing-in";
    let (cluster, user, context) = (Cluster::default(), User::default(), Context::default());
    KubeconfigEntry {
        cluster: NamedCluster {
            name: name.into(),
            cluster,
        },
        user: NamedUser {
            name: name.into(),
            user,
        },
        context: NamedContext {
            name: name.into(),
            context,
        },
    }
}

pub(super) fn open(ctx: &CommandContext, path: &Path) -> Result<UserKubeconfig, MergeError> {
    UserKubeconfig::open(path, ctx.config.timeout)
}
