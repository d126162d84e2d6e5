//! What signing in leaves on this machine: a context in a kubeconfig of ours, with `--merge` one in the user's own too, and what is
//! known of the session. And how it goes again.

mod mend;
mod theirs;

use std::path::{Path, PathBuf};

use tka_api::http::LoginResponse;
use tka_api::kubeconfig::{EntryNames, KubeconfigFile, User};

use crate::app::App;
use crate::document::{Document, Entry, List, Refused, quoted};
use crate::error::Error;
use crate::known::{Known, KnownSession};
use crate::merge::{self, MergeError, Target, UserFile};
use crate::names;
use crate::plugin;
use crate::store::Turn;
use crate::view;

pub(crate) use mend::mend;

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

/// Whether [`keep`] has a chance, found out without leaving a trace: a session that cannot be kept is better not begun.
pub(crate) fn check(app: &App, merge: bool) -> Result<(), Error> {
    app.store.check()?;
    if merge {
        UserFile::check(&theirs::target()?.path, app.config.timeout)?;
    }
    Ok(())
}

/// Keeps a session's context, as the current one.
pub(crate) fn keep(app: &App, new: New) -> Result<Kept, Error> {
    let turn = app.store.turn()?;
    let own = own_document(app, &turn)?;
    let target = new.merge.then(theirs::target).transpose()?;
    let file = target
        .as_ref()
        .map(|target| theirs::open(app, &target.path))
        .transpose()?;
    let mut known = Known::load(app);
    let sent = Entry::current(new.kubeconfig).ok_or_else(|| unusable(app, Refused::NotConfig))?;
    let names = match new.called {
        Called::AsSent => sent.names(),
        Called::ForRule(rule) => names::for_rule(sent.names(), &rule),
        Called::AsBefore(names) => names,
    };
    let names = free(app, &own, file.as_ref(), &known, &sent, names)?;
    let entry = sent.named(names);
    let context = entry.context.name.clone();
    write_own(app, &turn, own, &entry)?;
    if let Some(session) = new.known {
        known.remember(KnownSession {
            context: Some(context.clone()),
            ..session
        });
    }
    if let Some(file) = &file {
        // Remembered before it is there: nobody would know of it after a power cut.
        known.remember_merged(theirs::record(app, file, &entry, new.session.clone()));
        known.save(&turn, app);
        let merged = merge::put_in(file.document().clone(), &entry);
        file.save(&merged.map_err(|source| refused(file.path(), source))?)?;
    } else {
        known.save(&turn, app);
    }
    Ok(Kept {
        session: new.session,
        context,
        merged: target,
    })
}

/// Makes the last context of the server that was put into the user's kubeconfig its current one, if there is one.
pub(crate) fn switch(app: &App) -> Result<Option<Kept>, Error> {
    let (Some(turn), target) = (Turn::in_existing(app.store.folder()), theirs::target()?) else {
        return Ok(None);
    };
    let mut known = Known::load(app);
    let here = known.merged.iter().rfind(|record| record.file == target.path);
    let Some(mut record) = here.cloned() else {
        return Ok(None);
    };
    let file = theirs::open(app, &target.path)?;
    if !file.document().has(List::Contexts, &record.context) {
        return Ok(None);
    }
    record.previous = theirs::previous(app, &file);
    let kept = Kept {
        session: record.session.clone(),
        context: record.context.clone(),
        merged: Some(target),
    };
    known.remember_merged(record);
    known.save(&turn, app);
    let switched = file.document().clone().with_current(&quoted(&kept.context));
    file.save(&switched.map_err(|source| refused(file.path(), source))?)?;
    Ok(Some(kept))
}

/// What the context of a session is called here, if there is one.
pub(crate) fn names_of(app: &App, session: &str) -> Option<EntryNames> {
    let own = app.store.read().ok()?;
    let known = Known::load(app);
    let mut sessions = known.sessions.iter();
    let known = sessions.find(|one| one.name.as_deref() == Some(session));
    if let Some(names) = known.and_then(|known| own.context(known.context.as_ref()?)) {
        return Some(names);
    }
    let contexts = own.names(List::Contexts).into_iter();
    contexts
        .filter_map(|context| own.context(context))
        .find(|names| leads_to(&own, names, session))
}

/// Whether a session's context was put into the user's own kubeconfig.
pub(crate) fn is_merged(app: &App, session: &str) -> bool {
    let merged = Known::load(app).merged;
    merged.iter().any(|record| record.session.as_deref() == Some(session))
}

/// The user that asks for credentials here under `names`, if there is one.
pub(crate) fn user_of(app: &App, names: &EntryNames) -> Option<User> {
    let call = app.store.read().ok()?.call(&names.user)?;
    plugin::again(&call).map(User::from)
}

/// Remembers that a session began anew whose contexts are there already.
pub(crate) fn renew(app: &App, session: &str, login: &LoginResponse) {
    let (Some(names), Some(turn)) = (names_of(app, session), Turn::in_existing(app.store.folder())) else {
        return;
    };
    let mut known = Known::load(app);
    known.remember(KnownSession {
        name: Some(session.to_owned()),
        context: Some(names.context),
        ..KnownSession::from(login.clone())
    });
    known.save(&turn, app);
}

/// Removes what is left of one session, and nothing else.
pub(crate) fn end(app: &App, session: &str) -> Result<(), Error> {
    let Some(turn) = Turn::in_existing(app.store.folder()) else {
        return Ok(());
    };
    let mut known = Known::load(app);
    let taken_out = theirs::take_out(app, &mut known, |record| record.session.as_deref() == Some(session));
    if let Ok(own) = app.store.read() {
        let rest = without(own.clone(), session, &known).map_err(|source| unusable(app, source))?;
        if rest.names(List::Contexts).is_empty() {
            app.store.remove()?;
        } else if rest.text() != own.text() {
            app.store.write(&turn, &rest)?;
        }
    }
    known.sessions.retain(|one| one.name.as_deref() != Some(session));
    known.save(&turn, app);
    taken_out.map_err(Error::Left)
}

/// Removes what is left of all sessions at the server.
pub(crate) fn forget(app: &App) -> Result<(), Error> {
    let Some(turn) = Turn::in_existing(app.store.folder()) else {
        return Ok(());
    };
    let mut known = Known::load(app);
    let taken_out = theirs::take_out(app, &mut known, |_| true);
    app.store.remove()?;
    known.sessions.clear();
    known.save(&turn, app);
    taken_out.map_err(Error::Left)
}

/// The kubeconfigs in which there is something of ours, and what they say.
pub(crate) fn kubeconfigs(app: &App) -> Vec<(PathBuf, Result<Document, MergeError>)> {
    let own = app.store.path().to_owned();
    let own = own
        .exists()
        .then(|| (own.clone(), app.store.read().map_err(|source| refused(&own, source))));
    let merged = Known::load(app).merged.into_iter().map(|record| record.file);
    let merged = merged.map(|file| (file.clone(), UserFile::peek(&file)));
    own.into_iter().chain(merged).collect()
}

/// The kubeconfig of ours. One that cannot be read is put aside, and told.
fn own_document(app: &App, turn: &Turn) -> Result<Document, Error> {
    match app.store.read() {
        Ok(own) => Ok(own),
        Err(source) => begin_anew(app, turn, &source),
    }
}

fn begin_anew(app: &App, turn: &Turn, why: &Refused) -> Result<Document, Error> {
    let aside = app.store.set_aside(turn)?;
    let path = app.store.path().display();
    let text = format!(
        "{path} is written anew, because {why}; what was there is now {}",
        aside.display()
    );
    app.ui.tell(&view::warning(&text, &app.ui.palette));
    app.store.blank().map_err(|source| unusable(app, source))
}

fn write_own(app: &App, turn: &Turn, own: Document, entry: &Entry) -> Result<(), Error> {
    let written = match merge::put_in(own, entry) {
        Ok(written) => written,
        Err(why) => {
            let blank = begin_anew(app, turn, &why)?;
            merge::put_in(blank, entry).map_err(|source| unusable(app, source))?
        }
    };
    app.store.write(turn, &written)?;
    Ok(())
}

/// `names`, or with the server's name, so that they mean nothing else to anybody.
fn free(
    app: &App,
    own: &Document,
    file: Option<&UserFile>,
    known: &Known,
    sent: &Entry,
    names: EntryNames,
) -> Result<EntryNames, Error> {
    let others = app.store.others();
    let is_elsewhere = |names: &EntryNames| {
        let has = |other: &Document| has_any(names, |list, name| other.has(list, name));
        others.iter().any(|other| has(other) && !leads_like(other, names, sent))
    };
    let is_theirs = |names: &EntryNames| {
        file.is_some_and(|file| {
            let ours = [
                merge::found(file.path(), file.document(), app.server()),
                known.merged.clone(),
            ]
            .concat();
            let is_ours = |list, name: &str| ours.iter().any(|one| one.file == file.path() && one.has(list, name));
            has_any(names, |list, name| {
                file.document().has(list, name) && !is_ours(list, name)
            })
        })
    };
    let is_preferred = |names: &EntryNames| own.has(List::Clusters, &names.cluster);
    let is_free = |names: &EntryNames| !is_elsewhere(names) && !is_theirs(names);
    names::free(&names, app.server(), is_preferred, is_free).ok_or_else(|| {
        let path = file.map_or(app.store.folder(), UserFile::path).to_owned();
        MergeError::Taken {
            path,
            name: names.context,
        }
        .into()
    })
}

/// Whether a context of another server's file is the same as the one that was sent: people spell one server in several ways.
fn leads_like(other: &Document, names: &EntryNames, sent: &Entry) -> bool {
    let exec = sent.user.user.exec.as_ref();
    let session = exec.and_then(|exec| plugin::session_in(&exec.args));
    other.context(&names.context).as_ref() == Some(names)
        && other.server(&names.cluster) == Some(&sent.cluster.cluster.server)
        && session.is_some_and(|session| leads_to(other, names, session))
}

fn has_any(names: &EntryNames, has: impl Fn(List, &str) -> bool) -> bool {
    has(List::Clusters, &names.cluster) || has(List::Users, &names.user) || has(List::Contexts, &names.context)
}

/// The kubeconfig of ours without a session.
fn without(own: Document, session: &str, known: &Known) -> Result<Document, Refused> {
    let mut sessions = known.sessions.iter();
    let known = sessions.find(|one| one.name.as_deref() == Some(session));
    let known = known.and_then(|known| known.context.as_deref());
    let is_known = |names: &EntryNames| known == Some(&names.context) && own.has_just_a_token(&names.user);
    let contexts = own.names(List::Contexts).into_iter();
    let contexts = contexts.filter_map(|context| own.context(context));
    let over: Vec<_> = contexts
        .filter(|names| leads_to(&own, names, session) || is_known(names))
        .collect();
    let is_current = over.iter().any(|names| own.current() == Some(&names.context));
    let mut rest = own;
    for names in &over {
        rest = rest.without(List::Contexts, &names.context)?;
        for (list, name) in [(List::Users, &names.user), (List::Clusters, &names.cluster)] {
            if !rest.is_used(list, name) {
                rest = rest.without(list, name)?;
            }
        }
    }
    if !is_current {
        return Ok(rest);
    }
    let next = rest.names(List::Contexts).last().map(|name| quoted(name));
    rest.with_current(next.as_deref().unwrap_or("\"\""))
}

fn leads_to(document: &Document, names: &EntryNames, session: &str) -> bool {
    let call = document.call(&names.user);
    call.is_some_and(|call| plugin::asked_for(&call).is_some_and(|(_, asked)| asked == session))
}

fn refused(path: &Path, source: Refused) -> MergeError {
    MergeError::Refused {
        path: path.to_owned(),
        source,
    }
}

fn unusable(app: &App, source: Refused) -> Error {
    refused(app.store.path(), source).into()
}
