//! A failing line for shells that evaluate the output of a command.
//!
//! `eval "$(tka login)"` succeeds on empty output, even with `set -e`. The script would go on with another cluster.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::panic;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::cmd::args::{self, Cli, Command};
use crate::config::flags::Global;
use crate::context;
use crate::error::Error;
use crate::kubeconfig::env_variable::ShellSyntax;
use crate::sys::{environment, signals};
use crate::terminal::ui;

/// The commands of which a command below prints shell code: the program itself, `get` and `clusters`.
const PARENTS: [&str; 3] = ["tka", "get", "clusters"];

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
    let meant = meant(arguments).map(|meant| Cli::command().ignore_errors(true).try_get_matches_from(meant));
    let flags = |typed| {
        let behind = Global::from_arg_matches(typed).unwrap_or_default();
        Global {
            no_eval: behind.no_eval || has_word(arguments, &["--no-eval", "-e"]),
            quiet: behind.quiet || has_word(arguments, &["--quiet", "-q"]),
            ..behind
        }
    };
    match meant {
        Some(Ok(typed)) => prints_shell_code(&typed) && is_shell_output(&flags(&typed)),
        // It may be meant for a shell.
        None => is_shell_output(&Global::default()),
        Some(Err(_)) => false,
    }
}

/// `arguments` from the command on, with the name of the nearest command in the place of one that does not exist. None where none is near that
/// could print shell code.
fn meant(arguments: &[OsString]) -> Option<Vec<OsString>> {
    let mut root = Cli::command();
    // Gives commands the global flags, of which some take a value.
    root.build();
    let (mut command, mut rest) = (&root, arguments);
    let mut meant: Vec<OsString> = vec![root.get_name().into()];
    while PARENTS.contains(&command.get_name()) {
        let Some(at) = args::subcommand_position(command, rest) else {
            break;
        };
        rest = &rest[at..];
        let word = rest.first()?;
        command = command.find_subcommand(word).or_else(|| nearest(command, word))?;
        meant.push(command.get_name().into());
    }
    meant.extend(rest.iter().skip(1).cloned());
    Some(meant)
}

/// The command below `parent` that the usage error suggests for `word`.
fn nearest<'a>(parent: &'a clap::Command, word: &OsString) -> Option<&'a clap::Command> {
    let line = [parent.get_name().into(), word.clone()];
    let error = parent.clone().try_get_matches_from(line).err()?;
    match error.get(ContextKind::SuggestedSubcommand)? {
        // The best comes last.
        ContextValue::Strings(names) => parent.find_subcommand(names.last()?),
        _ => None,
    }
}

fn has_word(arguments: &[OsString], spellings: &[&str]) -> bool {
    arguments
        .iter()
        .any(|argument| spellings.iter().any(|spelling| argument == spelling))
}

fn prints_shell_code(typed: &ArgMatches) -> bool {
    match typed.subcommand() {
        Some(("login", of)) => !has_flag(of, "shell"),
        Some(("kubeconfig", of)) => !has_flag(of, "committed"),
        // Where there is none, any may be meant.
        Some(("reauthenticate", _)) | None => true,
        Some(("get", of)) => matches!(of.subcommand(), Some(("kubeconfig", of)) if !has_flag(of, "committed")),
        Some(("clusters", of)) => of.subcommand_name() == Some("use"),
        Some(_) => false,
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
