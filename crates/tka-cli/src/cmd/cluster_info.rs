//! `tka cluster-info`, `tka get cluster-info`

use std::process::ExitCode;

use crate::context::CommandContext;
use crate::error::Error;
use crate::terminal::output::Output;

/// Show how to reach the cluster
///
/// The API server's address, how its certificate is verified, and the cluster's labels. Needs no session, but a rule that reaches you.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    let info = ctx.client()?.cluster_info()?;
    arguments.output.print_one(ctx.config.output_mode(), &info)?;
    Ok(ExitCode::SUCCESS)
}
