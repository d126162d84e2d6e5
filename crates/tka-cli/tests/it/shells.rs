//! The shells that people use, as far as this machine has them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::test_requirements::report_missing;

/// Where that shell is. It is said aloud where there is none, and is a failure where all are meant to be: in CI.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let places = ["/usr/bin", "/bin", "/usr/local/bin", "/opt/homebrew/bin"];
    let found = places
        .iter()
        .map(|place| Path::new(place).join(name))
        .find(|path| path.exists());
    if found.is_none() {
        report_missing(name);
    }
    found
}

/// That shell, without start-up files, running `script`.
pub(crate) fn running(shell: &Path, script: &str) -> Command {
    let mut command = plain(shell);
    command.arg("-c").arg(script);
    command
}

/// The same shell on a terminal.
pub(crate) fn interactive(shell: &Path) -> Command {
    let mut command = plain(shell);
    command.arg("-i");
    command
}

fn plain(shell: &Path) -> Command {
    let options: &[&str] = match shell.file_name().and_then(|name| name.to_str()) {
        Some("bash") => &["--noprofile", "--norc"],
        Some("zsh") => &["--no-rcs"],
        Some("fish") => &["--no-config"],
        _ => &[],
    };
    let mut command = Command::new(shell);
    command.args(options);
    command
}
