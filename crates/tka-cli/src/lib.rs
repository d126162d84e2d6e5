#![doc = include_str!("../README.md")]

mod api;
mod cmd;
mod config;
mod context;
mod credential;
mod discovery;
mod doctor;
mod error;
mod exit;
mod kubeconfig;
mod net;
mod policy;
mod recordings;
mod report;
mod session;
mod sys;
mod terminal;
mod trace;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches};

pub use cmd::args::Cli;

use crate::session::notices;
use cmd::args::{self, Command};
use cmd::{complete, shell_eval};
use config::flags::Global;
use error::Error;
use exit::Exit;
use sys::signals;
use terminal::output::{self, PrintError, RenderOptions};
use terminal::theme::Theme;
use terminal::ui;

/// Runs the command line `arguments`, with the program's name first, and returns the exit status of the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Where this fails, the signal ends the process, as by default.
    let _ = signals::outlive_file_size_limit();
    let arguments: Vec<_> = arguments.into_iter().collect();
    let name = program_name(&arguments);
    if let Some(answered) = complete::respond(&arguments, &name) {
        return answered;
    }
    let arguments = args::expand_shell_command_flag(without_empty_command(arguments));
    match parse(&arguments, &name) {
        Ok(Cli { global, command }) => {
            let must_fail = shell_eval::must_fail(command.as_ref(), &global);
            let prepared = if must_fail {
                shell_eval::print_failure_at_any_end()
            } else {
                Ok(())
            };
            let exit = prepared
                .and_then(|()| dispatch(&global, command, &name))
                .unwrap_or_else(|error| {
                    let exit = report(&global, &error);
                    if must_fail && !error.is_broken_pipe() {
                        shell_eval::print_failure();
                    }
                    exit
                });
            trace::export();
            exit
        }
        Err(error) => print_usage(&error, &arguments),
    }
}

/// The command for usage and help. They show what the user types, which differs from the program's name under kubectl. Help fits the
/// terminal.
fn command(name: &str) -> clap::Command {
    let width = output::stdout_width().map_or(0, usize::from);
    Cli::command().bin_name(typed_name(name)).term_width(width)
}

fn parse(arguments: &[OsString], name: &str) -> Result<Cli, clap::Error> {
    let mut command = command(name);
    let matches = command.try_get_matches_from_mut(arguments)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn dispatch(flags: &Global, command: Option<Command>, name: &str) -> Result<ExitCode, Error> {
    let ctx = || notices::command_context(flags);
    match command {
        None => exit_after(help(flags, name)),
        Some(Command::Version(arguments)) => cmd::version::run(&arguments),
        Some(Command::Completion(arguments)) => exit_after(cmd::completion::run(&arguments, name)),
        Some(Command::Generate(arguments)) => cmd::generate::run(&arguments, name),
        Some(Command::Config(arguments)) => cmd::config::run(flags, &arguments),
        Some(Command::Set(arguments)) => cmd::set::run(flags, &arguments),
        Some(Command::Get(arguments)) => cmd::get::run(flags, &arguments),
        Some(Command::Login(arguments)) => cmd::login::run(flags, &arguments),
        Some(Command::Kubeconfig(arguments)) => cmd::kubeconfig::run(&ctx()?, &arguments),
        Some(Command::ClusterInfo(arguments)) => cmd::cluster_info::run(&ctx()?, &arguments),
        Some(Command::Reauthenticate(arguments)) => cmd::reauthenticate::run(&ctx()?, &arguments),
        #[cfg(unix)]
        Some(Command::Exec(arguments)) => cmd::exec::run(flags, arguments),
        #[cfg(unix)]
        Some(Command::Shell(arguments)) => cmd::shell::run(flags, arguments),
        Some(Command::Status(arguments)) => cmd::status::run(flags, &arguments),
        Some(Command::Sessions(arguments)) => cmd::sessions::run(&ctx()?, &arguments),
        Some(Command::Credential(arguments)) => cmd::credential::run(flags, &arguments),
        Some(Command::Doctor(arguments)) => cmd::doctor::run(&ctx()?, &arguments),
        Some(Command::Clusters(arguments)) => cmd::clusters::run(flags, &arguments),
        Some(Command::Approvals(arguments)) => cmd::approvals::run(&ctx()?, &arguments),
        Some(Command::Recordings(arguments)) => cmd::recordings::run(&ctx()?, &arguments),
        Some(Command::Audit(arguments)) => cmd::audit::run(&ctx()?, &arguments),
        Some(Command::Policy(arguments)) => cmd::policy::run(flags, &arguments),
        Some(Command::Rules(arguments)) => cmd::rules::run(&ctx()?, &arguments),
        Some(Command::Elevate(arguments)) => cmd::elevate::run(&ctx()?, &arguments),
        Some(Command::Signout(_)) => cmd::signout::run(&ctx()?),
    }
}

fn exit_after(printed: std::io::Result<()>) -> Result<ExitCode, Error> {
    printed
        .map(|()| ExitCode::SUCCESS)
        .map_err(|error| PrintError::Write(error).into())
}

/// The theme of the flags, else that of the settings if they can be read.
fn theme(flags: &Global) -> Theme {
    let set = || context::settings(flags).ok().map(|config| config.theme);
    flags.theme.or_else(set).unwrap_or_default()
}

/// Shows an error.
fn report(flags: &Global, error: &Error) -> ExitCode {
    if error.is_broken_pipe() {
        return Exit::Ok.into();
    }
    ui::write_stderr(&error.render(&RenderOptions::for_stderr(&theme(flags).palette())));
    error.exit().into()
}

fn help(flags: &Global, name: &str) -> std::io::Result<()> {
    let text = coloured(&command(name).render_help(), theme(flags));
    anstream::stdout().write_all(text.as_bytes())
}

fn coloured(text: &clap::builder::StyledStr, theme: Theme) -> String {
    if theme.has_colours() {
        text.ansi().to_string()
    } else {
        text.to_string()
    }
}

/// Shows help, or what is wrong with the command line.
///
/// The original's shell functions evaluate what `login --quiet` prints, even with `-h` among the arguments. So help must not go to standard
/// output then.
fn print_usage(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let evaluated = arguments
        .iter()
        .any(|argument| argument == "--quiet" || argument == "-q");
    let flags = Global {
        theme: args::find_theme(arguments),
        ..Global::default()
    };
    let text = coloured(&error.render(), theme(&flags));
    if error.use_stderr() || is_help && evaluated {
        ui::write_stderr(&text);
    } else {
        // The reader of the output may be gone.
        let _ = anstream::stdout().write_all(text.as_bytes());
    }
    if error.use_stderr() {
        if shell_eval::must_fail_as_typed(arguments) {
            shell_eval::print_failure();
        }
        Exit::Usage.into()
    } else {
        Exit::Ok.into()
    }
}

/// Removes an empty command, which the original's shell function passes when the user typed none.
fn without_empty_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| first.is_empty()) {
        arguments.remove(1);
    }
    arguments
}

/// What users type to call a program of that name (<https://kubernetes.io/docs/tasks/extend-kubectl/kubectl-plugins/>).
fn typed_name(name: &str) -> String {
    match name.strip_prefix("kubectl-") {
        Some(plugin) => format!("kubectl {plugin}"),
        None => name.to_owned(),
    }
}

/// The name that this program was called by.
fn program_name(arguments: &[OsString]) -> String {
    let program = arguments.first().map(Path::new).and_then(Path::file_stem);
    program.map_or_else(|| "tka".to_owned(), |name| name.to_string_lossy().into_owned())
}
