//! `tka kubeconfig`, `tka get kubeconfig`

use std::process::ExitCode;

use crate::context::CommandContext;
use crate::error::Error;
use crate::session::kubeconfig_options::KubeconfigOptions;
use crate::session::sign_in;

/// Write a kubeconfig for your session
///
/// Writes it to `~/.kube/tka/HOST_PORT.yaml` and prints the line that makes kubectl use it. Needs a session: see `tka login`.
///
/// Contexts of other sessions stay. If they call tka at a path without a program, that path is repaired.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    kubeconfig: KubeconfigOptions,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    let persisted = sign_in::fetch_kubeconfig(ctx, arguments.kubeconfig.persist_options(ctx))?;
    ctx.export_kubeconfig(persisted.merged.as_ref())?;
    Ok(ExitCode::SUCCESS)
}
