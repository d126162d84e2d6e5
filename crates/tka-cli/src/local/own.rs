//! The kubeconfig of ours for the server.

use tka_api::kubeconfig::EntryNames;

use super::unusable;
use crate::app::App;
use crate::document::{Document, Entry, List, Refused, quoted};
use crate::error::Error;
use crate::known::Known;
use crate::merge;
use crate::plugin;
use crate::store::Turn;
use crate::view;

/// The kubeconfig of ours. One that cannot be read is put aside, and told.
pub(super) fn read(app: &App, turn: &Turn) -> Result<Document, Error> {
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

/// Puts `entry` into it, as the current one.
pub(super) fn write(app: &App, turn: &Turn, own: Document, entry: &Entry) -> Result<(), Error> {
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

/// The kubeconfig of ours without a session.
pub(super) fn without(own: Document, session: &str, known: &Known) -> Result<Document, Refused> {
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

/// Whether kubectl asks for credentials of that session there.
pub(super) fn leads_to(document: &Document, names: &EntryNames, session: &str) -> bool {
    let call = document.call(&names.user);
    call.is_some_and(|call| plugin::asked_for(&call).is_some_and(|(_, asked)| asked == session))
}
