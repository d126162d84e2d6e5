//! How kubectl asks this program for a credential: what a kubeconfig says of it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use tka_api::exec::API_VERSION;
use tka_api::kubeconfig::{Exec, KubeconfigFile, User};

use crate::access::Access;
use crate::server::Server;

/// What kubectl says when this program is not where the kubeconfig says.
const INSTALL_HINT: &str =
    "tka is not where it was at the last sign-in: install it, and write this kubeconfig anew with `tka kubeconfig`";

/// Lets the file's users ask this program for credentials of `session`, which `access` was asked for: no token is in it then.
pub(crate) fn use_for(file: &mut KubeconfigFile, server: &Server, session: &str, access: &Access) {
    for named in &mut file.users {
        named.user = User::from(exec(server, session, access));
    }
}

/// The session that the file's plugin is asked for, if it is one of a server of this project.
pub(crate) fn session(file: &KubeconfigFile) -> Option<String> {
    let exec = file.users.first()?.user.exec.as_ref()?;
    let mut args = exec.args.iter().skip_while(|arg| *arg != "--session");
    args.nth(1).cloned()
}

fn exec(server: &Server, session: &str, access: &Access) -> Exec {
    let server = server.to_string();
    let args = ["credential", "--server", &server, "--session", session].map(ToOwned::to_owned);
    Exec {
        api_version: API_VERSION.into(),
        command: command().display().to_string(),
        // What was chosen is how to get the session back when it is over.
        args: args.into_iter().chain(access.choosing()).collect(),
        interactive_mode: "IfAvailable".into(),
        install_hint: INSTALL_HINT.into(),
    }
}

/// This program's path: programs with windows have no PATH to find it by. Where PATH leads to it by another name, such as a
/// package manager's link, it is that name, which stays when the program is replaced.
fn command() -> PathBuf {
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
        assert_eq!(session(&file), None);
        let access = Access {
            rule: "oncall".to_owned().try_into().ok(),
            ..Access::default()
        };
        use_for(&mut file, &server, "tka-alice-abc", &access);
        assert!(file.users[0].user.token.is_none());
        assert_eq!(session(&file).as_deref(), Some("tka-alice-abc"));
        let exec = file.users[0].user.exec.as_ref().unwrap();
        assert_eq!(
            exec.args[..3],
            ["credential", "--server", "http://tka.example.ts.net:8080"]
        );
        assert_eq!(exec.args[5..], ["--rule", "oncall"]);
        assert!(Path::new(&exec.command).is_absolute(), "{exec:?}");
    }
}
