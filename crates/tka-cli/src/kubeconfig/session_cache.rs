//! The cached sessions of this device: one file per server beside its kubeconfig, without secrets.
//!
//! Prompts show it, and `tka status` starts with it. It may be outdated, since a session may end elsewhere. A damaged file counts as none.

use std::path::{Path, PathBuf};
use std::{fs, io};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tka_api::http::{LoginResponse, SessionInfo};
use tka_core::SessionLabel;

use crate::kubeconfig::store::{FolderLock, KubeconfigStore};
use crate::net::server::{HTTPS_PORT, Server};
use crate::sys::files::{self, regular};

/// The sessions of this device at one server.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct SessionCache {
    /// The server's URL.
    server: String,
    pub(crate) sessions: Vec<CachedSession>,
    /// The entries in kubeconfigs of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) merged: Vec<MergedEntry>,
    /// The entries in the kubeconfig of `tka`. Other programs write there, too: it is the one that `KUBECONFIG` names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) written: Vec<MergedEntry>,
}

/// One session, as last seen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct CachedSession {
    /// Its name. None at the original's server.
    pub(crate) name: Option<String>,
    /// The context that was written for it.
    pub(crate) context: Option<String>,
    pub(crate) username: String,
    pub(crate) role: String,
    pub(crate) until: Timestamp,
    /// Whether its context leads through the gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) gateway: bool,
    /// Since when it elevates the device, if it does. It has no context then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) elevated: Option<Timestamp>,
}

/// Whether it elevates its device: it acts for what uses the gateway without naming a rule.
pub(crate) fn is_elevation(session: &SessionInfo) -> bool {
    session.label.as_deref() == Some(SessionLabel::elevation().as_str())
}

/// An entry in a kubeconfig, recorded for its removal.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct MergedEntry {
    /// The kubeconfig.
    pub(crate) file: PathBuf,
    /// Whether `tka` created the file.
    #[serde(default)]
    pub(crate) created: bool,
    pub(crate) session: Option<String>,
    pub(crate) cluster: String,
    pub(crate) user: String,
    pub(crate) context: String,
    /// The current context before the entries of `tka`, as written.
    pub(crate) previous: Option<String>,
    /// The address of the cluster. None in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

/// Loads the caches of all servers in `folder`.
pub(crate) fn load_all(folder: &Path) -> Vec<SessionCache> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_cache = |path: &PathBuf| path.extension() == Some("json".as_ref());
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(is_cache).collect();
    paths.sort();
    paths.iter().filter_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Option<SessionCache> {
    serde_json::from_slice(&regular::read_unlinked(path).ok()?).ok()
}

/// Adds an entry to `records`, or replaces it.
fn record(records: &mut Vec<MergedEntry>, entry: MergedEntry) {
    records.retain(|one| one.context != entry.context || !one.is_in(&entry.file));
    records.push(entry);
}

fn write(path: &Path, cache: &SessionCache) -> io::Result<()> {
    files::replace(path, &serde_json::to_vec(cache)?)
}

// === impl SessionCache ===

impl SessionCache {
    /// An empty cache.
    pub(crate) fn at(server: &Server) -> Self {
        Self {
            server: server.to_string(),
            ..Self::default()
        }
    }

    /// Loads the cache of the server.
    pub(crate) fn load(store: Option<&KubeconfigStore>, server: &Server) -> Self {
        let saved = store.and_then(|store| read(&store.session_cache()));
        let saved = saved.filter(|saved| !server.is_other(&saved.server));
        let cache = saved.unwrap_or_else(|| Self::at(server));
        Self {
            server: server.to_string(),
            ..cache
        }
    }

    /// Saves the cache. An empty one is removed.
    pub(crate) fn save(&self, _: &FolderLock, store: &KubeconfigStore) -> io::Result<()> {
        let path = store.session_cache();
        if self.sessions.is_empty() && self.merged.is_empty() {
            let _ = fs::remove_file(path);
            return Ok(());
        }
        write(&path, self)
    }

    /// The elevation that acts at `now`: of several the last one, as at the server.
    pub(crate) fn elevation(&self, now: Timestamp) -> Option<&CachedSession> {
        let live = self.sessions.iter().filter(|session| session.until > now);
        let elevations = live.filter(|session| session.elevated.is_some());
        elevations.max_by_key(|session| (session.elevated, &session.name))
    }

    /// Adds a session, or replaces it.
    pub(crate) fn put(&mut self, session: CachedSession) {
        let has_its_context = |one: &CachedSession| one.context.is_some() && one.context == session.context;
        self.sessions
            .retain(|one| one.name != session.name && !has_its_context(one));
        self.sessions.push(session);
    }

    /// Adds the record of an entry in a kubeconfig of the user, or replaces it.
    pub(crate) fn record_merged(&mut self, merged: MergedEntry) {
        record(&mut self.merged, merged);
    }

    /// Adds the record of an entry in the kubeconfig of `tka`, or replaces it.
    pub(crate) fn record_written(&mut self, written: MergedEntry) {
        record(&mut self.written, written);
    }

    pub(crate) fn server(&self) -> Option<Server> {
        Server::new(&self.server, HTTPS_PORT, None).ok()
    }

    /// Replaces the sessions by those that the server reported. Contexts of sessions with the same name stay.
    pub(crate) fn update(&mut self, folder: Option<&Path>, sessions: Vec<CachedSession>) {
        // Another sign-in may have changed the file meanwhile.
        let _lock = folder.map(FolderLock::if_exists);
        let path = self
            .server()
            .and_then(|server| Some(folder?.join(format!("{}.json", server.file_stem()))));
        let newest = path.as_deref().and_then(read);
        let is_ours = |newest: &Self| self.server().is_none_or(|server| !server.is_other(&newest.server));
        let newest = newest.filter(is_ours);
        if let Some(newest) = &newest {
            self.merged.clone_from(&newest.merged);
        }
        let before = newest.as_ref().map_or(&self.sessions, |newest| &newest.sessions);
        let with_context = |mut session: CachedSession| {
            let cached = before.iter().find(|before| before.name == session.name);
            session.context = cached.and_then(|cached| cached.context.clone());
            session.gateway = cached.is_some_and(|cached| cached.gateway);
            session
        };
        self.sessions = sessions.into_iter().map(with_context).collect();
        // Without a file this device never signed in there, and needs none.
        if let (Some(path), Some(newest)) = (path, newest)
            && newest != *self
        {
            let _ = write(&path, self);
        }
    }
}

// === impl CachedSession ===

impl From<SessionInfo> for CachedSession {
    fn from(session: SessionInfo) -> Self {
        Self {
            elevated: is_elevation(&session).then_some(session.signed_in),
            name: Some(session.name),
            context: None,
            username: session.username,
            role: session.role,
            until: session.until,
            gateway: false,
        }
    }
}

/// The original's server gives sessions no names.
impl From<LoginResponse> for CachedSession {
    fn from(login: LoginResponse) -> Self {
        Self {
            name: None,
            context: None,
            username: login.username,
            role: login.role,
            until: login.until,
            gateway: false,
            elevated: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str, context: Option<&str>) -> CachedSession {
        CachedSession {
            name: Some(name.into()),
            context: context.map(Into::into),
            username: "alice@example.com".into(),
            role: "view".into(),
            until: Timestamp::UNIX_EPOCH,
            gateway: false,
            elevated: None,
        }
    }

    #[test]
    fn what_the_server_says_replaces_all_but_contexts() {
        let folder = tempfile::tempdir().unwrap();
        let server = Server::new("tka", 8080, None).unwrap();
        let mut cache = SessionCache::at(&server);
        cache.sessions = vec![session("one", Some("c")), session("two", Some("d"))];
        let path = folder.path().join("tka_8080.json");
        write(&path, &cache).unwrap();
        cache.update(Some(folder.path()), vec![session("two", None), session("three", None)]);
        assert_eq!(cache.sessions, [session("two", Some("d")), session("three", None)]);
        assert_eq!(load_all(folder.path()), [cache]);
    }

    #[test]
    fn last_elevation_acts_while_it_lasts_beside_other_sessions() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let elevation = |name: &str, since, until| CachedSession {
            elevated: Some(at(since)),
            until: at(until),
            ..session(name, None)
        };
        let mut cache = SessionCache::at(&Server::new("tka", 8080, None).unwrap());
        for one in [session("one", Some("c")), session("two", None)] {
            cache.put(one);
        }
        assert_eq!(cache.elevation(at(0)), None);
        for one in [elevation("a", 10, 200), elevation("b", 20, 100), elevation("b", 20, 90)] {
            cache.put(one);
        }
        assert_eq!(cache.sessions.len(), 4);
        let acts = |second| cache.elevation(at(second)).and_then(|one| one.name.as_deref());
        assert_eq!((acts(89), acts(90), acts(200)), (Some("b"), Some("a"), None));
    }

    #[test]
    fn damaged_cache_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("a.json", "{"), ("b.json", ""), ("c.yaml", "{}"), ("d.json", "\u{0}")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert!(load_all(folder.path()).is_empty());
        assert!(load_all(Path::new("/nowhere")).is_empty());
    }
}
