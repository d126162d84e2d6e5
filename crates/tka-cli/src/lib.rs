#![doc = include_str!("../README.md")]

mod app;
mod args;
mod client;
mod cmd;
mod config;
mod error;
mod exit;
mod export;
mod flow;
mod kubeconfig;
mod proxy;
mod retry;
mod server;
mod store;
#[cfg(unix)]
mod subshell;
mod theme;
mod ui;
mod view;
mod when;

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

pub use args::Cli;

use app::App;
use args::{Command, Global};
use error::Error;
use exit::Exit;
use theme::Theme;

/// An error, and the theme to show it in.
struct Failure {
    error: Error,
    theme: Theme,
}

/// Runs the command line `arguments`, the program's name first, and answers the exit status of the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments = without_empty_command(arguments.into_iter().collect());
    match Cli::try_parse_from(&arguments) {
        Ok(cli) => dispatch(cli, &called(&arguments)).unwrap_or_else(|failure| failure.report()),
        Err(error) => explain(&error, &arguments),
    }
}

fn dispatch(cli: Cli, called: &str) -> Result<ExitCode, Failure> {
    let theme = cli.global.theme.unwrap_or_default();
    let done = match cli.command {
        None => help(called),
        Some(Command::Version(_)) => cmd::version::run(),
        Some(Command::Completion(arguments)) => cmd::completion::run(&arguments, called),
        Some(command) => return with_server(&cli.global, &command),
    };
    done.map(|()| ExitCode::SUCCESS).map_err(|error| Failure {
        error: error.into(),
        theme,
    })
}

/// The commands that need settings and a server.
fn with_server(flags: &Global, command: &Command) -> Result<ExitCode, Failure> {
    let theme = flags.theme.unwrap_or_default();
    let app = App::new(flags).map_err(|error| Failure { error, theme })?;
    let done = match command {
        Command::Login(arguments) => cmd::login::run(&app, arguments),
        Command::Kubeconfig(_) => cmd::kubeconfig::run(&app),
        Command::Get(arguments) => cmd::get::run(&app, arguments),
        Command::ClusterInfo(_) => cmd::cluster_info::run(&app),
        Command::Reauthenticate(_) => cmd::reauthenticate::run(&app),
        Command::Signout(_) => cmd::signout::run(&app),
        Command::Version(_) | Command::Completion(_) => Ok(ExitCode::SUCCESS),
    };
    done.map_err(|error| Failure {
        error,
        theme: app.config.theme,
    })
}

impl Failure {
    fn report(&self) -> ExitCode {
        if self.error.is_broken_pipe() {
            return Exit::Ok.into();
        }
        ui::complain(&view::error(&self.error, &self.theme.palette()));
        self.error.exit().into()
    }
}

fn help(called: &str) -> std::io::Result<()> {
    let mut command = Cli::command().bin_name(called);
    write!(anstream::stdout(), "{}", command.render_help().ansi())
}

/// Shows help, or what is wrong with the command line.
///
/// The original's shell functions evaluate what `login --quiet` prints, also when `-h` is among its arguments: then help must not
/// come on standard output.
fn explain(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let is_help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let evaluated = arguments
        .iter()
        .any(|argument| argument == "--quiet" || argument == "-q");
    if is_help && evaluated {
        let _ = write!(anstream::stderr(), "{}", error.render().ansi());
    } else {
        let _ = error.print();
    }
    if error.use_stderr() {
        Exit::Usage.into()
    } else {
        Exit::Ok.into()
    }
}

/// The original's shell function passes an empty command on when it is called without one.
fn without_empty_command(mut arguments: Vec<OsString>) -> Vec<OsString> {
    if arguments.get(1).is_some_and(|first| first.is_empty()) {
        arguments.remove(1);
    }
    arguments
}

/// The name that this program was called by.
fn called(arguments: &[OsString]) -> String {
    let program = arguments.first().map(Path::new).and_then(Path::file_stem);
    program.map_or_else(|| "tka".to_owned(), |name| name.to_string_lossy().into_owned())
}
