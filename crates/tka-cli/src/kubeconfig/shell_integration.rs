//! A shell function `tka` around this program. It sets a variable of the calling shell, which no program can.
//!
//! The function names a new file in `TKA_EXPORT_FILE`, in the user's own folder. If there is something to set, this program writes it to
//! that file, in the language of the file's extension. The function reads it afterwards. So the function passes on all arguments and leaves
//! the terminal's streams alone.

use std::env;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::kubeconfig::env_variable::ShellSyntax;
use crate::kubeconfig::store::{self, StoreError};
use crate::sys::files;

/// Names the file to write to. Child processes do not get it.
pub(crate) const FILE: &str = "TKA_EXPORT_FILE";

/// Shells that have a function.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum IntegrationShell {
    Bash,
    Zsh,
    Fish,
    #[value(alias = "pwsh")]
    Powershell,
    #[value(alias = "nu")]
    Nushell,
}

// === impl IntegrationShell ===

impl IntegrationShell {
    /// The function around the program `program`.
    pub(crate) fn function(self, program: &str) -> String {
        let text = match self {
            Self::Bash | Self::Zsh => include_str!("shell_integration/posix.sh"),
            Self::Fish => include_str!("shell_integration/fish.fish"),
            Self::Powershell => include_str!("shell_integration/powershell.ps1"),
            Self::Nushell => include_str!("shell_integration/nushell.nu"),
        };
        text.replace("PROGRAM", program)
    }
}

/// The file that the shell function reads, if the function called.
pub(crate) fn file() -> Option<PathBuf> {
    let path = PathBuf::from(env::var_os(FILE)?);
    path.is_absolute().then_some(path)
}

/// Checks whether [`set`] can succeed, without leaving a trace.
pub(crate) fn check(file: &Path) -> Result<(), StoreError> {
    if file.symlink_metadata().is_ok() {
        return Err(StoreError::not_written(file, io::ErrorKind::AlreadyExists.into()));
    }
    let folder = file.parent().unwrap_or(Path::new("/"));
    let probed = files::probe(folder, files::RESERVE);
    probed.map_err(|(path, source)| StoreError::NotWritable { path, source })?;
    let existing = folder.ancestors().find(|one| one.exists()).unwrap_or(folder);
    if existing == folder || files::inherits_owner() {
        store::check_owner(existing, None)?;
    }
    Ok(())
}

/// Has the shell function set `KUBECONFIG` to `list`, or unset it.
pub(crate) fn set(file: &Path, list: Option<&str>) -> Result<(), StoreError> {
    let shell = ShellSyntax::of_file(file);
    let line = list.map_or_else(|| shell.unset(), |list| shell.export(list));
    let failed = |source| StoreError::not_written(file, source);
    if let Some(folder) = file.parent() {
        files::make_folder(folder, files::PRIVATE).map_err(failed)?;
        // A shell runs the content of the file.
        store::check_owner(folder, None)?;
    }
    write(file, &(line + "\n")).map_err(failed)
}

fn write(file: &Path, text: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // An existing file could be an attacker's.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)?.write_all(text.as_bytes())
}
