//! Starts the user's shell so that it uses the session.
//!
//! The user's start-up files may set KUBECONFIG, and commands would reach another cluster with another role. So it is set again after them.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use super::Program;
use crate::error::Error;
use crate::kubeconfig::env_variable::{self, ShellSyntax};
use crate::kubeconfig::store::StoreError;
use crate::sys::environment::variable;
use crate::sys::files;

/// Replaces the user's own file, and reads it. `ZDOTDIR` is where zsh looks for start-up files, and the user's file may change it.
const ZSHENV: &str = r#"tka_zdotdir=$ZDOTDIR
if (( ${+TKA_ZDOTDIR} )); then ZDOTDIR=$TKA_ZDOTDIR; else unset ZDOTDIR; fi
unset TKA_ZDOTDIR
if [[ -f ${ZDOTDIR:-$HOME}/.zshenv ]]; then source "${ZDOTDIR:-$HOME}/.zshenv"; fi
if [[ -o interactive ]]; then
  if (( ${+ZDOTDIR} )); then tka_users_zdotdir=$ZDOTDIR; fi
  ZDOTDIR=$tka_zdotdir
fi
"#;

/// Likewise. A system's start-up file may have derived the history file from `ZDOTDIR`.
const ZSHRC: &str = r#"if (( ${+tka_users_zdotdir} )); then ZDOTDIR=$tka_users_zdotdir; else unset ZDOTDIR; fi
if [[ ${HISTFILE-} == $tka_zdotdir/* ]]; then HISTFILE=${ZDOTDIR:-$HOME}/${HISTFILE:t}; fi
unset tka_zdotdir tka_users_zdotdir
if [[ -f ${ZDOTDIR:-$HOME}/.zshrc ]]; then source "${ZDOTDIR:-$HOME}/.zshrc"; fi
"#;

// === impl Program ===

impl Program {
    /// The program's name, and the command that starts it. `folder` is for start-up files.
    pub(super) fn command(&self, kubeconfig: &Path, folder: &Path) -> Result<(String, Command), Error> {
        let line = match self {
            Self::Command(words) => return Ok(plain(words)),
            Self::Shell => None,
            Self::Line(line) => Some(line.as_os_str()),
        };
        let shell = variable("SHELL").filter(|shell| !shell.is_empty());
        let shell = shell.unwrap_or_else(|| "/bin/sh".to_owned());
        let mut command = Command::new(&shell);
        prepare(&mut command, kind(&shell), kubeconfig, folder)?;
        if let Some(line) = line {
            command.arg("-c").arg(line);
        }
        Ok((format!("the shell {shell}"), command))
    }
}

fn plain(words: &[OsString]) -> (String, Command) {
    let split = words.split_first();
    let (program, arguments) = split.map_or((OsStr::new(""), &[][..]), |(first, rest)| (first, rest));
    let mut command = Command::new(program);
    command.args(arguments);
    (program.display().to_string(), command)
}

/// The file name of a shell.
fn kind(shell: &str) -> &str {
    Path::new(shell).file_name().and_then(OsStr::to_str).unwrap_or_default()
}

fn prepare(command: &mut Command, kind: &str, kubeconfig: &Path, folder: &Path) -> Result<(), Error> {
    let export = ShellSyntax::Posix.export(&env_variable::join([kubeconfig])?);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        files::replace_unsynced(&path, text.as_bytes()).map_err(|source| StoreError::Write { path, source })
    };
    match kind {
        "bash" => {
            write(
                "bashrc",
                format!("if [ -f ~/.bashrc ]; then . ~/.bashrc; fi\n{export}\n"),
            )?;
            command.arg("--rcfile").arg(folder.join("bashrc"));
        }
        "zsh" => {
            write(".zshenv", format!("{ZSHENV}{export}\n"))?;
            write(".zshrc", format!("{ZSHRC}{export}\n"))?;
            if let Some(users) = std::env::var_os("ZDOTDIR") {
                command.env("TKA_ZDOTDIR", users);
            }
            command.env("ZDOTDIR", folder);
        }
        "fish" => {
            command.args(["--init-command", &export]);
        }
        _ => {}
    }
    Ok(())
}
