//! `tka reauthenticate`

use std::process::ExitCode;

use crate::api::access::Access;
use crate::context::CommandContext;
use crate::error::Error;
use crate::session::kubeconfig_options::KubeconfigOptions;
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
    kubeconfig: KubeconfigOptions,

    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    // Before anything ends.
    login_request::check(ctx, &arguments.access)?;
    let persisted = sign_in::sign_in_again(ctx, arguments.access.clone(), arguments.kubeconfig.persist_options(ctx))?;
    ctx.export_kubeconfig(persisted.merged.as_ref())?;
    Ok(ExitCode::SUCCESS)
}
