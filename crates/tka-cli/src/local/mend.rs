//! Kubeconfigs that call this program where it is no longer.

use std::path::Path;

use tka_api::kubeconfig::{NamedUser, User};

use super::{refused, theirs, unusable};
use crate::app::App;
use crate::document::{Document, List, Refused};
use crate::error::Error;
use crate::known::Known;
use crate::merge::UserFile;
use crate::plugin;
use crate::store::Turn;

/// Lets kubeconfigs call this program where it is now, whichever session they ask for. Answers for how many users.
pub(crate) fn mend(app: &App) -> Result<usize, Error> {
    let Some(turn) = Turn::in_existing(app.store.folder()) else {
        return Ok(0);
    };
    let mut count = 0;
    if let Ok(own) = app.store.read() {
        let (mended, users) = mended(own).map_err(|source| unusable(app, source))?;
        if users > 0 {
            app.store.write(&turn, &mended)?;
        }
        count += users;
    }
    for path in theirs::files(&Known::load(app), |_| true) {
        count += mend_theirs(app, &path)?;
    }
    Ok(count)
}

fn mend_theirs(app: &App, path: &Path) -> Result<usize, Error> {
    // One in which nothing is to be mended is not even locked.
    let is_well = |document: Document| mended(document).is_ok_and(|(_, users)| users == 0);
    if UserFile::peek(path).map_or(true, is_well) {
        return Ok(0);
    }
    let file = theirs::open(app, path)?;
    let (mended, users) = mended(file.document().clone()).map_err(|source| refused(path, source))?;
    file.save(&mended)?;
    Ok(users)
}

fn mended(document: Document) -> Result<(Document, usize), Refused> {
    let users = document.names(List::Users).into_iter();
    let calls = users.filter_map(|name| Some((name, plugin::mended(&document.call(name)?)?)));
    let users: Vec<_> = calls
        .map(|(name, exec)| NamedUser {
            name: name.to_owned(),
            user: User::from(exec),
        })
        .collect();
    let count = users.len();
    let mended = users.iter().try_fold(document, Document::with_user)?;
    Ok((mended, count))
}
