//! What a shell evaluates when a command fails whose line it would have evaluated.
//!
//! `eval "$(tka login)"` of nothing succeeds, also with `set -e`, and a script would go on with whatever cluster kubectl led to before.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::cmd::args::{Cli, Command};
use crate::config::flags::Global;
use crate::context;
use crate::kubeconfig::env_variable::ShellSyntax;
use crate::sys::environment;
use crate::terminal::ui;

/// Prints the line that fails.
pub(crate) fn print_failure() {
    // There may be nothing left that reads it.
    let _ = ui::print(&ShellSyntax::detect(&environment::variable, cfg!(windows)).fail());
}

/// Whether a shell that evaluates what `command` prints is to be stopped where that fails. A terminal evaluates nothing, and neither does
/// who reads a path.
pub(crate) fn must_fail(command: Option<&Command>, flags: &Global) -> bool {
    let is_evaluated = match command {
        Some(Command::Login(arguments)) => arguments.is_evaluated(),
        Some(Command::Get(arguments)) => arguments.is_evaluated(),
        Some(Command::Clusters(arguments)) => arguments.is_evaluated(),
        Some(Command::Kubeconfig(_) | Command::Reauthenticate(_)) => true,
        _ => false,
    };
    is_evaluated && is_shell_output(flags)
}

/// The same of a command line that cannot be understood in all its parts.
pub(crate) fn must_fail_as_typed(arguments: &[OsString]) -> bool {
    let typed = Cli::command().ignore_errors(true).try_get_matches_from(arguments);
    typed.is_ok_and(|typed| {
        is_evaluated(&typed) && Global::from_arg_matches(&typed).is_ok_and(|flags| is_shell_output(&flags))
    })
}

fn is_evaluated(typed: &ArgMatches) -> bool {
    match typed.subcommand() {
        Some(("login", of)) => !of.try_get_one::<bool>("shell").is_ok_and(|shell| shell == Some(&true)),
        Some(("kubeconfig" | "reauthenticate", _)) => true,
        Some(("get", of)) => of.subcommand_name() == Some("kubeconfig"),
        Some(("clusters", of)) => of.subcommand_name() == Some("use"),
        _ => false,
    }
}

fn is_shell_output(flags: &Global) -> bool {
    // As when the line is printed: --quiet wins.
    let is_quiet = || flags.quiet || context::settings(flags).is_ok_and(|config| config.quiet);
    !io::stdout().is_terminal() && (!flags.no_eval || is_quiet())
}
