//! `tka reauthenticate`

use std::process::ExitCode;

use crate::access::Access;
use crate::app::App;
use crate::error::Error;
use crate::flow::{self, Form};
use crate::signin;

/// Sign out and in again
///
/// For a role that has changed, or a full period from now on. The kubeconfig is replaced at the same place. The rule and the
/// reason stay those of the session, unless the tailnet policy no longer gives that rule or you choose another.
#[derive(clap::Args, Debug)]
#[command(visible_aliases = ["reauth", "refresh"])]
pub(crate) struct Arguments {
    /// Put a token into the kubeconfig, for programs that cannot run a plugin; it ends before the session may
    #[arg(long)]
    token: bool,

    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(app: &App, arguments: &Arguments) -> Result<ExitCode, Error> {
    // Before anything ends.
    signin::check(app, &arguments.access)?;
    let access = signin::as_before(app, arguments.access.clone())?;
    // Whether there was a session to end makes no difference to the one that begins.
    flow::sign_out(app)?;
    flow::sign_in(app, &access, Form::of(arguments.token))?;
    app.hand_over()?;
    Ok(ExitCode::SUCCESS)
}
