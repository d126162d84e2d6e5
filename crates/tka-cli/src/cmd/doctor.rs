//! `tka doctor`

use std::process::ExitCode;

use crate::context::CommandContext;
use crate::doctor;
use crate::error::Error;
use crate::terminal::output::Output;

/// Find out why something does not work, and what to do about it
///
/// Checks one after the other what stands between you and the cluster: tailscale is up, the server's name resolves, it answers, its
/// version fits, it knows who you are, a rule reaches you, the cluster has its role, the API server can be reached, clocks agree,
/// kubectl is there, its plugin is, the kubeconfig is yours alone. What needs a thing that failed is not checked. Changes nothing.
///
/// The exit status is 0 when nothing is wrong, else that of the first thing that is. `-o name` prints the names of what is wrong.
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
