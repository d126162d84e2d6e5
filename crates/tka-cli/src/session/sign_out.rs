//! Ending the user's session, and removing what a session left on this machine.

use crate::api::client::{Client, ClientError};
use crate::context::CommandContext;
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
pub(crate) fn sign_out(ctx: &CommandContext) -> Result<SignedOut, Error> {
    let _spinner = ctx.ui.spinner("signing out");
    sign_out_with(ctx, &ctx.client()?)
}

/// The same, by a connection of its own.
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

/// Removes what is left here of a session that is over.
pub(crate) fn remove_ended(ctx: &CommandContext, session: &str) -> Result<(), Error> {
    credential::remove(ctx, session);
    persist::remove_session(ctx, session)
}

/// Removes what signing in left on this machine.
fn remove_all(ctx: &CommandContext) -> Result<(), Error> {
    credential::remove_all(ctx);
    persist::remove_all(ctx)
}
