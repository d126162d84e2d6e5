//! `tka generate …`

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::CommandFactory;
use clap_mangen::Man;

use crate::cmd::args::Cli;
use crate::error::Error;
use crate::kubeconfig::shell_integration::IntegrationShell;
use crate::sys::files;
use crate::terminal::output::PrintError;
use crate::terminal::ui;

/// The mode of a folder of manual pages, which others may read.
const PAGES: u32 = 0o777;

/// Print a shell function or manual pages
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Integration(Integration),
    Man(Manual),
}

/// Print a shell function `tka` that makes kubectl use what you sign in to
///
/// With it `tka login`, `tka kubeconfig`, `tka reauthenticate` and `tka clusters use` set KUBECONFIG in the calling shell. `tka logout`
/// unsets it. Everything else is as without it.
///
///   bash        eval "$(tka generate integration bash)"                        in ~/.bashrc
///   zsh         eval "$(tka generate integration zsh)"                         in ~/.zshrc
///   fish        tka generate integration fish | source                         in ~/.config/fish/config.fish
///   powershell  tka generate integration powershell | Out-String | iex         in $PROFILE
///   nushell     tka generate integration nushell | save -f ~/.config/tka.nu    once, and `source ~/.config/tka.nu` in config.nu
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
struct Integration {
    /// The shell
    shell: IntegrationShell,
}

/// Print the manual page of this command, or write those of all commands
#[derive(clap::Args, Debug)]
struct Manual {
    /// Write one page per command into this folder, which is created if needed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Generates for the program `name`.
pub(crate) fn run(arguments: &Arguments, name: &str) -> Result<ExitCode, Error> {
    match &arguments.action {
        Action::Integration(Integration { shell }) => printed(io::stdout().write_all(shell.function(name).as_bytes()))?,
        Action::Man(Manual { dir: None }) => {
            printed(Man::new(Cli::command().disable_help_subcommand(true)).render(&mut io::stdout()))?;
        }
        Action::Man(Manual { dir: Some(dir) }) => write_pages(dir).map_err(|source| Error::ManualPages {
            dir: dir.clone(),
            source,
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

fn printed(written: io::Result<()>) -> Result<(), Error> {
    written.map_err(|error| PrintError::Write(error).into())
}

fn write_pages(dir: &Path) -> io::Result<()> {
    files::make_folder(dir, PAGES)?;
    clap_mangen::generate_to(Cli::command(), dir)?;
    ui::write_stderr(&format!(
        "the manual is in {}: `man -l {}`\n",
        dir.display(),
        dir.join("tka.1").display()
    ));
    Ok(())
}
