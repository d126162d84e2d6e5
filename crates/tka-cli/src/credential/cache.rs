//! The cached credential of one session, shared by all calls of kubectl.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tka_api::exec::ExecCredential;

use super::folder;
use super::secret_store::{KeyringStore, MemoryStore, NoStore, SecretStore};
use super::shared_state::{FetchFailure, FetchLock, SharedState, is_within};
use crate::error::Error;
use crate::net::proxy::Variables;
use crate::net::server::Server;

/// Selects the location of the cache.
const VARIABLE: &str = "TKA_CREDENTIAL_CACHE";
/// How long before its end a credential is renewed, at most. A request of kubectl starts sooner than that.
const RENEWAL_MARGIN: Duration = Duration::from_mins(1);
/// How long a fresh credential is handed out without a check. After that, a second request within this time fetches another one. So a
/// refused credential is replaced this soon, and the server is asked this often at most.
///
/// client-go runs the plugin again after a 401, but does not tell it so
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#input-and-output-formats>). Other clients run it for each
/// request. The two look the same, so time decides.
pub(crate) const RECHECK: Duration = Duration::from_secs(20);
/// Names of sessions are DNS labels. Nothing else goes into a file name.
const LONGEST_NAME: usize = 63;

/// Where credentials and their shared state are kept.
#[derive(Debug)]
pub(crate) struct CacheLocation {
    secrets: Box<dyn SecretStore>,
    /// None if nothing may be written.
    state: Option<PathBuf>,
}

/// The credential of one session.
#[derive(Debug)]
pub(crate) struct CredentialCache {
    secrets: Box<dyn SecretStore>,
    state: Option<SharedState>,
    name: String,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct CachedCredential {
    /// When it was fetched.
    fetched: Timestamp,
    pub(crate) credential: ExecCredential,
}

// === impl CachedCredential ===

impl CachedCredential {
    /// A credential that was fetched now.
    pub(crate) fn new(credential: ExecCredential, now: Timestamp) -> Self {
        Self {
            fetched: now,
            credential,
        }
    }

    /// Whether it was fetched recently, or after `began`.
    pub(crate) fn is_fresh(&self, began: Timestamp, now: Timestamp) -> bool {
        is_within(RECHECK, self.fetched, now) || began <= self.fetched
    }

    /// Whether it lasts long enough. The last credential of a session ends with the session, however soon.
    fn is_valid(&self, now: Timestamp) -> bool {
        let end = self.credential.status.expiration_timestamp;
        let life = end.duration_since(self.fetched);
        let margin = jiff::SignedDuration::try_from(RENEWAL_MARGIN)
            .unwrap_or_default()
            .min(life / 10);
        // A clock that was set back must not extend it.
        self.fetched <= now && now < end && end.duration_since(now) > margin
    }
}

// === impl CacheLocation ===

impl CacheLocation {
    /// The first available location: memory, the system's keyring, none. Or the selected one.
    pub(crate) fn find(variables: Variables<'_>) -> Result<Self, Error> {
        let choice = variables(VARIABLE).filter(|choice| !choice.is_empty());
        let (memory, keyring) = match choice.as_deref() {
            None => (true, true),
            Some("memory") => (true, false),
            Some("keyring") => (false, true),
            Some("none") => (false, false),
            Some(_) => return Err(Error::CredentialCache(choice.unwrap_or_default())),
        };
        if let Some(folder) = memory.then(|| folder::in_memory(variables)).flatten() {
            return Ok(Self {
                secrets: Box::new(MemoryStore(folder.clone())),
                state: Some(folder),
            });
        }
        let state = folder::on_disk(variables);
        let keyring = state.as_deref().filter(|_| keyring).and_then(KeyringStore::native);
        Ok(Self {
            secrets: keyring.map_or_else(|| Box::new(NoStore) as Box<dyn SecretStore>, |it| Box::new(it)),
            state,
        })
    }

    /// The cache of `session` at `server`. Nothing is stored for an invalid session name.
    pub(crate) fn cache_for(self, server: &Server, session: &str) -> CredentialCache {
        let name = format!("{}{session}", prefix(server));
        if !is_session_name(session) {
            return CredentialCache {
                secrets: Box::new(NoStore),
                state: None,
                name,
            };
        }
        CredentialCache {
            secrets: self.secrets,
            state: self.state.map(|folder| SharedState::new(&folder, &name)),
            name,
        }
    }

    /// Removes all sessions at `server`.
    pub(crate) fn remove_all(&self, server: &Server) -> io::Result<()> {
        let prefix = prefix(server);
        let names = self.secrets.names();
        for name in names.iter().filter(|name| is_of(name, &prefix)) {
            self.secrets.remove(name)?;
        }
        let folder = self.state.as_ref();
        folder.map_or(Ok(()), |folder| {
            SharedState::remove_all(folder, |name| is_of(name, &prefix))
        })
    }
}

/// Whether `name` is that of a session, behind the prefix of a server. Names of other servers may begin with the same prefix.
fn is_of(name: &str, prefix: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(is_session_name)
}

fn is_session_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// The prefix of all names of `server`.
fn prefix(server: &Server) -> String {
    format!("{}_", server.file_stem())
}

// === impl CredentialCache ===

impl CredentialCache {
    /// Removes this session, which is over.
    pub(crate) fn remove(&self) {
        self.remove_credential();
        if let Some(state) = &self.state {
            state.remove();
        }
    }

    /// The credential, if it lasts long enough. Damaged and incomplete files count as none.
    pub(crate) fn credential(&self, now: Timestamp) -> Option<CachedCredential> {
        let cached: CachedCredential = serde_json::from_slice(&self.secrets.read(&self.name)?).ok()?;
        cached.is_valid(now).then_some(cached)
    }

    /// The credential, marked as handed out, unless the server must be asked. It must be asked if the credential is not fresh and was
    /// handed out recently: the API server may have refused it.
    pub(crate) fn hand_out(&self, now: Timestamp) -> Option<CachedCredential> {
        let cached = self.credential(now)?;
        let was_handed_out = self.mark_handed_out(now);
        (cached.is_fresh(now, now) || !was_handed_out).then_some(cached)
    }

    /// Marks the credential as handed out. Returns whether it was handed out recently, or whether that is unknown.
    pub(crate) fn mark_handed_out(&self, now: Timestamp) -> bool {
        let state = self.state.as_ref();
        state.is_none_or(|state| state.mark_handed_out(now, RECHECK))
    }

    pub(crate) fn failure(&self) -> Option<FetchFailure> {
        self.state.as_ref()?.failure()
    }

    /// Stores a credential. Clears an earlier failure, and removes stale files of other sessions.
    pub(crate) fn store(&self, cached: &CachedCredential) -> io::Result<()> {
        let written = self.secrets.write(&self.name, &serde_json::to_vec(cached)?);
        self.secrets.remove_stale();
        if let Some(state) = &self.state {
            state.remove_stale();
            state.clear_failure()?;
        }
        written
    }

    /// Removes the credential of a session that is over.
    pub(crate) fn remove_credential(&self) {
        // If this fails, the API server refuses the credential anyway.
        let _ = self.secrets.remove(&self.name);
    }

    pub(crate) fn record_failure(&self, failure: &FetchFailure) -> io::Result<()> {
        let state = self.state.as_ref();
        state.map_or(Ok(()), |state| state.record_failure(failure))
    }

    /// Waits until no other call asks the server for this session, if locks are available.
    pub(crate) fn lock(&self) -> Option<FetchLock> {
        self.state.as_ref()?.lock().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    use tka_api::Token;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn cached(fetched: i64, expires: i64) -> CachedCredential {
        let credential = ExecCredential::new(Token::from("secret".to_owned()), at(expires));
        CachedCredential::new(credential, at(fetched))
    }

    fn server(name: &str) -> Server {
        Server::new(name, 8080, None).unwrap()
    }

    fn in_memory(folder: &Path) -> CacheLocation {
        CacheLocation {
            secrets: Box::new(MemoryStore(folder.to_owned())),
            state: Some(folder.to_owned()),
        }
    }

    fn cache(folder: &Path) -> CredentialCache {
        in_memory(folder).cache_for(&server("tka"), "tka-alice-abc")
    }

    #[test]
    fn credential_is_renewed_before_its_end() {
        let hour = cached(1000, 4600);
        for (now, good) in [(999, false), (1000, true), (4539, true), (4540, false), (4600, false)] {
            assert_eq!(hour.is_valid(at(now)), good, "{now}");
        }
        let short = cached(1000, 1005);
        assert!(short.is_valid(at(1004)) && !short.is_valid(at(1005)));
    }

    /// The seconds at which the server is asked, by a program that runs the plugin at `seconds`.
    fn requests_at(cache: &CredentialCache, seconds: impl Iterator<Item = i64>) -> Vec<i64> {
        let is_asked = |second: &i64| {
            let is_asked = cache.hand_out(at(*second)).is_none();
            if is_asked {
                cache.store(&cached(*second, *second + 3600)).unwrap();
                cache.mark_handed_out(at(*second));
            }
            is_asked
        };
        seconds.filter(is_asked).collect()
    }

    /// cases.md 8
    #[test]
    fn server_is_asked_once_in_twenty_seconds_at_the_most() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(requests_at(&cache(folder.path()), 1000..1060), [1000, 1020, 1040]);
    }

    #[test]
    fn rarely_used_credential_is_not_fetched_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(requests_at(&cache(folder.path()), (1000..3000).step_by(20)), [1000]);
    }

    /// client-go asks again when the API server refuses what it got.
    #[test]
    fn refused_credential_is_replaced_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let requests = |first| requests_at(&cache(folder.path()), [first, first + 1, first + 2].into_iter());
        assert_eq!(requests(1000), [1000], "it is new");
        assert_eq!(requests(1019), [1020], "as soon as it is not new any more");
        assert_eq!(requests(2000), [2001], "at once");
    }

    #[test]
    fn clock_that_is_set_keeps_nothing_alive() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        assert_eq!(requests_at(&cache, [1000, 1100, 900, 901].into_iter()), [1000, 900]);
    }

    #[test]
    fn names_that_are_no_sessions_have_no_place() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "..", "a/b", "A", "a.b", "ü", &"a".repeat(64)] {
            let cache = in_memory(folder.path()).cache_for(&server("tka"), name);
            cache.store(&cached(1000, 4600)).unwrap();
            assert!(cache.credential(at(1000)).is_none() && cache.lock().is_none(), "{name}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_is_kept_is_private_and_found_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        assert!(cache.credential(at(1000)).is_none());
        let failure = FetchFailure {
            at: at(1),
            status: 3,
            text: "no".into(),
            notified: vec![],
        };
        cache.record_failure(&failure).unwrap();
        cache.store(&cached(1000, 4600)).unwrap();
        assert_eq!(cache.failure(), None);
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let file = fs::metadata(folder.path().join("tka_8080_tka-alice-abc.json"));
            assert_eq!(file.unwrap().mode() & 0o777, 0o600);
        }
        let found = cache.credential(at(1000)).unwrap();
        assert_eq!(found.credential.status.token.expose(), "secret");
        in_memory(folder.path()).remove_all(&server("other")).unwrap();
        assert!(cache.credential(at(1000)).is_some());
        in_memory(folder.path()).remove_all(&server("tka")).unwrap();
        assert!(cache.credential(at(1000)).is_none());
    }

    /// A host may have an underscore in its name, and a server a path.
    #[test]
    fn signing_out_forgets_no_credential_of_another_server() {
        let folder = tempfile::tempdir().unwrap();
        let servers = [
            "http://tka:8080",
            "http://tka:8080/a",
            "https://tka:8080",
            "tka_8080_x:81",
        ];
        let servers = servers.map(server);
        let is_kept = |server: &Server| {
            let cache = in_memory(folder.path()).cache_for(server, "tka-alice-abc");
            cache.credential(at(1000)).is_some()
        };
        for one in &servers {
            for server in &servers {
                let cache = in_memory(folder.path()).cache_for(server, "tka-alice-abc");
                cache.store(&cached(1000, 4600)).unwrap();
            }
            in_memory(folder.path()).remove_all(one).unwrap();
            for server in &servers {
                assert_eq!(is_kept(server), server != one, "{server} after {one}");
            }
        }
    }

    #[test]
    fn damaged_and_half_written_credentials_are_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        cache.store(&cached(1000, 4600)).unwrap();
        let whole = cache.secrets.read(&cache.name).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"", b"{}", b"\xff\xfe", b"null"] {
            cache.secrets.write(&cache.name, damaged).unwrap();
            assert!(cache.credential(at(1000)).is_none());
        }
        cache.store(&cached(1000, 4600)).unwrap();
        assert!(cache.credential(at(1000)).is_some());
    }

    #[test]
    fn place_is_the_one_that_is_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let found = |choice: &str| {
            let variables = |name: &str| match name {
                VARIABLE => Some(choice.to_owned()),
                "XDG_RUNTIME_DIR" => Some(folder.path().display().to_string()),
                _ => None,
            };
            CacheLocation::find(&variables)
        };
        let location = found("none").unwrap();
        assert_eq!(format!("{:?}", location.secrets), "NoStore");
        assert_eq!(location.state, Some(folder.path().join("tka")));
        assert!(matches!(found("disk"), Err(Error::CredentialCache(found)) if found == "disk"));
    }
}
