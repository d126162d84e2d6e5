//! Which session kubectl uses here.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use crate::known::KnownSession;
use crate::proxy::Variables;
use crate::server::{HTTPS_PORT, Server};

/// What the current context of a kubeconfig leads to.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Current {
    /// The file that sets it.
    file: PathBuf,
    context: String,
    /// The session that its plugin asks for, if that is ours.
    session: Option<String>,
}

/// As much of a kubeconfig as says where its current context leads. Whatever else people have in theirs does not matter.
#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    #[serde(rename = "current-context")]
    current_context: Option<String>,
    contexts: Option<Vec<NamedContext>>,
    users: Option<Vec<NamedUser>>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Option<Context>,
}

#[derive(Deserialize)]
struct Context {
    user: Option<String>,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    user: Option<User>,
}

#[derive(Deserialize)]
struct User {
    exec: Option<Exec>,
}

#[derive(Deserialize)]
struct Exec {
    args: Option<Vec<String>>,
}

/// The current context, as kubectl finds it: the first that is set in the files of `KUBECONFIG`, else in `~/.kube/config`.
pub(crate) fn find(home: &Path) -> Option<Current> {
    let list = env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    let paths: Vec<PathBuf> = match &list {
        Some(list) => env::split_paths(list).collect(),
        None => vec![home.join(".kube/config")],
    };
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).ok()?;
        Some((path, serde_saphyr::from_str(&text).ok()?))
    };
    in_files(&paths.into_iter().filter_map(read).collect::<Vec<_>>())
}

/// The first of several entries of one name wins, wherever it is.
fn in_files(files: &[(PathBuf, File)]) -> Option<Current> {
    let mut set = files
        .iter()
        .filter_map(|(path, file)| Some((path, file.current_context.as_deref()?)));
    let (path, context) = set.find(|(_, name)| !name.is_empty())?;
    let files = || files.iter().map(|(_, file)| file);
    let mut contexts = files().flat_map(|file| file.contexts.iter().flatten());
    let user = contexts
        .find(|named| named.name == context)
        .and_then(|named| named.context.as_ref()?.user.as_deref());
    let mut users = files().flat_map(|file| file.users.iter().flatten());
    let exec = users
        .find(|named| Some(named.name.as_str()) == user)
        .and_then(|named| named.user.as_ref()?.exec.as_ref());
    let args = exec.and_then(|exec| exec.args.as_ref()).into_iter().flatten();
    Some(Current {
        file: path.clone(),
        context: context.to_owned(),
        session: args.skip_while(|arg| *arg != "--session").nth(1).cloned(),
    })
}

// === impl Current ===

impl Current {
    /// Whether it leads to that session: by its name, or where the kubeconfig has a token, by its context's.
    pub(crate) fn is(&self, session: &KnownSession) -> bool {
        match &self.session {
            Some(name) => session.name.as_ref() == Some(name),
            None => session.context.as_ref() == Some(&self.context),
        }
    }

    /// The session of the command or shell that this runs in, if it leads there: its server, its role and when it ends.
    pub(crate) fn inside(&self, variables: Variables<'_>) -> Option<(Server, String, Timestamp)> {
        let leads_there = match &self.session {
            Some(name) => variables("TKA_SESSION").as_ref() == Some(name),
            None => variables("TKA_KUBECONFIG").map(PathBuf::from).as_ref() == Some(&self.file),
        };
        let server = Server::new(&variables("TKA_SERVER")?, HTTPS_PORT, None).ok()?;
        let until = variables("TKA_UNTIL")?.parse().ok()?;
        leads_there.then_some((server, variables("TKA_ROLE")?, until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: &str = "
current-context: tka-context-alice
contexts: [{name: tka-context-alice, context: {cluster: c, user: u}}]
users: [{name: u, user: {exec: {command: /bin/tka, args: [credential, --server, x, --session, tka-alice-1]}}}]
";

    fn current(texts: &[&str]) -> Option<Current> {
        let files = texts.iter().enumerate();
        let files = files.map(|(at, text)| (PathBuf::from(at.to_string()), serde_saphyr::from_str(text).unwrap()));
        in_files(&files.collect::<Vec<_>>())
    }

    #[test]
    fn first_file_that_sets_it_decides() {
        let found = |file: &str, context: &str, session: Option<&str>| {
            Some(Current {
                file: file.into(),
                context: context.into(),
                session: session.map(Into::into),
            })
        };
        let ours = |file| found(file, "tka-context-alice", Some("tka-alice-1"));
        assert_eq!(current(&[OURS]), ours("0"));
        assert_eq!(current(&["current-context: \"\"\nusers: null", OURS]), ours("1"));
        let other =
            "current-context: kind\ncontexts: [{name: kind, context: {user: k}}]\nusers: [{name: k, user: {token: t}}]";
        assert_eq!(current(&[other, OURS]), found("0", "kind", None));
        assert_eq!(current(&["current-context: gone", OURS]), found("0", "gone", None));
        assert_eq!(current(&["{}"]), None);
    }
}
