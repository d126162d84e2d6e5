//! Ending the user's session, and removing what a session left on this machine.

use crate::api::client::{Client, ClientError};
use crate::context::App;
use crate::credential;
use crate::error::Error;
use crate::session::persist;

/// How a sign-out ended well.
#[derive(Debug)]
pub(crate) enum SignedOut {
    /// The session of this user is over.
    User(String),
    /// There was no session; the server's account of it.
    NotSignedIn(ClientError),
}

/// Ends the session and removes its kubeconfig, which stays where the session may have stayed.
pub(crate) fn sign_out(app: &App) -> Result<SignedOut, Error> {
    let _spinner = app.ui.spinner("signing out");
    sign_out_by(app, &app.client()?)
}

/// The same, by a connection of its own.
pub(crate) fn sign_out_by(app: &App, client: &Client) -> Result<SignedOut, Error> {
    match client.sign_out() {
        Ok(user) => {
            forget(app)?;
            Ok(SignedOut::User(user))
        }
        Err(error) if error.is_not_signed_in() => {
            forget(app)?;
            Ok(SignedOut::NotSignedIn(error))
        }
        Err(error) => Err(match app.kubeconfig() {
            Some(path) => Error::KubeconfigKept {
                error,
                path: path.to_owned(),
            },
            None => error.into(),
        }),
    }
}

/// Removes what is left here of a session that is over.
pub(crate) fn clear(app: &App, session: &str) -> Result<(), Error> {
    credential::forget_session(app, session);
    persist::end(app, session)
}

/// Removes what signing in left on this machine.
fn forget(app: &App) -> Result<(), Error> {
    credential::forget(app);
    persist::forget(app)
}
