//! `tka cluster-info`, `tka get cluster-info`

use std::process::ExitCode;

use crate::context::App;
use crate::error::Error;
use crate::terminal::output::Output;

/// Show how to reach the cluster
///
/// The API server's address, how its certificate is verified, and the cluster's labels. Needs no session, but a rule that reaches
/// you.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(app: &App, arguments: &Arguments) -> Result<ExitCode, Error> {
    let info = app.client()?.cluster_info()?;
    arguments.output.print_one(app.config.mode(), &info)?;
    Ok(ExitCode::SUCCESS)
}
