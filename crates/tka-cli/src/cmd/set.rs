//! `tka set …`

use std::process::ExitCode;

use super::config;
use crate::config::flags::Global;
use crate::error::Error;

/// Change a setting on this machine
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Config(config::Set),
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.action {
        Action::Config(set) => config::set(flags, set),
    }
}
