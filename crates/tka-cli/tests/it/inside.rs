//! `tka` that another program starts, in the environment and the folder that it would have without.

use std::ffi::OsString;
use std::process::Command;

/// `program arguments… tka …`.
pub(crate) fn started_by(program: &str, arguments: &[&str], tka: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(arguments).arg(tka.get_program()).args(tka.get_args());
    outer.env_clear().envs(variables(tka));
    if let Some(folder) = tka.get_current_dir() {
        outer.current_dir(folder);
    }
    outer
}

/// A shell that does what is `prepared`, and becomes `tka`.
pub(crate) fn after(prepared: &str, tka: &Command) -> Command {
    let script = format!("{prepared}; exec \"$@\"");
    started_by("sh", &["-euc", &script, "sh"], tka)
}

/// A shell with `script`, where `"$@"` is `tka`, as root in file systems of its own.
pub(crate) fn in_own_mounts(script: &str, tka: &Command) -> Command {
    let arguments = ["--mount", "--propagation", "private", "sh", "-euc", script, "sh"];
    let mut shell = started_by("unshare", &arguments, tka);
    shell.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    shell
}

/// The variables that are set for `command`.
pub(crate) fn variables(command: &Command) -> Vec<(OsString, OsString)> {
    let set = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
