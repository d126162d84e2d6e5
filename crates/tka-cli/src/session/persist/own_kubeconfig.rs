//! The kubeconfig of `tka` for the server.

use std::path::Path;

use tka_api::kubeconfig::EntryNames;

use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::merge::{self, MergeError};
use crate::kubeconfig::session_cache::{CachedSession, SessionCache};
use crate::kubeconfig::store::{FolderLock, KubeconfigStore};
use crate::kubeconfig::{current_context, exec_plugin};
use crate::sys::environment::home;
use crate::terminal::messages;
use tka_kubeconfig::{Document, KubeconfigEntry, List, Refused, quoted};

/// The refusal of a change to the kubeconfig of `tka` for the server.
pub(super) fn unusable(ctx: &CommandContext, source: Refused) -> Error {
    let path = ctx.store().map_or(Path::new(""), KubeconfigStore::path);
    MergeError::refused(path, source).into()
}

/// Locks the folder. None if it does not exist, or the file is of another server.
pub(super) fn lock(ctx: &CommandContext) -> Option<FolderLock> {
    ctx.store().ok()?.lock_if_ours()
}

/// Reads the kubeconfig. A file that cannot be read is moved aside with a warning.
pub(super) fn read(ctx: &CommandContext, lock: &FolderLock) -> Result<Document, Error> {
    match ctx.store()?.read() {
        Ok(own) => Ok(own),
        Err(source) => start_over(ctx, lock, &source),
    }
}

fn start_over(ctx: &CommandContext, lock: &FolderLock, why: &Refused) -> Result<Document, Error> {
    let store = ctx.store()?;
    let aside = store.move_aside(lock)?;
    let path = store.path().display();
    let text = format!(
        "{path} is written anew, because {why}; the old file is now {}",
        aside.display()
    );
    ctx.ui.notify(&messages::warning(&text, &ctx.ui.palette));
    store.blank().map_err(|source| unusable(ctx, source))
}

/// Writes `entry` and makes it current.
pub(super) fn write(
    ctx: &CommandContext,
    lock: &FolderLock,
    own: Document,
    entry: &KubeconfigEntry,
) -> Result<(), Error> {
    let before = own.context(&entry.context.name);
    let before = before.filter(|names| calls_plugin(&own, &names.user, |_, _| true) || own.is_plain(&names.user));
    let stale = before.map(|names| names.cluster);
    let written = match merge::insert_entry(own, entry, stale.as_deref()) {
        Ok(written) => written,
        // What cannot be put into an empty file cannot be put into another.
        Err(why) if !ctx.store()?.has_file() => return Err(unusable(ctx, why)),
        Err(why) => {
            let blank = start_over(ctx, lock, &why)?;
            merge::insert_entry(blank, entry, None).map_err(|source| unusable(ctx, source))?
        }
    };
    ctx.store()?.write(lock, &written)?;
    Ok(())
}

/// Removes one session.
pub(super) fn remove_session(
    ctx: &CommandContext,
    lock: &FolderLock,
    session: &str,
    cache: &SessionCache,
) -> Result<(), Error> {
    let is_it = |one: &CachedSession| one.name.as_deref() == Some(session);
    match ctx.store()?.read() {
        Ok(own) => remove_sessions(ctx, lock, own, cache, |_, requested| requested == session, is_it),
        // The next sign-in or sign-out moves it aside.
        Err(_) => Ok(()),
    }
}

/// Removes all sessions at the server. A file that cannot be read is moved aside with a warning.
pub(super) fn remove_all(ctx: &CommandContext, lock: &FolderLock, cache: &SessionCache) -> Result<(), Error> {
    let server = ctx.server().to_string();
    let store = ctx.store()?;
    match store.read() {
        Ok(own) => remove_sessions(ctx, lock, own, cache, |at, _| at == server, |_| true),
        Err(why) => {
            let aside = store.move_aside(lock)?;
            let path = store.path().display();
            let text = format!("{path} could not be read, because {why}; it is now {}", aside.display());
            ctx.ui.notify(&messages::warning(&text, &ctx.ui.palette));
            Ok(())
        }
    }
}

/// Removes sessions, by their plugin arguments or by the cache. Other entries stay. A file without any is removed.
fn remove_sessions(
    ctx: &CommandContext,
    lock: &FolderLock,
    own: Document,
    cache: &SessionCache,
    is_selected: impl Fn(&str, &str) -> bool,
    is_known: impl Fn(&CachedSession) -> bool,
) -> Result<(), Error> {
    let store = ctx.store()?;
    let before = own.clone();
    let failed = |source| Error::CleanupFailed(MergeError::refused(store.path(), source));
    let rest = without(own, cache, is_selected, is_known).map_err(failed)?;
    if rest.is_blank() {
        store.remove()?;
    } else if rest.text() != before.text() {
        store.write(lock, &rest)?;
        note_current_context(ctx, &before, &rest);
    }
    Ok(())
}

/// Notes the new current context, if it changed.
fn note_current_context(ctx: &CommandContext, before: &Document, now: &Document) {
    if now.current() == before.current() {
        return;
    }
    let path = ctx.store().map_or(Path::new(""), KubeconfigStore::path);
    let text = match now.current() {
        Some(name) => format!("{name} is the current context of {} now", path.display()),
        None => current_context::none_in(path, home().as_deref()),
    };
    ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
}

fn without(
    own: Document,
    cache: &SessionCache,
    is_selected: impl Fn(&str, &str) -> bool,
    is_known: impl Fn(&CachedSession) -> bool,
) -> Result<Document, Refused> {
    let is_plugin_user = |user: &str| calls_plugin(&own, user, &is_selected);
    let is_plain_user = |names: &EntryNames| {
        let has_context = |one: &CachedSession| one.context.as_ref() == Some(&names.context);
        let mut sessions = cache.sessions.iter();
        own.is_plain(&names.user) && sessions.any(|one| is_known(one) && has_context(one))
    };
    let is_ended = |names: &EntryNames| is_plugin_user(&names.user) || is_plain_user(names);
    let ended: Vec<_> = contexts(&own).filter(is_ended).collect();
    let is_current = ended.iter().any(|names| own.current() == Some(&names.context));
    // Also users whose context was removed.
    let users = own.names(List::Users).into_iter().filter(|user| is_plugin_user(user));
    let users = users.map(ToOwned::to_owned);
    let users: Vec<_> = users.chain(ended.iter().map(|names| names.user.clone())).collect();
    let mut rest = own;
    for names in &ended {
        rest = rest.without(List::Contexts, &names.context)?;
    }
    let clusters = ended.iter().map(|names| (List::Clusters, &names.cluster));
    for (list, name) in users.iter().map(|user| (List::Users, user)).chain(clusters) {
        if !rest.is_used(list, name) {
            rest = rest.without(list, name)?;
        }
    }
    if !is_current {
        return Ok(rest);
    }
    let next = last_session_context(&rest, cache).map(|name| quoted(&name));
    rest.with_current(next.as_deref().unwrap_or("\"\""))
}

/// The last context of a session. A context of other tools must not become current silently.
fn last_session_context(own: &Document, cache: &SessionCache) -> Option<String> {
    let is_known = |context: &String| cache.sessions.iter().any(|one| one.context.as_ref() == Some(context));
    let is_ours = |names: &EntryNames| calls_plugin(own, &names.user, |_, _| true) || is_known(&names.context);
    let ours = contexts(own).filter(is_ours);
    ours.last().map(|names| names.context)
}

fn contexts(own: &Document) -> impl Iterator<Item = EntryNames> {
    let names = own.names(List::Contexts).into_iter();
    names.filter_map(|context| own.context(context))
}

/// Whether the user under `names` requests credentials of that session.
pub(super) fn requests_session(document: &Document, names: &EntryNames, session: &str) -> bool {
    calls_plugin(document, &names.user, |_, requested| requested == session)
}

/// Whether the user calls the plugin, for a server and session that `is_selected` accepts.
fn calls_plugin(document: &Document, user: &str, is_selected: impl Fn(&str, &str) -> bool) -> bool {
    let call = document.call(user);
    let requested = call.as_ref().and_then(exec_plugin::requested_session);
    requested.is_some_and(|(server, session)| is_selected(server, session))
}
