//! The plugin entry by which kubectl asks this program for a credential.

use std::env::{self, consts::EXE_SUFFIX};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use tka_api::exec::API_VERSION;
use tka_api::kubeconfig::{Exec, KubeconfigFile, User};

use crate::net::server::Server;
use crate::sys::search_path;
use tka_kubeconfig::ExecConfig;

/// kubectl shows this if the program is not at its path.
const INSTALL_HINT: &str =
    "tka is not where it was at the last sign-in: install it, and run `tka kubeconfig`, which repairs this kubeconfig";

/// Sets the plugin of all users to this program, for credentials of `session`. `rule_options` are those of the sign-in. Tokens go.
pub(crate) fn set_plugin(file: &mut KubeconfigFile, server: &Server, session: &str, rule_options: &[String]) {
    for named in &mut file.users {
        named.user = plugin_user(server, session, rule_options);
    }
}

/// A user entry with this program as its plugin, for credentials of `session`.
pub(crate) fn plugin_user(server: &Server, session: &str, rule_options: &[String]) -> User {
    User::from(exec(server, session, rule_options))
}

/// The plugin entry of `call` with the current path of this program, if it is a call of `tka`.
pub(crate) fn with_current_command(call: &ExecConfig) -> Option<Exec> {
    requested_session(call).map(|_| exec_with(call.args.clone()))
}

/// Whether `call` is a call of `tka`. Other plugins have such arguments too. So the program's name decides, unless the call `is_known`.
pub(crate) fn is_tka_call(call: &ExecConfig, is_known: bool) -> bool {
    let has_name = || Path::new(&call.command).file_name().is_some_and(is_tka_name);
    requested_session(call).is_some() && (is_known || has_name())
}

/// Whether `call` is a call of `tka` at a path without a program. A bare name, to be found by PATH, is deliberate and stays.
pub(crate) fn is_broken(call: &ExecConfig, is_known: bool) -> bool {
    let path = Path::new(&call.command);
    is_tka_call(call, is_known) && path.is_absolute() && !search_path::is_program(path)
}

/// Whether `name` is a name of this program: its own, kubectl's, or that in the original's shell functions.
fn is_tka_name(name: &OsStr) -> bool {
    let name = name.to_str().and_then(|name| name.strip_suffix(EXE_SUFFIX));
    name.is_some_and(|name| ["tka", "kubectl-tka", "ts-k8s-auth"].contains(&name))
}

/// Whether kubectl finds the program of `call` from a kubeconfig in `folder`: a bare name in PATH, or a path relative to `folder`
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#configuration>).
pub(crate) fn is_resolvable(call: &ExecConfig, folder: &Path) -> bool {
    let command = Path::new(&call.command);
    if command.parent().is_some_and(|parent| !parent.as_os_str().is_empty()) {
        return search_path::is_program(&folder.join(command));
    }
    search_path::find(&call.command).is_some()
}

/// The server and session in the arguments of `call`, if it is a call of `tka`.
pub(crate) fn requested_session(call: &ExecConfig) -> Option<(&str, &str)> {
    let is_ours = call.args.first().is_some_and(|first| first == "credential");
    is_ours.then(|| Some((option_value(&call.args, "--server")?, session_argument(&call.args)?)))?
}

pub(crate) fn session_argument(args: &[String]) -> Option<&str> {
    option_value(args, "--session")
}

fn option_value<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    let mut args = args.iter().skip_while(|arg| *arg != option);
    args.nth(1).map(String::as_str)
}

fn exec(server: &Server, session: &str, rule_options: &[String]) -> Exec {
    let server = server.to_string();
    let args = ["credential", "--server", &server, "--session", session].map(ToOwned::to_owned);
    // The options say how to sign in again.
    exec_with(args.into_iter().chain(rule_options.iter().cloned()).collect())
}

fn exec_with(args: Vec<String>) -> Exec {
    Exec {
        api_version: API_VERSION.into(),
        command: command().display().to_string(),
        args,
        interactive_mode: "IfAvailable".into(),
        install_hint: INSTALL_HINT.into(),
    }
}

/// The path of this program, since graphical programs have no PATH to find it. If PATH has it under another name, such as a package
/// manager's link, that path is used: it stays valid after an update.
pub(crate) fn command() -> PathBuf {
    find_on_path().or_else(program).unwrap_or_else(|| name().into())
}

/// The path in PATH of this program, under the name that it was called by.
pub(crate) fn find_on_path() -> Option<PathBuf> {
    let (program, name) = (fs::canonicalize(program()?).ok()?, name());
    let is_this = |candidate: &PathBuf| fs::canonicalize(candidate).is_ok_and(|found| found == program);
    let mut folders = search_path::folders().into_iter();
    folders.find_map(|folder| Some(folder.join(&name)).filter(is_this))
}

/// The path of this program, or of the one that replaced it meanwhile. None if it was removed.
fn program() -> Option<PathBuf> {
    existing_program(env::current_exe().ok()?)
}

/// The program at `path`. Linux appends a word if the running file was replaced (`proc_pid_exe(5)`).
fn existing_program(path: PathBuf) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    let before = PathBuf::from(path.to_str()?.strip_suffix(" (deleted)")?);
    before.exists().then_some(before)
}

/// The name that this program was called by.
fn name() -> OsString {
    let called = env::args_os().next().map(PathBuf::from);
    let name = called.as_deref().and_then(Path::file_name);
    name.unwrap_or_else(|| "tka".as_ref()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_api::Token;
    use tka_api::kubeconfig::{Cluster, EntryNames, KeyedKubeconfig};

    fn file() -> KubeconfigFile {
        let names = EntryNames::new("c", "u", "x");
        KeyedKubeconfig::new(names, Cluster::default(), Token::from("secret".to_owned()).into()).into()
    }

    #[test]
    fn broken_is_a_tka_call_without_a_program() {
        let is_broken = |command: &str, is_known| {
            let args = ["credential", "--server", "x", "--session", "y"].map(ToOwned::to_owned);
            let call = ExecConfig {
                api_version: API_VERSION.into(),
                command: command.into(),
                args: args.to_vec(),
            };
            let other = ExecConfig {
                args: args[..3].to_vec(),
                ..call.clone()
            };
            assert!(!super::is_broken(&other, is_known), "{command}");
            super::is_broken(&call, is_known)
        };
        for name in ["tka", "kubectl-tka", "ts-k8s-auth"] {
            assert!(is_broken(&format!("/gone/{name}{EXE_SUFFIX}"), false), "{name}");
            assert!(!is_broken(name, true), "PATH is to lead there");
        }
        assert!(is_broken("/gone/my-tka", true) && !is_broken("/gone/my-tka", false));
        assert!(!is_broken(&env::current_exe().unwrap().display().to_string(), true));
        assert!(!is_broken("./tka", true) && !is_broken("", true));
    }

    #[test]
    fn replaced_program_is_found_and_removed_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tka");
        let deleted = folder.path().join("tka (deleted)");
        assert_eq!(existing_program(deleted.clone()), None);
        assert_eq!(existing_program(path.clone()), None);
        fs::write(&path, "").unwrap();
        assert_eq!(existing_program(deleted.clone()).as_ref(), Some(&path));
        fs::write(&deleted, "").unwrap();
        assert_eq!(existing_program(deleted.clone()), Some(deleted));
    }

    #[test]
    fn token_gives_way_to_the_plugin() {
        let server = Server::new("tka", 8080, Some("example.ts.net")).unwrap();
        let mut file = file();
        let rule_options = ["--rule", "oncall"].map(ToOwned::to_owned);
        set_plugin(&mut file, &server, "tka-alice-abc", &rule_options);
        assert!(file.users[0].user.token.is_none());
        let exec = file.users[0].user.exec.as_ref().unwrap();
        let call = ["credential", "--server", "http://tka.example.ts.net:8080"];
        assert_eq!(exec.args[..3], call);
        assert_eq!(session_argument(&exec.args), Some("tka-alice-abc"));
        assert_eq!(exec.args[5..], ["--rule", "oncall"]);
        assert!(Path::new(&exec.command).is_absolute(), "{exec:?}");
    }
}
