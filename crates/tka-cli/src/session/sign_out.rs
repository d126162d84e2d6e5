//! Signs out: ends the user's session, and removes what a session left on this machine.

use crate::api::client::{Client, ClientError};
use crate::context::CommandContext;
use crate::credential;
use crate::error::Error;
use crate::session::persist;

/// The result of a successful sign-out.
#[derive(Debug)]
pub(crate) enum SignedOut {
    /// The session of this user ended.
    User(String),
    /// There was no session. The error has the server's reason.
    NotSignedIn(ClientError),
}

/// Ends the session and removes its kubeconfig. If the session may still exist, the kubeconfig stays.
pub(crate) fn sign_out(ctx: &CommandContext) -> Result<SignedOut, Error> {
    let _spinner = ctx.ui.spinner("signing out");
    sign_out_with(ctx, &ctx.client()?)
}

/// Signs out with a given client.
pub(crate) fn sign_out_with(ctx: &CommandContext, client: &Client) -> Result<SignedOut, Error> {
    match client.sign_out() {
        Ok(user) => {
            remove_all(ctx)?;
            Ok(SignedOut::User(user))
        }
        Err(error) if error.is_not_signed_in() => {
            remove_all(ctx)?;
            Ok(SignedOut::NotSignedIn(error))
        }
        Err(error) => Err(match ctx.kubeconfig() {
            Some(path) => Error::SignOutFailed {
                error,
                path: path.to_owned(),
            },
            None => error.into(),
        }),
    }
}

/// Removes the local entries of an ended session.
pub(crate) fn remove_ended(ctx: &CommandContext, session: &str) -> Result<(), Error> {
    credential::remove(ctx, session);
    persist::remove_session(ctx, session)
}

/// Removes the entries and credentials of all sessions at the server.
fn remove_all(ctx: &CommandContext) -> Result<(), Error> {
    credential::remove_all(ctx);
    persist::remove_all(ctx)
}
