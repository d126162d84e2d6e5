//! `tka signout`

use std::process::ExitCode;

use crate::context::CommandContext;
use crate::error::Error;
use crate::session::export;
use crate::session::sign_out::{self, SignedOut};
use crate::terminal::messages;

/// Sign out: your access ends now
///
/// Ends the session and removes its kubeconfig, except for entries of you or other programs. If the server cannot be reached, the
/// kubeconfig stays, since the session does.
#[derive(clap::Args, Debug)]
#[command(visible_alias = "logout")]
pub(crate) struct Arguments {}

pub(crate) fn run(ctx: &CommandContext) -> Result<ExitCode, Error> {
    let signed_out = sign_out::sign_out(ctx)?;
    export::unset_removed(ctx);
    match signed_out {
        SignedOut::User(user) => {
            ctx.ui
                .notify(&messages::done(&format!("signed out {user}"), &ctx.ui.palette));
            Ok(ExitCode::SUCCESS)
        }
        SignedOut::NotSignedIn(error) => Err(Error::Client(error)),
    }
}
