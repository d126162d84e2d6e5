//! The kubeconfig of ours for the server.

use std::path::Path;

use tka_api::kubeconfig::EntryNames;

use super::{refused, unusable};
use crate::context::App;
use crate::error::Error;
use crate::kubeconfig::exec_plugin;
use crate::kubeconfig::merge;
use crate::kubeconfig::session_cache::{Known, KnownSession};
use crate::kubeconfig::store::{Store, Turn};
use crate::terminal::messages;
use tka_kubeconfig::{Document, Entry, List, Refused, quoted};

/// The kubeconfig of ours. One that cannot be read is put aside, and told.
pub(super) fn read(app: &App, turn: &Turn) -> Result<Document, Error> {
    match app.store()?.read() {
        Ok(own) => Ok(own),
        Err(source) => begin_anew(app, turn, &source),
    }
}

fn begin_anew(app: &App, turn: &Turn, why: &Refused) -> Result<Document, Error> {
    let store = app.store()?;
    let aside = store.set_aside(turn)?;
    let path = store.path().display();
    let text = format!(
        "{path} is written anew, because {why}; what was there is now {}",
        aside.display()
    );
    app.ui.tell(&messages::warning(&text, &app.ui.palette));
    store.blank().map_err(|source| unusable(app, source))
}

/// Puts `entry` into it, as the current one.
pub(super) fn write(app: &App, turn: &Turn, own: Document, entry: &Entry) -> Result<(), Error> {
    let written = match merge::put_in(own, entry) {
        Ok(written) => written,
        Err(why) => {
            let blank = begin_anew(app, turn, &why)?;
            merge::put_in(blank, entry).map_err(|source| unusable(app, source))?
        }
    };
    app.store()?.write(turn, &written)?;
    Ok(())
}

/// Takes one session out of it.
pub(super) fn end(app: &App, turn: &Turn, session: &str, known: &Known) -> Result<(), Error> {
    let is_it = |one: &KnownSession| one.name.as_deref() == Some(session);
    match app.store()?.read() {
        Ok(own) => clear(app, turn, own, known, |_, asked| asked == session, is_it),
        // It will be put aside when somebody signs in or out.
        Err(_) => Ok(()),
    }
}

/// Takes all sessions at the server out of it. One that cannot be read is put aside, and told.
pub(super) fn forget(app: &App, turn: &Turn, known: &Known) -> Result<(), Error> {
    let server = app.server().to_string();
    let store = app.store()?;
    match store.read() {
        Ok(own) => clear(app, turn, own, known, |at, _| at == server, |_| true),
        Err(why) => {
            let aside = store.set_aside(turn)?;
            let path = store.path().display();
            let text = format!("{path} could not be read, because {why}; it is now {}", aside.display());
            app.ui.tell(&messages::warning(&text, &app.ui.palette));
            Ok(())
        }
    }
}

/// Takes sessions out: those that are asked for so, and those that are known. What else people and programs put into the file stays;
/// without anything else, the file goes.
fn clear(
    app: &App,
    turn: &Turn,
    own: Document,
    known: &Known,
    is_asked: impl Fn(&str, &str) -> bool,
    is_known: impl Fn(&KnownSession) -> bool,
) -> Result<(), Error> {
    let store = app.store()?;
    let before = own.clone();
    let left = |source| Error::Left(refused(store.path(), source));
    let rest = without(own, known, is_asked, is_known).map_err(left)?;
    if rest.is_blank() {
        store.remove()?;
    } else if rest.text() != before.text() {
        store.write(turn, &rest)?;
        note_current(app, &before, &rest);
    }
    Ok(())
}

/// Says where kubectl leads by our own file, where that is another context than before.
fn note_current(app: &App, before: &Document, now: &Document) {
    if now.current() == before.current() {
        return;
    }
    let path = app.store().map_or(Path::new(""), Store::path).display();
    let text = match now.current() {
        Some(name) => format!("{name} is the current context of {path} now"),
        None => format!("no context is current in {path} now"),
    };
    app.ui.tell(&messages::note(&text, &app.ui.palette));
}

fn without(
    own: Document,
    known: &Known,
    is_asked: impl Fn(&str, &str) -> bool,
    is_known: impl Fn(&KnownSession) -> bool,
) -> Result<Document, Refused> {
    let asks = |user: &str| {
        let call = own.call(user);
        call.is_some_and(|call| {
            exec_plugin::asked_for(&call).is_some_and(|(server, session)| is_asked(server, session))
        })
    };
    let is_token = |names: &EntryNames| {
        let has_context = |one: &KnownSession| one.context.as_ref() == Some(&names.context);
        let mut sessions = known.sessions.iter();
        own.has_just_a_token(&names.user) && sessions.any(|one| is_known(one) && has_context(one))
    };
    let over: Vec<_> = contexts(&own)
        .filter(|names| asks(&names.user) || is_token(names))
        .collect();
    let is_current = over.iter().any(|names| own.current() == Some(&names.context));
    // Also those whose context somebody took away.
    let users = own.names(List::Users).into_iter().filter(|user| asks(user));
    let users: Vec<_> = users
        .map(ToOwned::to_owned)
        .chain(over.iter().map(|names| names.user.clone()))
        .collect();
    let mut rest = own;
    for names in &over {
        rest = rest.without(List::Contexts, &names.context)?;
    }
    let clusters = over.iter().map(|names| (List::Clusters, &names.cluster));
    for (list, name) in users.iter().map(|user| (List::Users, user)).chain(clusters) {
        if !rest.is_used(list, name) {
            rest = rest.without(list, name)?;
        }
    }
    if !is_current {
        return Ok(rest);
    }
    let next = last(&rest, known).map(|name| quoted(&name));
    rest.with_current(next.as_deref().unwrap_or("\"\""))
}

/// The last context of a session. That of somebody else is not to become current without a word.
fn last(own: &Document, known: &Known) -> Option<String> {
    let is_known = |context: &String| known.sessions.iter().any(|one| one.context.as_ref() == Some(context));
    let asks = |user: &str| {
        own.call(user)
            .is_some_and(|call| exec_plugin::asked_for(&call).is_some())
    };
    let ours = contexts(own).filter(|names| asks(&names.user) || is_known(&names.context));
    ours.last().map(|names| names.context)
}

fn contexts(own: &Document) -> impl Iterator<Item = EntryNames> {
    let names = own.names(List::Contexts).into_iter();
    names.filter_map(|context| own.context(context))
}

/// Whether kubectl asks for credentials of that session there.
pub(super) fn leads_to(document: &Document, names: &EntryNames, session: &str) -> bool {
    let call = document.call(&names.user);
    call.is_some_and(|call| exec_plugin::asked_for(&call).is_some_and(|(_, asked)| asked == session))
}
