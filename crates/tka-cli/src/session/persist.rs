//! What a sign-in writes on this machine: a context in a kubeconfig of `tka`, with `--merge` also in the user's own, and the session cache.
//! Sign-out removes it.

mod free_names;
mod other_kubeconfigs;
mod own_kubeconfig;
mod repair;
mod user_kubeconfig;

use std::path::PathBuf;

use tka_api::http::LoginResponse;
use tka_api::kubeconfig::{EntryNames, KubeconfigFile, User};

use free_names::LoadedKubeconfigs;
use own_kubeconfig::{lock, unusable};

use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::gateway_address::GatewayAddress;
use crate::kubeconfig::merge::{self, MergeError, MergeTarget, UserKubeconfig};
use crate::kubeconfig::session_cache::{CachedSession, MergedEntry, SessionCache};
use crate::kubeconfig::{entry_names, exec_plugin};
use crate::session::{export, notices};
use tka_kubeconfig::{Document, KubeconfigEntry, List, Refused, quoted};

pub(crate) use repair::repair;

/// The context of a session, to be written.
#[derive(Debug)]
pub(crate) struct NewContext {
    pub(crate) kubeconfig: KubeconfigFile,
    /// Name of the session; none at the original's server.
    pub(crate) session: Option<String>,
    /// The session for the cache, if it is known.
    pub(crate) cached: Option<CachedSession>,
    pub(crate) naming: ContextNaming,
    /// Whether to merge it into the user's kubeconfig too.
    pub(crate) merge: bool,
}

/// How to name the context.
#[derive(Debug)]
pub(crate) enum ContextNaming {
    /// The server's name.
    FromServer,
    /// The server's name with this suffix, apart from other rules.
    ForRule(String),
    /// The names that it had before.
    Unchanged(EntryNames),
}

/// A context that was written.
#[derive(Debug)]
pub(crate) struct PersistedContext {
    pub(crate) session: Option<String>,
    pub(crate) context: String,
    /// The user's kubeconfig.
    pub(crate) merged: Option<MergeTarget>,
}

/// Checks whether [`persist`] can succeed, without leaving a trace. A session whose context cannot be written should not begin.
pub(crate) fn check(ctx: &CommandContext, merge: bool) -> Result<(), Error> {
    ctx.store()?.check_writable()?;
    let target = merge.then(user_kubeconfig::target).transpose()?;
    if target.is_some() {
        user_kubeconfig::check(ctx)?;
    }
    export::check(ctx, target.as_ref())
}

/// Writes the context of a session and makes it current.
pub(crate) fn persist(ctx: &CommandContext, new: NewContext) -> Result<PersistedContext, Error> {
    let lock = ctx.store()?.lock()?;
    let own = own_kubeconfig::read(ctx, &lock)?;
    let target = new.merge.then(user_kubeconfig::target).transpose()?;
    let open = |target: &MergeTarget| user_kubeconfig::open(ctx, &target.path);
    let file = target.as_ref().map(open).transpose()?;
    let before = ctx.session_cache();
    let mut cache = before.clone();
    merge::follow_renames(&own, ctx.store()?.path(), &mut cache.written);
    if let Some(file) = &file {
        merge::follow_renames(file.document(), file.path(), &mut cache.merged);
    }
    let own_entries = own_kubeconfig::entries(ctx, &own, &cache);
    let sent = KubeconfigEntry::current(new.kubeconfig).ok_or_else(|| unusable(ctx, Refused::NotConfig))?;
    let others = match &target {
        Some(target) => other_kubeconfigs::beside(ctx.server(), target, &cache.merged)?,
        None => other_kubeconfigs::beside_own(ctx.server(), ctx.store()?, &cache.merged),
    };
    let loaded = LoadedKubeconfigs {
        own: &own,
        own_entries: &own_entries,
        merged: file.as_ref(),
        others: &others,
    };
    let names = free_names::choose(ctx, &loaded, &cache, &sent, wanted_names(new.naming, &sent))?;
    let entry = sent.named(names);
    let context = entry.context.name.clone();
    let is_same = |one: &CachedSession| one.name == new.session && one.context.as_ref() == Some(&context);
    let is_again = new.session.is_some() && cache.sessions.iter().any(is_same);
    let in_document = |document: &Document| {
        if is_again {
            in_namespace_of(document, &entry)
        } else {
            entry.clone()
        }
    };
    let own_entry = in_document(&own);
    cache.record_written(MergedEntry {
        address: Some(own_entry.cluster.cluster.server.clone()),
        ..MergedEntry::new(ctx.store()?.path(), own_entry.names(), new.session.clone())
    });
    if let Some(session) = new.cached {
        let context = Some(context.clone());
        cache.put(CachedSession { context, ..session });
    }
    let merged = file.map(|file| MergedWrite::prepare(ctx, file, in_document, &mut cache, new.session.clone()));
    // Saved before the entries are written. After a power cut they could not be found otherwise.
    notices::save_session_cache(ctx, &lock, &cache);
    let written = own_kubeconfig::write(ctx, &lock, own, &own_entry, &own_entries);
    written.inspect_err(|_| notices::save_session_cache(ctx, &lock, &before))?;
    merged.map(MergedWrite::write).transpose()?;
    Ok(PersistedContext {
        session: new.session,
        context,
        merged: target,
    })
}

/// The names of a new context, as they are wanted.
fn wanted_names(naming: ContextNaming, sent: &KubeconfigEntry) -> EntryNames {
    let names = match naming {
        ContextNaming::FromServer => sent.names(),
        ContextNaming::ForRule(rule) => entry_names::for_rule(sent.names(), &rule),
        ContextNaming::Unchanged(names) => names,
    };
    let through_gateway = GatewayAddress::of(&sent.cluster.cluster, &sent.user.user).is_some();
    entry_names::for_way(names, through_gateway, &sent.cluster.name)
}

/// What is to be written into the user's kubeconfig.
struct MergedWrite {
    file: UserKubeconfig,
    entry: KubeconfigEntry,
    /// The cluster that the context had before.
    stale: Option<String>,
}

// === impl MergedWrite ===

impl MergedWrite {
    /// Records the entry of `session` in the cache.
    fn prepare(
        ctx: &CommandContext,
        file: UserKubeconfig,
        entry: impl Fn(&Document) -> KubeconfigEntry,
        cache: &mut SessionCache,
        session: Option<String>,
    ) -> Self {
        let entry = entry(file.document());
        let is_it = |one: &&MergedEntry| one.context == entry.context.name && one.is_in(file.path());
        let stale = cache.merged.iter().find(is_it).map(|one| one.cluster.clone());
        cache.record_merged(user_kubeconfig::record(ctx, &file, &entry, session));
        Self { file, entry, stale }
    }

    fn write(self) -> Result<(), MergeError> {
        let document = self.file.document().clone();
        let merged = merge::insert_entry(document, &self.entry, self.stale.as_deref());
        let merged = merged.map_err(|source| MergeError::refused(self.file.path(), source))?;
        self.file.save(&merged)
    }
}

/// `entry` in the namespace that its context in `document` works in, unless it has one. The user may have chosen it with kubectl.
fn in_namespace_of(document: &Document, entry: &KubeconfigEntry) -> KubeconfigEntry {
    let mut entry = entry.clone();
    let before = tka_kubeconfig::find(&document.says().contexts, &entry.context.name);
    let namespace = before
        .map(|context| context.namespace.clone())
        .filter(|name| !name.is_empty());
    let context = &mut entry.context.context;
    context.namespace = context.namespace.take().or(namespace);
    entry
}

/// Whether the context of a session leads through the gateway. None if it has none on this machine.
pub(crate) fn has_gateway(ctx: &CommandContext, session: &str) -> Option<bool> {
    let sessions = ctx.session_cache().sessions;
    let cached = sessions.iter().find(|one| one.name.as_deref() == Some(session))?;
    cached.context.as_ref().map(|_| cached.gateway)
}

/// The same for the session of the current context in the kubeconfig of `tka`.
pub(crate) fn current_has_gateway(ctx: &CommandContext) -> Option<bool> {
    let own = ctx.store().ok()?.read().ok()?;
    let sessions = ctx.session_cache().sessions;
    let mut cached = sessions.iter().filter(|one| one.context.is_some());
    let current = cached.find(|one| one.context.as_deref() == own.current())?;
    // A token was chosen for one time.
    let is_token = || {
        own.context(current.context.as_ref()?)
            .map(|names| own.has_only_token(&names.user))
    };
    (current.gateway || is_token() == Some(false)).then_some(current.gateway)
}

/// Makes the server's last context in the user's kubeconfig current, if there is one.
pub(crate) fn switch_current(ctx: &CommandContext) -> Result<Option<PersistedContext>, Error> {
    let Some(lock) = lock(ctx) else {
        return Ok(None);
    };
    let target = user_kubeconfig::target()?;
    let mut cache = ctx.session_cache();
    let recorded = cache.merged.iter().rfind(|record| record.is_in(&target.path));
    let Some(mut record) = recorded.cloned() else {
        return Ok(None);
    };
    let file = user_kubeconfig::open(ctx, &target.path)?;
    if !file.document().has(List::Contexts, &record.context) {
        return Ok(None);
    }
    record.previous = user_kubeconfig::previous_context(ctx, &file);
    let persisted = PersistedContext {
        session: record.session.clone(),
        context: record.context.clone(),
        merged: Some(target),
    };
    cache.record_merged(record);
    notices::save_session_cache(ctx, &lock, &cache);
    let switched = file.document().clone().with_current(&quoted(&persisted.context));
    let switched = switched.map_err(|source| MergeError::refused(file.path(), source))?;
    file.save(&switched)?;
    Ok(Some(persisted))
}

/// The entry names of a session on this machine, if it has a context.
pub(crate) fn entry_names_of(ctx: &CommandContext, session: &str) -> Option<EntryNames> {
    let own = ctx.store().ok()?.read().ok()?;
    let cache = ctx.session_cache();
    let mut sessions = cache.sessions.iter();
    let cached = sessions.find(|one| one.name.as_deref() == Some(session));
    if let Some(names) = cached.and_then(|cached| own.context(cached.context.as_ref()?)) {
        return Some(names);
    }
    let contexts = own.names(List::Contexts).into_iter();
    let mut all = contexts.filter_map(|context| own.context(context));
    all.find(|names| own_kubeconfig::requests_session(&own, names, session))
}

/// Whether the context of a session was merged into the user's kubeconfig.
pub(crate) fn is_merged(ctx: &CommandContext, session: &str) -> bool {
    let merged = ctx.session_cache().merged;
    merged.iter().any(|record| record.session.as_deref() == Some(session))
}

/// The user entry under `names` that calls the plugin, if there is one.
pub(crate) fn plugin_user(ctx: &CommandContext, names: &EntryNames) -> Option<User> {
    let call = ctx.store().ok()?.read().ok()?.call(&names.user)?;
    exec_plugin::with_current_command(&call).map(User::from)
}

/// Updates the cache for a session that began again and has its contexts already.
pub(crate) fn update_session(ctx: &CommandContext, session: &str, login: &LoginResponse) {
    let (Some(names), Some(lock)) = (entry_names_of(ctx, session), lock(ctx)) else {
        return;
    };
    let mut cache = ctx.session_cache();
    cache.put(CachedSession {
        name: Some(session.to_owned()),
        context: Some(names.context),
        gateway: has_gateway(ctx, session).unwrap_or_default(),
        ..CachedSession::from(login.clone())
    });
    notices::save_session_cache(ctx, &lock, &cache);
}

/// Removes the entries of one session.
pub(crate) fn remove_session(ctx: &CommandContext, session: &str) -> Result<(), Error> {
    let Some(lock) = lock(ctx) else { return Ok(()) };
    let mut cache = ctx.session_cache();
    let removed_merged =
        user_kubeconfig::remove_entries(ctx, &mut cache, |record| record.session.as_deref() == Some(session));
    let removed_own = own_kubeconfig::remove_session(ctx, &lock, session, &cache);
    if removed_own.is_ok() {
        cache.sessions.retain(|one| one.name.as_deref() != Some(session));
        cache.written.retain(|one| one.session.as_deref() != Some(session));
    }
    notices::save_session_cache(ctx, &lock, &cache);
    removed_own?;
    removed_merged.map_err(Error::CleanupFailed)
}

/// Removes the entries of all sessions at the server.
pub(crate) fn remove_all(ctx: &CommandContext) -> Result<(), Error> {
    let Some(lock) = lock(ctx) else { return Ok(()) };
    let mut cache = ctx.session_cache();
    let removed_merged = user_kubeconfig::remove_entries(ctx, &mut cache, |_| true);
    let removed_own = own_kubeconfig::remove_all(ctx, &lock, &cache);
    if removed_own.is_ok() {
        cache.sessions.clear();
        cache.written.clear();
    }
    notices::save_session_cache(ctx, &lock, &cache);
    removed_own?;
    removed_merged.map_err(Error::CleanupFailed)
}

/// The kubeconfigs with entries of `tka`, and their content.
pub(crate) fn kubeconfigs(ctx: &CommandContext) -> Vec<(PathBuf, Result<Document, MergeError>)> {
    let own = ctx.store().ok().filter(|store| store.path().exists());
    let own = own.map(|store| {
        let read = store.read().map_err(|source| MergeError::refused(store.path(), source));
        (store.path().to_owned(), read)
    });
    let merged = ctx.session_cache().merged.into_iter().map(|record| record.file);
    let merged = merged.map(|file| (file.clone(), UserKubeconfig::read_unlocked(&file)));
    own.into_iter().chain(merged).collect()
}
