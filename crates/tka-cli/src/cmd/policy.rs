//! `tka policy …`

mod check;
mod options;
mod roles;
mod test;
mod who;

use std::process::ExitCode;

use crate::config::Config;
use crate::config::flags::Global;
use crate::context::settings;
use crate::error::Error;
use crate::terminal::output::OutputMode;

/// Check a tailnet policy in a file, and see what it gives
///
/// Reads the file and nothing else: no server, no tailnet. What the policy alone does not decide is said so.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Check(check::Arguments),
    Who(who::Arguments),
    Test(test::Arguments),
    Roles(roles::Arguments),
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.action {
        Action::Check(check) => check.run(),
        Action::Who(who) => who.run(mode(flags)),
        Action::Test(test) => test.run(),
        Action::Roles(roles) => roles.run(mode(flags)),
    }
}

/// The settings matter for colours alone, so that a wrong file of them stops nothing.
fn mode(flags: &Global) -> OutputMode {
    let config = settings(flags);
    let theme = config.as_ref().map(|config: &Config| config.theme).unwrap_or_default();
    OutputMode {
        quiet: flags.quiet,
        long: flags.long,
        theme: flags.theme.unwrap_or(theme),
    }
}
