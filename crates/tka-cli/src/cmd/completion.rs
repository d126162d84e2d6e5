//! `tka completion`

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;

/// Print a script that completes this command in your shell
///
///   bash        source <(tka completion bash)
///   zsh         source <(tka completion zsh)
///   fish        tka completion fish | source
///   powershell  tka completion powershell | Out-String | Invoke-Expression
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Prints the script for the command called `name`, which it is called by.
pub(crate) fn run(arguments: &Arguments, name: &str) -> io::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), name, &mut script);
    io::stdout().write_all(&script)
}
