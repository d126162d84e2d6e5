//! Repairs kubeconfigs that call this program at an outdated path.

use std::path::Path;

use tka_api::exec::API_VERSION;

use super::own_kubeconfig::lock;
use super::user_kubeconfig;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::exec_plugin;
use crate::kubeconfig::merge::{self, MergeError, UserKubeconfig};
use tka_kubeconfig::{Document, ExecConfig, List, Refused};

/// Updates the path of this program in all kubeconfigs, for all sessions. Returns the number of changed users.
pub(crate) fn repair(ctx: &CommandContext) -> Result<usize, Error> {
    let Some(lock) = lock(ctx) else { return Ok(0) };
    let store = ctx.store()?;
    let mut count = 0;
    if let Ok(own) = store.read() {
        let repaired = repaired(own, |_, _| true);
        let (repaired, users) =
            repaired.map_err(|source| Error::NotRepaired(MergeError::refused(store.path(), source)))?;
        if users > 0 {
            store.write(&lock, &repaired)?;
        }
        count += users;
    }
    for path in user_kubeconfig::files(&ctx.session_cache(), |_| true) {
        count += repair_user_kubeconfig(ctx, &path)?;
    }
    Ok(count)
}

/// Repairs the user's own kubeconfig. Only users that `tka` wrote, or that have its name, are changed.
fn repair_user_kubeconfig(ctx: &CommandContext, path: &Path) -> Result<usize, Error> {
    let records = user_kubeconfig::records(ctx, path);
    let is_known =
        |user: &str, call: &ExecConfig| records.iter().any(|record| merge::matches_record(call, user, record));
    // A file without broken users is not locked.
    let is_intact = |document: Document| broken_users(&document, is_known).is_empty();
    if UserKubeconfig::read_unlocked(path).map_or(true, is_intact) {
        return Ok(0);
    }
    let file = user_kubeconfig::open(ctx, path).map_err(Error::NotRepaired)?;
    let repaired = repaired(file.document().clone(), is_known);
    let (repaired, users) = repaired.map_err(|source| Error::NotRepaired(MergeError::refused(path, source)))?;
    file.save(&repaired).map_err(Error::NotRepaired)?;
    Ok(users)
}

/// The users whose program does not exist any more.
fn broken_users(document: &Document, is_known: impl Fn(&str, &ExecConfig) -> bool) -> Vec<String> {
    let is_broken = |name: &&str| {
        let call = document.call(name);
        call.is_some_and(|call| exec_plugin::is_broken(&call, is_known(name, &call)))
    };
    let users = document.names(List::Users).into_iter().filter(is_broken);
    users.map(ToOwned::to_owned).collect()
}

/// Other arguments and the environment of the call stay.
fn repaired(document: Document, is_known: impl Fn(&str, &ExecConfig) -> bool) -> Result<(Document, usize), Refused> {
    let command = exec_plugin::command().display().to_string();
    let users = broken_users(&document, is_known);
    let repaired = users.iter().try_fold(document, |document, user| {
        let document = document.with_exec(user, "command", &command)?;
        document.with_exec(user, "apiVersion", API_VERSION)
    })?;
    Ok((repaired, users.len()))
}
