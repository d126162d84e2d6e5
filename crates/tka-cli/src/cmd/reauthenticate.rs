//! `tka reauthenticate`

use std::process::ExitCode;

use crate::api::access::AccessRequest;
use crate::context::CommandContext;
use crate::error::Error;
use crate::session::kubeconfig_options::KubeconfigOptions;
use crate::session::{export, login_request, sign_in};

/// Sign out and in again
///
/// For a changed role, or a full period from now on. The rule, the reason and the context's name stay. They change if the tailnet policy no
/// longer gives that rule, or if you select another. The replaced session is the one of the selected rule, else the last; other sessions go
/// on.
#[derive(clap::Args, Debug)]
#[command(visible_aliases = ["reauth", "refresh"])]
pub(crate) struct Arguments {
    #[command(flatten)]
    kubeconfig: KubeconfigOptions,

    #[command(flatten)]
    access: AccessRequest,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    // Checked before the session ends.
    let options = arguments.kubeconfig.persist_options(ctx);
    login_request::check(ctx, &arguments.access, options.form)?;
    let persisted = sign_in::sign_in_again(ctx, arguments.access.clone(), options)?;
    export::export(ctx, persisted.merged.as_ref())?;
    Ok(ExitCode::SUCCESS)
}
