//! `tka doctor`

use std::process::ExitCode;

use crate::context::CommandContext;
use crate::doctor;
use crate::error::Error;
use crate::terminal::output::Output;

/// Find out why something does not work, and what to do about it
///
/// Checks everything between you and the cluster, in this order: tailscale, the server's name, its response, its version. Then it checks
/// your identity, your rules, their roles, the API server and the clocks. Last come kubectl, its plugin and the permissions of the
/// kubeconfig. A check whose dependency failed is skipped. Changes nothing.
///
/// The exit status is 0 if nothing is wrong, else that of the first failed check. `-o name` prints the names of failed checks.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    let spinner = ctx.ui.spinner("checking");
    let diagnosis = doctor::diagnose(ctx);
    drop(spinner);
    arguments.output.print(ctx.config.output_mode(), &diagnosis)?;
    Ok(diagnosis.exit().into())
}
