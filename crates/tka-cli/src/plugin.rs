//! How kubectl asks this program for a credential: what a kubeconfig says of it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tka_api::exec::API_VERSION;
use tka_api::kubeconfig::{Exec, KubeconfigFile, User};

use crate::access::Access;
use crate::document::Call;
use crate::server::Server;

/// What kubectl says when this program is not where the kubeconfig says.
const INSTALL_HINT: &str =
    "tka is not where it was at the last sign-in: install it, and run `tka kubeconfig`, which mends this kubeconfig";

/// Lets the file's users ask this program for credentials of `session`, which `access` was asked for: no token is in it then.
pub(crate) fn use_for(file: &mut KubeconfigFile, server: &Server, session: &str, access: &Access) {
    for named in &mut file.users {
        named.user = user(server, session, access);
    }
}

/// A user who asks this program for credentials of `session`, which `access` was asked for.
pub(crate) fn user(server: &Server, session: &str, access: &Access) -> User {
    User::from(exec(server, session, access))
}

/// The question of `call`, put to this program where it is now, if it is one for this program.
pub(crate) fn again(call: &Call) -> Option<Exec> {
    asked_for(call).map(|_| with(call.args.clone()))
}

/// The same, where it would be put otherwise.
pub(crate) fn mended(call: &Call) -> Option<Exec> {
    let is_well = |exec: &Exec| (&exec.command, &exec.api_version) == (&call.command, &call.api_version);
    again(call).filter(|exec| !is_well(exec))
}

/// The server and session that `call` is to ask about, if it is a call of this program.
pub(crate) fn asked_for(call: &Call) -> Option<(&str, &str)> {
    let is_ours = call.args.first().is_some_and(|first| first == "credential");
    is_ours.then(|| Some((after(&call.args, "--server")?, session_in(&call.args)?)))?
}

/// The session that arguments name.
pub(crate) fn session_in(args: &[String]) -> Option<&str> {
    after(args, "--session")
}

fn after<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    let mut args = args.iter().skip_while(|arg| *arg != option);
    args.nth(1).map(String::as_str)
}

fn exec(server: &Server, session: &str, access: &Access) -> Exec {
    let server = server.to_string();
    let args = ["credential", "--server", &server, "--session", session].map(ToOwned::to_owned);
    // What was chosen is how to get the session back when it is over.
    with(args.into_iter().chain(access.choosing()).collect())
}

fn with(args: Vec<String>) -> Exec {
    Exec {
        api_version: API_VERSION.into(),
        command: command().display().to_string(),
        args,
        interactive_mode: "IfAvailable".into(),
        install_hint: INSTALL_HINT.into(),
    }
}

/// This program's path: programs with windows have no PATH to find it by. Where PATH leads to it by another name, such as a
/// package manager's link, it is that name, which stays when the program is replaced.
pub(crate) fn command() -> PathBuf {
    on_path()
        .or_else(|| env::current_exe().ok())
        .unwrap_or_else(|| "tka".into())
}

/// Where PATH leads to this program by the name that it was called by.
pub(crate) fn on_path() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    let name = env::args_os().next().map(PathBuf::from);
    let name = name
        .as_deref()
        .and_then(Path::file_name)
        .unwrap_or_else(|| "tka".as_ref());
    let path = env::var_os("PATH").unwrap_or_default();
    let mut candidates = env::split_paths(&path).filter(|folder| folder.is_absolute());
    let is_this = |candidate: &PathBuf| fs::canonicalize(candidate).ok() == fs::canonicalize(&program).ok();
    candidates.find_map(|folder| Some(folder.join(name)).filter(is_this))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_api::Token;
    use tka_api::kubeconfig::{Cluster, EntryNames, KeyedKubeconfig};

    fn file() -> KubeconfigFile {
        let names = EntryNames {
            cluster: "c".into(),
            user: "u".into(),
            context: "x".into(),
        };
        KeyedKubeconfig::new(names, Cluster::default(), Token::from("secret".to_owned()).into()).into()
    }

    #[test]
    fn token_gives_way_to_the_plugin() {
        let server = Server::new("tka", 8080, Some("example.ts.net")).unwrap();
        let mut file = file();
        let access = Access {
            rule: "oncall".to_owned().try_into().ok(),
            ..Access::default()
        };
        use_for(&mut file, &server, "tka-alice-abc", &access);
        assert!(file.users[0].user.token.is_none());
        let exec = file.users[0].user.exec.as_ref().unwrap();
        assert_eq!(
            exec.args[..3],
            ["credential", "--server", "http://tka.example.ts.net:8080"]
        );
        assert_eq!(session_in(&exec.args), Some("tka-alice-abc"));
        assert_eq!(exec.args[5..], ["--rule", "oncall"]);
        assert!(Path::new(&exec.command).is_absolute(), "{exec:?}");
    }
}
