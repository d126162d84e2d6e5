//! A failing line for shells that evaluate the output of a command.
//!
//! `eval "$(tka login)"` succeeds on empty output, even with `set -e`. The script would go on with another cluster.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::panic;

use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::cmd::args::{Cli, Command};
use crate::config::flags::Global;
use crate::context;
use crate::error::Error;
use crate::kubeconfig::env_variable::ShellSyntax;
use crate::sys::{environment, signals};
use crate::terminal::ui;

/// Prints the failing line.
pub(crate) fn print_failure() {
    // The reader may be gone.
    let _ = ui::print(&ShellSyntax::detect(&environment::variable, cfg!(windows)).fail());
}

/// Has the failing line be printed also where a signal or a bug ends this process, which leave no time for anything else.
pub(crate) fn print_failure_at_any_end() -> Result<(), Error> {
    let inform = panic::take_hook();
    panic::set_hook(Box::new(move |why| {
        inform(why);
        print_failure();
    }));
    signals::on_terminating_signal(print_failure).map_err(Error::Signals)
}

/// Whether a failure of `command` must fail in the shell that evaluates its output. Terminals evaluate nothing, and neither do readers of a
/// path.
pub(crate) fn must_fail(command: Option<&Command>, flags: &Global) -> bool {
    let prints_shell_code = match command {
        Some(Command::Login(arguments)) => arguments.prints_shell_code(),
        Some(Command::Get(arguments)) => arguments.prints_shell_code(),
        Some(Command::Clusters(arguments)) => arguments.prints_shell_code(),
        Some(Command::Kubeconfig(arguments)) => arguments.prints_shell_code(),
        Some(Command::Reauthenticate(_)) => true,
        _ => false,
    };
    prints_shell_code && is_shell_output(flags)
}

/// The same for a command line that cannot be parsed.
pub(crate) fn must_fail_as_typed(arguments: &[OsString]) -> bool {
    let typed = Cli::command().ignore_errors(true).try_get_matches_from(arguments);
    typed.is_ok_and(|typed| {
        prints_shell_code(&typed) && Global::from_arg_matches(&typed).is_ok_and(|flags| is_shell_output(&flags))
    })
}

fn prints_shell_code(typed: &ArgMatches) -> bool {
    match typed.subcommand() {
        Some(("login", of)) => !has_flag(of, "shell"),
        Some(("kubeconfig", of)) => !has_flag(of, "committed"),
        Some(("reauthenticate", _)) => true,
        Some(("get", of)) => matches!(of.subcommand(), Some(("kubeconfig", of)) if !has_flag(of, "committed")),
        Some(("clusters", of)) => of.subcommand_name() == Some("use"),
        _ => false,
    }
}

fn has_flag(typed: &ArgMatches, flag: &str) -> bool {
    typed.try_get_one::<bool>(flag).is_ok_and(|given| given == Some(&true))
}

fn is_shell_output(flags: &Global) -> bool {
    // As for the line itself, --quiet overrides --no-eval.
    let is_quiet = || flags.quiet || context::settings(flags).is_ok_and(|config| config.quiet);
    !io::stdout().is_terminal() && (!flags.no_eval || is_quiet())
}
