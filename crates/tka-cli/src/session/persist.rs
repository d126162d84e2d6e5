//! What signing in leaves on this machine: a context in a kubeconfig of ours, with `--merge` one in the user's own too, and what is
//! known of the session. And how it goes again.

mod free_names;
mod own_kubeconfig;
mod repair;
mod user_kubeconfig;

use std::path::{Path, PathBuf};

use tka_api::http::LoginResponse;
use tka_api::kubeconfig::{EntryNames, KubeconfigFile, User};

use crate::context::App;
use crate::error::Error;
use crate::kubeconfig::entry_names;
use crate::kubeconfig::exec_plugin;
use crate::kubeconfig::merge::{self, MergeError, Target, UserFile};
use crate::kubeconfig::session_cache::KnownSession;
use crate::kubeconfig::store::{Store, Turn};
use tka_kubeconfig::{Document, Entry, List, Refused, quoted};

pub(crate) use repair::repair;

/// A session's context that is to be kept.
#[derive(Debug)]
pub(crate) struct New {
    pub(crate) kubeconfig: KubeconfigFile,
    /// Name of the session; none at the original's server.
    pub(crate) session: Option<String>,
    /// What is to be remembered of it, if that is known.
    pub(crate) known: Option<KnownSession>,
    pub(crate) called: Called,
    /// Whether to put it into the user's kubeconfig too.
    pub(crate) merge: bool,
}

/// What its context is to be called.
#[derive(Debug)]
pub(crate) enum Called {
    /// As the server calls it.
    AsSent,
    /// So, and apart from other rules.
    ForRule(String),
    /// As it was called before.
    AsBefore(EntryNames),
}

/// Where it was put.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) session: Option<String>,
    pub(crate) context: String,
    /// The user's kubeconfig.
    pub(crate) merged: Option<Target>,
}

/// Whether [`keep`] has a chance, and what it keeps leads kubectl there, found out without leaving a trace: a session that cannot be kept
/// is better not begun.
pub(crate) fn check(app: &App, merge: bool) -> Result<(), Error> {
    app.store()?.check()?;
    let target = merge.then(user_kubeconfig::target).transpose()?;
    if target.is_some() {
        user_kubeconfig::check(app)?;
    }
    app.check_hand_over(target.as_ref())
}

/// Keeps a session's context, as the current one.
pub(crate) fn keep(app: &App, new: New) -> Result<Kept, Error> {
    let turn = app.store()?.turn()?;
    let own = own_kubeconfig::read(app, &turn)?;
    let target = new.merge.then(user_kubeconfig::target).transpose()?;
    let file = target
        .as_ref()
        .map(|target| user_kubeconfig::open(app, &target.path))
        .transpose()?;
    let mut known = app.known();
    let sent = Entry::current(new.kubeconfig).ok_or_else(|| unusable(app, Refused::NotConfig))?;
    let names = match new.called {
        Called::AsSent => sent.names(),
        Called::ForRule(rule) => entry_names::for_rule(sent.names(), &rule),
        Called::AsBefore(names) => names,
    };
    let names = free_names::free(app, &own, file.as_ref(), &known, &sent, names)?;
    let entry = sent.named(names);
    let context = entry.context.name.clone();
    own_kubeconfig::write(app, &turn, own, &entry)?;
    if let Some(session) = new.known {
        known.remember(KnownSession {
            context: Some(context.clone()),
            ..session
        });
    }
    if let Some(file) = file {
        // Remembered before it is there: nobody would know of it after a power cut.
        known.remember_merged(user_kubeconfig::record(app, &file, &entry, new.session.clone()));
        app.save_known(&turn, &known);
        let merged = merge::put_in(file.document().clone(), &entry);
        let merged = merged.map_err(|source| refused(file.path(), source))?;
        file.save(&merged)?;
    } else {
        app.save_known(&turn, &known);
    }
    Ok(Kept {
        session: new.session,
        context,
        merged: target,
    })
}

/// Makes the last context of the server that was put into the user's kubeconfig its current one, if there is one.
pub(crate) fn switch(app: &App) -> Result<Option<Kept>, Error> {
    let Some(turn) = turn(app) else {
        return Ok(None);
    };
    let target = user_kubeconfig::target()?;
    let mut known = app.known();
    let here = known.merged.iter().rfind(|record| record.file == target.path);
    let Some(mut record) = here.cloned() else {
        return Ok(None);
    };
    let file = user_kubeconfig::open(app, &target.path)?;
    if !file.document().has(List::Contexts, &record.context) {
        return Ok(None);
    }
    record.previous = user_kubeconfig::previous(app, &file);
    let kept = Kept {
        session: record.session.clone(),
        context: record.context.clone(),
        merged: Some(target),
    };
    known.remember_merged(record);
    app.save_known(&turn, &known);
    let switched = file.document().clone().with_current(&quoted(&kept.context));
    let switched = switched.map_err(|source| refused(file.path(), source))?;
    file.save(&switched)?;
    Ok(Some(kept))
}

/// What the context of a session is called here, if there is one.
pub(crate) fn names_of(app: &App, session: &str) -> Option<EntryNames> {
    let own = app.store().ok()?.read().ok()?;
    let known = app.known();
    let mut sessions = known.sessions.iter();
    let known = sessions.find(|one| one.name.as_deref() == Some(session));
    if let Some(names) = known.and_then(|known| own.context(known.context.as_ref()?)) {
        return Some(names);
    }
    let contexts = own.names(List::Contexts).into_iter();
    contexts
        .filter_map(|context| own.context(context))
        .find(|names| own_kubeconfig::leads_to(&own, names, session))
}

/// Whether a session's context was put into the user's own kubeconfig.
pub(crate) fn is_merged(app: &App, session: &str) -> bool {
    let merged = app.known().merged;
    merged.iter().any(|record| record.session.as_deref() == Some(session))
}

/// The user that asks for credentials here under `names`, if there is one.
pub(crate) fn user_of(app: &App, names: &EntryNames) -> Option<User> {
    let call = app.store().ok()?.read().ok()?.call(&names.user)?;
    exec_plugin::again(&call).map(User::from)
}

/// Remembers that a session began anew whose contexts are there already.
pub(crate) fn renew(app: &App, session: &str, login: &LoginResponse) {
    let (Some(names), Some(turn)) = (names_of(app, session), turn(app)) else {
        return;
    };
    let mut known = app.known();
    known.remember(KnownSession {
        name: Some(session.to_owned()),
        context: Some(names.context),
        ..KnownSession::from(login.clone())
    });
    app.save_known(&turn, &known);
}

/// Removes what is left of one session, and nothing else.
pub(crate) fn end(app: &App, session: &str) -> Result<(), Error> {
    let Some(turn) = turn(app) else { return Ok(()) };
    let mut known = app.known();
    let taken_out = user_kubeconfig::take_out(app, &mut known, |record| record.session.as_deref() == Some(session));
    let ended = own_kubeconfig::end(app, &turn, session, &known);
    if ended.is_ok() {
        known.sessions.retain(|one| one.name.as_deref() != Some(session));
    }
    app.save_known(&turn, &known);
    ended?;
    taken_out.map_err(Error::Left)
}

/// Removes what is left of all sessions at the server.
pub(crate) fn forget(app: &App) -> Result<(), Error> {
    let Some(turn) = turn(app) else { return Ok(()) };
    let mut known = app.known();
    let taken_out = user_kubeconfig::take_out(app, &mut known, |_| true);
    let forgotten = own_kubeconfig::forget(app, &turn, &known);
    if forgotten.is_ok() {
        known.sessions.clear();
    }
    app.save_known(&turn, &known);
    forgotten?;
    taken_out.map_err(Error::Left)
}

/// The kubeconfigs in which there is something of ours, and what they say.
pub(crate) fn kubeconfigs(app: &App) -> Vec<(PathBuf, Result<Document, MergeError>)> {
    let own = app.store().ok().filter(|store| store.path().exists());
    let own = own.map(|store| {
        let read = store.read().map_err(|source| refused(store.path(), source));
        (store.path().to_owned(), read)
    });
    let merged = app.known().merged.into_iter().map(|record| record.file);
    let merged = merged.map(|file| (file.clone(), UserFile::peek(&file)));
    own.into_iter().chain(merged).collect()
}

/// The turn to change what is there; none where nothing is.
fn turn(app: &App) -> Option<Turn> {
    Turn::in_existing(app.store().ok()?.folder())
}

fn refused(path: &Path, source: Refused) -> MergeError {
    MergeError::Refused {
        path: path.to_owned(),
        source,
    }
}

fn unusable(app: &App, source: Refused) -> Error {
    let path = app.store().map_or(Path::new(""), Store::path);
    refused(path, source).into()
}
