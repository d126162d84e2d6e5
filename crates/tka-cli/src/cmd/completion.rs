//! `tka completion`

use std::io::{self, Write};

use clap::ValueEnum;
use clap_complete::env::Shells;

use crate::cmd::complete::VARIABLE;
use crate::kubeconfig::exec_plugin;

/// Print a script that completes this command in your shell
///
/// The script runs this command while you type, so it also completes names of rules, sessions and clusters.
///
///   bash        source <(tka completion bash)                                  in ~/.bashrc
///   zsh         source <(tka completion zsh)                                   in ~/.zshrc, after compinit
///   fish        tka completion fish | source                                   in ~/.config/fish/config.fish
///   powershell  tka completion powershell | Out-String | Invoke-Expression     in $PROFILE
///   elvish      eval (tka completion elvish | slurp)                           in rc.elv
///   nushell     tka completion nushell | save -f ~/.config/tka-completion.nu   once, and `source` that in config.nu
///
/// For `kubectl tka`, link this program as `kubectl_complete-tka` into a folder of PATH, beside `kubectl-tka`.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    #[value(alias = "pwsh")]
    Powershell,
    Elvish,
    #[value(alias = "nu")]
    Nushell,
}

/// The name of the shell function.
const FUNCTION: &str = "tka";

/// Prints the script for the command `name` and for the shell function around it.
pub(crate) fn run(arguments: &Arguments, name: &str) -> io::Result<()> {
    let program = exec_plugin::command().display().to_string();
    let mut script = Vec::new();
    let shell = match arguments.shell {
        Shell::Nushell => {
            let text = include_str!("../kubeconfig/shell_integration/completion.nu");
            return io::stdout().write_all(text.replace("PROGRAM", &program).replace("NAME", name).as_bytes());
        }
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
        Shell::Elvish => "elvish",
    };
    let shells = Shells::builtins();
    let shell = shells.completer(shell).ok_or(io::ErrorKind::Unsupported)?;
    let mut names = vec![name, FUNCTION];
    names.dedup();
    for name in names {
        shell.write_registration(VARIABLE, name, name, &program, &mut script)?;
    }
    io::stdout().write_all(&script)
}
