//! The kubeconfig of `tka` for the server.

use std::path::Path;

use tka_api::kubeconfig::EntryNames;

use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::merge::{self, MergeError};
use crate::kubeconfig::session_cache::{MergedEntry, SessionCache};
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

/// Writes `entry` and makes it current. The cluster that its context had before is removed unless something leads to it.
pub(super) fn write(
    ctx: &CommandContext,
    lock: &FolderLock,
    own: Document,
    entry: &KubeconfigEntry,
    before: &[MergedEntry],
) -> Result<(), Error> {
    let before = before.iter().find(|one| one.context == entry.context.name);
    let stale = before.map(|one| one.cluster.as_str());
    let written = match merge::insert_entry(own, entry, stale) {
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

/// The entries of the server's sessions in the kubeconfig. Earlier versions recorded the context alone.
pub(super) fn entries(ctx: &CommandContext, own: &Document, cache: &SessionCache) -> Vec<MergedEntry> {
    let path = ctx.store().map_or(Path::new(""), KubeconfigStore::path);
    let mut entries = merge::own_entries(path, own, ctx.server(), &cache.written);
    entries.extend(plain_entries(path, own, cache));
    entries
}

/// Those without a plugin and without a record, by the context of their session.
fn plain_entries(path: &Path, own: &Document, cache: &SessionCache) -> Vec<MergedEntry> {
    let sessions = cache.sessions.iter();
    let plain = sessions.filter_map(|session| {
        let names = own.context(session.context.as_ref()?)?;
        let is_recorded = cache.written.iter().any(|one| one.user == names.user);
        let is_plain = own.is_plain(&names.user) && !is_recorded;
        is_plain.then(|| MergedEntry::new(path, names, session.name.clone()))
    });
    plain.collect()
}

/// Removes one session.
pub(super) fn remove_session(
    ctx: &CommandContext,
    lock: &FolderLock,
    session: &str,
    cache: &SessionCache,
) -> Result<(), Error> {
    match ctx.store()?.read() {
        Ok(own) => remove_sessions(ctx, lock, own, cache, |requested| requested == Some(session)),
        // The next sign-in or sign-out moves it aside.
        Err(_) => Ok(()),
    }
}

/// Removes all sessions at the server. A file that cannot be read is moved aside with a warning.
pub(super) fn remove_all(ctx: &CommandContext, lock: &FolderLock, cache: &SessionCache) -> Result<(), Error> {
    let store = ctx.store()?;
    match store.read() {
        Ok(own) => remove_sessions(ctx, lock, own, cache, |_| true),
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
    is_selected: impl Fn(Option<&str>) -> bool,
) -> Result<(), Error> {
    let store = ctx.store()?;
    let before = own.clone();
    let failed = |source| Error::CleanupFailed(MergeError::refused(store.path(), source));
    let ended = entries(ctx, &own, cache);
    let ended: Vec<_> = ended.iter().filter(|one| is_selected(one.session.as_deref())).collect();
    let server = ctx.server().to_string();
    let is_plugin_of = |at: &str, requested: &str| at == server && is_selected(Some(requested));
    let rest = without(ctx, own, &ended, cache, is_plugin_of).map_err(failed)?;
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

/// `own` without the entries that `ended`, and without users of the plugin whose context was removed.
fn without(
    ctx: &CommandContext,
    own: Document,
    ended: &[&MergedEntry],
    cache: &SessionCache,
    is_plugin_of: impl Fn(&str, &str) -> bool,
) -> Result<Document, Refused> {
    let users = own.names(List::Users).into_iter();
    let users = users.filter(|user| calls_plugin(&own, user, &is_plugin_of));
    let users: Vec<_> = users.map(ToOwned::to_owned).collect();
    let before = own.current().map(ToOwned::to_owned);
    let mut rest = own;
    for entry in ended {
        rest = merge::remove_entry(rest, entry)?;
    }
    for user in users {
        if !rest.is_used(List::Users, &user) {
            rest = rest.without(List::Users, &user)?;
        }
    }
    if rest.current() == before.as_deref() {
        return Ok(rest);
    }
    let next = last_session_context(ctx, &rest, cache).map(|name| quoted(&name));
    rest.with_current(next.as_deref().unwrap_or("\"\""))
}

/// The last context of a session that goes on. A context of other tools or people must not become current silently.
fn last_session_context(ctx: &CommandContext, own: &Document, cache: &SessionCache) -> Option<String> {
    let ours = entries(ctx, own, cache);
    let is_ours = |name: &&str| ours.iter().any(|one| one.context == **name);
    let last = own.names(List::Contexts).into_iter().rfind(is_ours);
    last.map(ToOwned::to_owned)
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
