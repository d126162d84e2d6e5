//! `tka rules`

use std::process::ExitCode;

use crate::context::CommandContext;
use crate::error::Error;
use crate::report;
use crate::terminal::messages;
use crate::terminal::output::Output;

/// Show the rules that reach you, and what more access needs
///
/// Lists rules of the tailnet policy, highest priority first. Needs no session and changes nothing.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    let client = ctx.client()?;
    let rules = client.rules()?;
    if arguments.output.print(ctx.config.output_mode(), &rules)? {
        for line in report::rules::hints(&rules, client.server()) {
            ctx.ui.notify(&messages::note(&line, &ctx.ui.palette));
        }
    }
    Ok(ExitCode::SUCCESS)
}
