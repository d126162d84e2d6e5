//! `tka reauthenticate`

use std::process::ExitCode;

use crate::api::access::Access;
use crate::context::App;
use crate::error::Error;
use crate::session::kubeconfig_options::Keep;
use crate::session::login_request;
use crate::session::sign_in;

/// Sign out and in again
///
/// For a role that has changed, or a full period from now on. The rule, the reason and the name of the context stay those of the session,
/// unless the tailnet policy no longer gives that rule or you choose another. Of several sessions it is the one through the rule that you
/// choose, else the last; the others go on.
#[derive(clap::Args, Debug)]
#[command(visible_aliases = ["reauth", "refresh"])]
pub(crate) struct Arguments {
    #[command(flatten)]
    keep: Keep,

    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(app: &App, arguments: &Arguments) -> Result<ExitCode, Error> {
    // Before anything ends.
    login_request::check(app, &arguments.access)?;
    let kept = sign_in::sign_in_again(app, arguments.access.clone(), arguments.keep.how(app))?;
    app.hand_over(kept.merged.as_ref())?;
    Ok(ExitCode::SUCCESS)
}
