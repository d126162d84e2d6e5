//! `tka reauthenticate`

use std::process::ExitCode;

use crate::app::App;
use crate::error::Error;
use crate::flow;

/// Sign out and in again
///
/// For a role that has changed, or a full period from now on. The kubeconfig is replaced at the same place.
#[derive(clap::Args, Debug)]
#[command(visible_aliases = ["reauth", "refresh"])]
pub(crate) struct Arguments {}

pub(crate) fn run(app: &App) -> Result<ExitCode, Error> {
    // Whether there was a session to end makes no difference to the one that begins.
    flow::sign_out(app)?;
    flow::sign_in(app)?;
    app.hand_over()?;
    Ok(ExitCode::SUCCESS)
}
