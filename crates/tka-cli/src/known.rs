//! What this device knows of its sessions without asking: beside each server's kubeconfig a file without any secret.
//!
//! It is what prompts show and where `tka status` begins. It may be behind: a session may have been ended elsewhere. What is lost
//! or damaged of it is as if it had never been known.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tka_api::http::{LoginResponse, SessionInfo};

use crate::app::App;
use crate::server::{HTTPS_PORT, Server};

/// The sessions of this device at one server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct Known {
    /// The server's URL.
    server: String,
    pub(crate) sessions: Vec<KnownSession>,
}

/// One session, as it was last seen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct KnownSession {
    /// Its name; none at the original's server.
    pub(crate) name: Option<String>,
    /// The context that was written for it.
    pub(crate) context: Option<String>,
    pub(crate) username: String,
    pub(crate) role: String,
    pub(crate) until: Timestamp,
}

/// What is known of every server that this device is signed in at.
pub(crate) fn everywhere(folder: &Path) -> Vec<Known> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

/// Remembers a sign-in, in place of what was known of the same session. Where it cannot be remembered it will be asked for.
pub(crate) fn remember(app: &App, login: &LoginResponse, session: Option<String>, context: &str) {
    let path = path(app.store.path());
    let mut known = read(&path).unwrap_or_default();
    known.server = app.server().to_string();
    let context = Some(context.to_owned());
    known
        .sessions
        .retain(|one| one.name != session && one.context != context);
    known.sessions.push(KnownSession {
        name: session,
        context,
        username: login.username.clone(),
        role: login.role.clone(),
        until: login.until,
    });
    if let Err(error) = write(&path, &known) {
        app.ui.debug(&format!("the session was not remembered: {error}"));
    }
}

/// Forgets what is known beside `kubeconfig`.
pub(crate) fn forget(kubeconfig: &Path) {
    let _ = fs::remove_file(path(kubeconfig));
}

/// Where it is kept.
fn path(kubeconfig: &Path) -> PathBuf {
    kubeconfig.with_extension("json")
}

fn read(path: &Path) -> Option<Known> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// In one step, and readable by its owner only.
fn write(path: &Path, known: &Known) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::NotFound)?;
    let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec(known)?)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

// === impl Known ===

impl Known {
    /// Nothing yet.
    pub(crate) fn at(server: &Server) -> Self {
        Self {
            server: server.to_string(),
            sessions: vec![],
        }
    }

    pub(crate) fn server(&self) -> Option<Server> {
        Server::new(&self.server, HTTPS_PORT, None).ok()
    }

    /// Puts what a server said in the place of what was known: of a session that it did not name only contexts were right.
    pub(crate) fn update(&mut self, folder: &Path, mut sessions: Vec<KnownSession>) {
        for session in &mut sessions {
            let mut before = self.sessions.iter();
            let before = before.find(|before| before.name == session.name);
            session.context = before.and_then(|before| before.context.clone());
        }
        if self.sessions == sessions {
            return;
        }
        self.sessions = sessions;
        if let Some(server) = self.server() {
            let path = folder.join(format!("{}.json", server.file_stem()));
            // A device that never signed in there has nothing to be reminded of.
            if path.exists() {
                let _ = write(&path, self);
            }
        }
    }
}

// === impl KnownSession ===

impl From<SessionInfo> for KnownSession {
    fn from(session: SessionInfo) -> Self {
        Self {
            name: Some(session.name),
            context: None,
            username: session.username,
            role: session.role,
            until: session.until,
        }
    }
}

/// The original's server gives sessions no names.
impl From<LoginResponse> for KnownSession {
    fn from(login: LoginResponse) -> Self {
        Self {
            name: None,
            context: None,
            username: login.username,
            role: login.role,
            until: login.until,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str, context: Option<&str>) -> KnownSession {
        KnownSession {
            name: Some(name.into()),
            context: context.map(Into::into),
            username: "alice@example.com".into(),
            role: "view".into(),
            until: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_the_server_says_replaces_all_but_contexts() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::new("tka", 8080, None).unwrap();
        let mut known = Known::at(&server);
        known.sessions = vec![session("one", Some("c")), session("two", Some("d"))];
        let path = folder.path().join("tka_8080.json");
        write(&path, &known).unwrap();
        known.update(folder.path(), vec![session("two", None), session("three", None)]);
        assert_eq!(known.sessions, [session("two", Some("d")), session("three", None)]);
        assert_eq!(everywhere(folder.path()), [known]);
    }

    #[test]
    fn what_is_damaged_was_never_known() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.json", "{"), ("b.json", ""), ("c.yaml", "{}"), ("d.json", "\u{0}")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert!(everywhere(folder.path()).is_empty());
        assert!(everywhere(Path::new("/nowhere")).is_empty());
    }
}
