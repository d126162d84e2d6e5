//! `tka signout`

use std::process::ExitCode;

use crate::context::App;
use crate::error::Error;
use crate::session::sign_out::{self, SignedOut};
use crate::terminal::messages;

/// Sign out: your access ends now
///
/// Ends the session and removes its kubeconfig, save for what you or other programs put into it. When the server cannot be reached the
/// kubeconfig is kept, since the session is.
#[derive(clap::Args, Debug)]
#[command(visible_alias = "logout")]
pub(crate) struct Arguments {}

pub(crate) fn run(app: &App) -> Result<ExitCode, Error> {
    let signed_out = sign_out::sign_out(app)?;
    app.note_removal();
    match signed_out {
        SignedOut::User(user) => {
            app.ui
                .tell(&messages::done(&format!("signed out {user}"), &app.ui.palette));
            Ok(ExitCode::SUCCESS)
        }
        SignedOut::NotSignedIn(error) => Err(Error::Client(error)),
    }
}
