//! The current context of kubectl, and the session that it uses.

use std::path::{Path, PathBuf};
use std::{env, io};

use jiff::Timestamp;
use tka_kubeconfig::{Kubeconfig, User, merge, sources};

use crate::kubeconfig::env_variable;
use crate::kubeconfig::gateway_address::GatewayAddress;
use crate::kubeconfig::session_cache::{CachedSession, SessionCache};
use crate::kubeconfig::store;
use crate::net::proxy::Variables;
use crate::net::server::{HTTPS_PORT, Server};
use crate::sys::files::regular;

/// The current context and its credentials.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct CurrentContext {
    /// The file that sets it.
    file: PathBuf,
    context: String,
    /// Whether a file defines it.
    is_defined: bool,
    /// The session in the arguments of the plugin, if there is one.
    session: Option<String>,
    /// The file that defines it, if the credential is a token, or none as for the gateway.
    plain_file: Option<PathBuf>,
    /// The gateway that it goes through, if it does.
    gateway: Option<GatewayAddress>,
}

/// How a context stands to an elevation at a server. Those that it does not reach say their name.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum ElevationScope {
    /// The elevation acts for it while it lasts.
    Elevated,
    /// It goes through the gateway, and names a rule or a session.
    Named(String),
    /// It does not go through the gateway of that server.
    Elsewhere(String),
}

/// Finds the current context as kubectl does, in the files of `KUBECONFIG` or in `~/.kube/config`. None if a file cannot be read, since
/// kubectl then fails too.
pub(crate) fn find(home: &Path) -> Option<CurrentContext> {
    let read = |path: PathBuf| match regular::read(&path) {
        Ok(bytes) => Some(Kubeconfig::read(&bytes).ok().map(|file| (path, file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(None),
    };
    let files: Option<Vec<_>> = sources(files(home)).into_iter().filter_map(read).collect();
    from_files(files?)
}

/// The files that kubectl reads.
fn files(home: &Path) -> Vec<PathBuf> {
    if env::var_os("KUBECONFIG").is_none_or(|list| list.is_empty()) {
        return vec![home.join(".kube/config")];
    }
    env_variable::paths()
}

/// Says that the file at `path` sets no current context any more, and which one kubectl uses if another file sets it.
pub(crate) fn none_in(path: &Path, home: Option<&Path>) -> String {
    let none = format!("{} has no current context now", path.display());
    match home.filter(|home| is_read(path, home)).and_then(find) {
        Some(current) if whole(&current.file) != path => {
            format!("{none}: kubectl uses {} of {}", current.context, current.file.display())
        }
        _ => none,
    }
}

/// Whether `context`, which the file at `path` sets and does not define, is defined by another file.
pub(crate) fn is_defined_beside(path: &Path, context: &str, home: Option<&Path>) -> bool {
    let current = home.filter(|home| is_read(path, home)).and_then(find);
    current.is_some_and(|current| current.is_defined && current.context == context)
}

/// Whether kubectl reads the file at `path`.
fn is_read(path: &Path, home: &Path) -> bool {
    files(home).iter().any(|one| whole(one) == path)
}

fn whole(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn from_files(files: Vec<(PathBuf, Kubeconfig)>) -> Option<CurrentContext> {
    let (paths, files): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let merged = merge(files);
    let file = paths.get(merged.current_from?)?.clone();
    let user = merged.kubeconfig.current_user();
    let exec = user.and_then(|user| user.exec.as_ref());
    let is_plain = user.is_some_and(User::is_plain);
    let args = exec.map(|exec| exec.args.as_slice()).unwrap_or_default();
    let home = merged.file_of_current_context().filter(|_| is_plain);
    let cluster = merged.kubeconfig.current().map(|context| &context.cluster);
    let cluster = cluster.and_then(|name| tka_kubeconfig::find(&merged.kubeconfig.clusters, name));
    let gateway = cluster.and_then(|cluster| GatewayAddress::parse(&cluster.server));
    Some(CurrentContext {
        file,
        is_defined: merged.kubeconfig.current().is_some(),
        plain_file: home.and_then(|at| paths.get(at).cloned()),
        // Also where the context leads to no user at all.
        gateway: gateway.filter(|_| user.is_none_or(User::is_plain)),
        session: args.iter().skip_while(|arg| *arg != "--session").nth(1).cloned(),
        context: merged.kubeconfig.current_context,
    })
}

// === impl CurrentContext ===

impl CurrentContext {
    /// Whether it uses `session`: by the session's name, or by the context's name if `tka` wrote no plugin.
    pub(crate) fn uses(&self, cache: &SessionCache, session: &CachedSession) -> bool {
        match (&self.session, &self.plain_file) {
            (Some(name), _) => session.name.as_ref() == Some(name),
            (None, Some(file)) => {
                session.context.as_ref() == Some(&self.context) && self.is_written_by_tka(cache, file)
            }
            (None, None) => false,
        }
    }

    /// How it stands to an elevation at one of `servers`, which are the replicas of one.
    pub(crate) fn reach(&self, servers: &[Server]) -> ElevationScope {
        let gateway = self.gateway.as_ref();
        match gateway.filter(|gateway| servers.iter().any(|server| gateway.is_at(server))) {
            Some(gateway) if gateway.is_open() => ElevationScope::Elevated,
            Some(_) => ElevationScope::Named(self.context.clone()),
            None => ElevationScope::Elsewhere(self.context.clone()),
        }
    }

    /// Whether `tka` wrote it into that file.
    fn is_written_by_tka(&self, cache: &SessionCache, file: &Path) -> bool {
        let mut merged = cache.merged.iter();
        let is_own = file.parent().is_some_and(|folder| folder.ends_with(store::FOLDER));
        is_own || merged.any(|record| record.context == self.context && record.is_in(file))
    }

    /// The ephemeral session that this process runs in, if the context uses it: server, role and end.
    pub(crate) fn ephemeral_session(&self, variables: Variables<'_>) -> Option<(Server, String, Timestamp)> {
        let is_ephemeral = match &self.session {
            Some(name) => variables("TKA_SESSION").as_ref() == Some(name),
            None => variables("TKA_KUBECONFIG").map(PathBuf::from) == self.plain_file,
        };
        let server = Server::new(&variables("TKA_SERVER")?, HTTPS_PORT, None).ok()?;
        let until = variables("TKA_UNTIL")?.parse().ok()?;
        is_ephemeral.then_some((server, variables("TKA_ROLE")?, until))
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

    fn current(texts: &[&str]) -> Option<CurrentContext> {
        let files = texts.iter().enumerate();
        let files = files.map(|(at, text)| (PathBuf::from(at.to_string()), Kubeconfig::from_text(text).unwrap()));
        from_files(files.collect())
    }

    #[test]
    fn first_file_that_sets_it_decides() {
        let found = |file: &str, context: &str, session: Option<&str>| {
            Some(CurrentContext {
                file: file.into(),
                context: context.into(),
                is_defined: context != "gone",
                session: session.map(Into::into),
                plain_file: Some("0".into()).filter(|_| context == "kind"),
                gateway: None,
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

    #[test]
    fn elevation_reaches_gateway_contexts_that_name_no_rule() {
        let reach = |address: &str, user: &str| {
            let user = if user.is_empty() {
                String::new()
            } else {
                format!("users: [{{name: u, user: {user}}}]")
            };
            let text = format!(
                "current-context: team\ncontexts: [{{name: team, context: {{cluster: c, user: u}}}}]\nclusters: [{{name: c, cluster: \
                 {{server: '{address}'}}}}]\n{user}"
            );
            let servers = ["http://tka-0:8080", "http://tka-1:8080"];
            let servers = servers.map(|url| Server::new(url, HTTPS_PORT, None).unwrap());
            current(&[&text]).unwrap().reach(&servers)
        };
        for user in ["{}", "{token: unused}", ""] {
            assert_eq!(
                reach("http://tka-1.example.ts.net:8080/k8s", user),
                ElevationScope::Elevated
            );
        }
        let (named, elsewhere) = (
            ElevationScope::Named("team".into()),
            ElevationScope::Elsewhere("team".into()),
        );
        assert_eq!(reach("http://tka-0:8080/k8s/rule/oncall", "{}"), named);
        assert_eq!(reach("http://tka-2:8080/k8s", "{}"), elsewhere);
        assert_eq!(reach("https://k8s.example.com:6443", "{}"), elsewhere);
        assert_eq!(reach("http://tka-0:8080/k8s", "{exec: {command: x}}"), elsewhere);
        assert_eq!(
            current(&[OURS]).unwrap().reach(&[]),
            ElevationScope::Elsewhere("tka-context-alice".into())
        );
    }

    /// cases.md 1
    #[test]
    fn foreign_entries_do_not_hide_ours() {
        for theirs in [
            "contexts: [{context: {cluster: lab, user: k}}]",
            "contexts: [{name: null, context: {cluster: lab}}]",
            "users: [{name: k, user: {token: a, token: b}}]",
            "users: [{name: k, user: {token: !!timestamp 2001-01-02}}]",
            "users: [{name: k, user: {exec: {args: null}}}]\n---\n",
        ] {
            let found = current(&[theirs, OURS]).unwrap();
            assert_eq!(found.session.as_deref(), Some("tka-alice-1"), "{theirs}");
        }
    }

    /// cases.md 1
    #[test]
    fn context_that_an_earlier_file_defines_otherwise_is_not_ours() {
        for earlier in [
            "contexts: [{name: tka-context-alice, context: {cluster: lab, user: k}}]",
            "contexts: [{name: tka-context-alice}]",
            "users: [{name: u, user: {token: t}}]",
        ] {
            let found = current(&[earlier, OURS]).unwrap();
            assert_eq!((found.session, found.plain_file), (None, None), "{earlier}");
        }
        let token = OURS.replace(
            "{exec: {command: /bin/tka, args: [credential, --server, x, --session, tka-alice-1]}}",
            "{token: t}",
        );
        let earlier = "contexts: [{name: tka-context-alice, context: {cluster: lab, user: k}}]\nusers: [{name: k, user: {token: t}}]";
        assert_eq!(current(&[&token]).unwrap().plain_file, Some("0".into()));
        let found = current(&[earlier, &token]).unwrap();
        assert_eq!(found.plain_file, Some("0".into()), "which we did not write");
        let found = current(&["users: [{name: u, user: {token: t}}]", &token]).unwrap();
        assert_eq!(found.plain_file, None);
    }
}
