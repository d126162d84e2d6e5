//! Stores for credentials between calls of kubectl: memory, the system's keyring, or none.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use keyring_core::{CredentialStore, Entry};

use super::files;
use crate::sys::files::regular;

/// The service name of the keyring's entries. Users may see it.
const SERVICE: &str = "tka";

/// A store of named secrets.
pub(crate) trait SecretStore: fmt::Debug {
    /// Reads the secret `name`, if there is one.
    fn read(&self, name: &str) -> Option<Vec<u8>>;

    /// Writes `secret`, and replaces an earlier one.
    fn write(&self, name: &str, secret: &[u8]) -> io::Result<()>;

    /// Removes the secret `name`, if there is one.
    fn remove(&self, name: &str) -> io::Result<()>;

    fn names(&self) -> Vec<String>;

    /// Removes secrets that are older than any credential.
    fn remove_stale(&self);
}

/// Files in a folder in memory.
#[derive(Debug)]
pub(crate) struct MemoryStore(pub(crate) PathBuf);

/// The system's keyring. It cannot list its entries, so an index file stands for each.
pub(crate) struct KeyringStore {
    store: Arc<CredentialStore>,
    index: PathBuf,
}

/// Stores nothing.
#[derive(Debug)]
pub(crate) struct NoStore;

// === impl MemoryStore ===

impl MemoryStore {
    fn path(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.json"))
    }
}

impl SecretStore for MemoryStore {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        regular::read(&self.path(name)).ok()
    }

    fn write(&self, name: &str, secret: &[u8]) -> io::Result<()> {
        files::write(&self.path(name), secret)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        files::remove(&self.path(name))
    }

    fn names(&self) -> Vec<String> {
        files::stems(&self.0, "json")
    }

    fn remove_stale(&self) {
        files::remove_stale(&self.0, |_| ());
    }
}

// === impl KeyringStore ===

impl KeyringStore {
    /// The keyring of this system, if it has one. `index` is the folder of the index files.
    pub(crate) fn native(index: &Path) -> Option<Self> {
        let index = index.to_owned();
        Some(Self {
            store: native()?,
            index,
        })
    }

    fn entry(&self, name: &str) -> io::Result<Entry> {
        // On Windows an entry can be limited to the login session and this machine.
        let modifiers = cfg!(windows).then(|| HashMap::from([("persistence", "Session")]));
        self.store
            .build(SERVICE, name, modifiers.as_ref())
            .map_err(io::Error::other)
    }

    fn index_entry(&self, name: &str) -> PathBuf {
        self.index.join(format!("{name}.kept"))
    }
}

impl fmt::Debug for KeyringStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Keyring").field(&self.store.vendor()).finish()
    }
}

impl SecretStore for KeyringStore {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        // Without an index file the keyring is not asked, which might prompt the user.
        self.index_entry(name).exists().then_some(())?;
        self.entry(name).ok()?.get_secret().ok()
    }

    fn write(&self, name: &str, secret: &[u8]) -> io::Result<()> {
        // The index comes first: an entry without one could not be removed.
        files::write(&self.index_entry(name), b"")?;
        let stored = self.entry(name)?.set_secret(secret);
        stored.map_err(|error| {
            let _ = self.remove(name);
            io::Error::other(error)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match self.entry(name)?.delete_credential() {
            Ok(()) | Err(keyring_core::Error::NoEntry) => files::remove(&self.index_entry(name)),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn names(&self) -> Vec<String> {
        files::stems(&self.index, "kept")
    }

    fn remove_stale(&self) {
        files::remove_stale(&self.index, |path| {
            if let Some(name) = files::stem(path, "kept") {
                // An entry without its index file cannot be found again.
                let _ = self.remove(name);
            }
        });
    }
}

#[cfg(target_os = "linux")]
fn native() -> Option<Arc<CredentialStore>> {
    // The kernel's keyring (keyrings(7)) is in memory only. It needs no D-Bus, which containers and servers lack.
    Some(linux_keyutils_keyring_store::Store::new().ok()?)
}

#[cfg(target_os = "macos")]
fn native() -> Option<Arc<CredentialStore>> {
    Some(apple_native_keyring_store::keychain::Store::new().ok()?)
}

#[cfg(windows)]
fn native() -> Option<Arc<CredentialStore>> {
    Some(windows_native_keyring_store::Store::new().ok()?)
}

#[cfg(not(any(target_os = "linux", target_os = "macos", windows)))]
fn native() -> Option<Arc<CredentialStore>> {
    None
}

// === impl NoStore ===

impl SecretStore for NoStore {
    fn read(&self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn write(&self, _: &str, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn names(&self) -> Vec<String> {
        vec![]
    }

    fn remove_stale(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn all(index: &Path) -> Vec<Box<dyn SecretStore>> {
        let store = keyring_core::mock::Store::new().unwrap();
        let keyring = KeyringStore {
            store,
            index: index.to_owned(),
        };
        vec![Box::new(MemoryStore(index.join("memory"))), Box::new(keyring)]
    }

    #[test]
    fn what_is_kept_is_found_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("memory")).unwrap();
        for secrets in all(folder.path()) {
            assert_eq!(secrets.read("a.b_1"), None);
            secrets.remove("a.b_1").unwrap();
            secrets.write("a.b_1", b"secret").unwrap();
            secrets.write("other", b"x").unwrap();
            secrets.write("a.b_1", b"newer").unwrap();
            secrets.remove_stale();
            assert_eq!(secrets.read("a.b_1").as_deref(), Some(&b"newer"[..]), "{secrets:?}");
            let mut names = secrets.names();
            names.sort();
            assert_eq!(names, ["a.b_1", "other"]);
            secrets.remove("a.b_1").unwrap();
            assert_eq!((secrets.read("a.b_1"), secrets.names().len()), (None, 1));
        }
    }

    #[test]
    fn keyring_needs_an_index_entry_without_a_secret() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = &all(folder.path())[1];
        keyring.write("a", b"secret").unwrap();
        let index_entry = folder.path().join("a.kept");
        assert_eq!(fs::read(&index_entry).unwrap(), b"");
        fs::remove_file(index_entry).unwrap();
        assert_eq!(keyring.read("a"), None);
    }

    #[test]
    fn stale_secret_goes_with_its_index_entry() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = &all(folder.path())[1];
        keyring.write("a", b"secret").unwrap();
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(25);
        let index_entry = fs::File::options().write(true).open(folder.path().join("a.kept"));
        index_entry.unwrap().set_modified(long_ago).unwrap();
        keyring.remove_stale();
        files::write(&folder.path().join("a.kept"), b"").unwrap();
        assert_eq!(keyring.read("a"), None, "it is not only the note that has gone");
    }
}
