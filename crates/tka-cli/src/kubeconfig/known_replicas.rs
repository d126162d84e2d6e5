//! The replicas of a server, as this device knows them: one file a server beside its kubeconfig, without secrets.
//!
//! A sign-in writes it where there are replicas. A damaged file counts as none. What it says is believed only as far as tailscaled shows
//! the same nodes with the same tags.

use std::path::PathBuf;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::kubeconfig::store::{FolderLock, KubeconfigStore};
use crate::net::server::{HTTPS_PORT, Server};
use crate::sys::files::{self, regular};

/// The most replicas. TKA needs two or three.
pub(crate) const MAX_REPLICAS: usize = 16;

/// The replicas of one server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(crate) struct KnownReplicas {
    /// The installation that all of them said they are.
    pub(crate) instance: String,
    /// The tags of their nodes, in order.
    pub(crate) tags: Vec<String>,
    /// The URLs of all replicas, the server itself among them, in the order in which to ask.
    servers: Vec<String>,
}

/// The server and its replicas, as far as this device knows them.
pub(crate) fn with_replicas(store: Option<&KubeconfigStore>, server: &Server) -> Vec<Server> {
    let known = store.and_then(KnownReplicas::load);
    known.map_or_else(|| vec![server.clone()], |known| known.servers(server))
}

fn path(store: &KubeconfigStore) -> PathBuf {
    store.path().with_extension("replicas")
}

// === impl KnownReplicas ===

impl KnownReplicas {
    pub(crate) fn new(instance: String, tags: Vec<String>, servers: &[Server]) -> Self {
        let servers = servers.iter().take(MAX_REPLICAS).map(ToString::to_string).collect();
        Self {
            instance,
            tags,
            servers,
        }
    }

    pub(crate) fn load(store: &KubeconfigStore) -> Option<Self> {
        serde_json::from_slice(&regular::read_unlinked(&path(store)).ok()?).ok()
    }

    /// Saves them where kubeconfigs are. None removes the file.
    pub(crate) fn save(replicas: Option<&Self>, store: &KubeconfigStore) -> io::Result<()> {
        let _lock = FolderLock::if_exists(store.folder());
        match replicas {
            Some(replicas) => {
                files::make_folder(store.folder(), files::PRIVATE)?;
                files::replace(&path(store), &serde_json::to_vec(replicas)?)
            }
            None => match fs::remove_file(path(store)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// The replicas that are like `server`: plain HTTP must not take the place of HTTPS.
    pub(crate) fn servers(&self, server: &Server) -> Vec<Server> {
        let read = self
            .servers
            .iter()
            .filter_map(|url| Server::new(url, HTTPS_PORT, None).ok());
        let mut all: Vec<_> = read
            .filter(|one| one.scheme() == server.scheme())
            .take(MAX_REPLICAS)
            .collect();
        if !all.contains(server) {
            all.push(server.clone());
        }
        all
    }

    /// The same, with `preferred` to be asked first.
    pub(crate) fn preferring(mut self, preferred: &Server) -> Self {
        let preferred = preferred.to_string();
        self.servers.sort_by_key(|one| *one != preferred);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> Server {
        Server::new(url, 443, None).unwrap()
    }

    #[test]
    fn they_are_kept_in_the_order_in_which_to_ask() {
        let home = tempfile::tempdir().unwrap();
        let (a, b) = (server("http://a:8080"), server("http://b:8080"));
        let store = KubeconfigStore::new(Some(home.path()), &a).unwrap();
        assert_eq!(KnownReplicas::load(&store), None);
        let known = KnownReplicas::new("x".into(), vec!["tag:tka".into()], &[a.clone(), b.clone()]);
        let known = known.preferring(&b);
        KnownReplicas::save(Some(&known), &store).unwrap();
        let loaded = KnownReplicas::load(&store).unwrap();
        assert_eq!(loaded.servers(&a), [b, a.clone()]);
        KnownReplicas::save(None, &store).unwrap();
        KnownReplicas::save(None, &store).unwrap();
        assert_eq!(KnownReplicas::load(&store), None);
        fs::write(path(&store), "{").unwrap();
        assert_eq!(KnownReplicas::load(&store), None);
    }

    #[test]
    fn a_replica_is_asked_as_the_server_is() {
        let known = |servers: &[&str]| KnownReplicas {
            instance: "x".into(),
            tags: vec![],
            servers: servers.iter().map(ToString::to_string).collect(),
        };
        let secure = server("https://a");
        assert_eq!(
            known(&["http://b", "a b", "https://c"]).servers(&secure),
            [server("https://c"), secure.clone()]
        );
        let many: Vec<_> = (0..99).map(|number| format!("https://r{number}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert_eq!(known(&many).servers(&secure).len(), MAX_REPLICAS + 1);
    }
}
