//! The kubeconfig files of `tka`: one per server, in one folder, readable by their owner only.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::net::server::Server;
use crate::sys::files::{self, regular};
use tka_kubeconfig::{Document, Refused};

/// The kubeconfig file of one server.
#[derive(Clone, Debug)]
pub(crate) struct KubeconfigStore {
    home: PathBuf,
    folder: PathBuf,
    path: PathBuf,
    server: Server,
}

/// The lock for changes in the folder. It is released when this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: Option<File>,
}

/// Why a kubeconfig file cannot be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there is no home folder for the kubeconfig")]
    NoHome,
    #[error("cannot write to {}", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("{} belongs to another user", folder.display())]
    Foreign { folder: PathBuf },
    #[error("{} has the sessions of another server, {server}", path.display())]
    OtherServer { path: PathBuf, server: String },
    #[error("the kubeconfig cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Whose sessions a session cache has.
#[derive(Deserialize)]
struct Owner {
    server: String,
}

/// The folder of all servers, below the home folder.
pub(crate) const FOLDER: &str = ".kube/tka";

/// Where the files of all servers are.
pub(crate) fn folder(home: &Path) -> PathBuf {
    home.join(FOLDER)
}

// === impl KubeconfigStore ===

impl KubeconfigStore {
    /// `~/.kube/tka/HOST_PORT.yaml`.
    pub(crate) fn new(home: Option<&Path>, server: &Server) -> Result<Self, StoreError> {
        let home = home.filter(|home| home.is_absolute()).ok_or(StoreError::NoHome)?;
        let folder = folder(home);
        let path = folder.join(format!("{}.yaml", server.file_stem()));
        Ok(Self {
            home: home.to_owned(),
            folder,
            path,
            server: server.clone(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is there, and of no other server.
    pub(crate) fn has_file(&self) -> bool {
        self.path.exists() && self.check_server().is_ok()
    }

    /// Where the files of all servers are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Checks whether [`Self::write`] can succeed, without leaving a trace. A session whose credential cannot be kept should not begin.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        let size = fs::metadata(&self.path).map_or(0, |found| found.len());
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.check_server()?;
        self.check_place()?;
        let probed = files::probe(&self.folder, size.saturating_add(files::RESERVE));
        probed.map_err(|(path, source)| StoreError::NotWritable { path, source })?;
        files::check_replaceable(&self.path).map_err(|source| StoreError::NotWritable {
            path: self.path.clone(),
            source,
        })?;
        if self.folder.exists() {
            self.check_folder_owner()
        } else {
            Ok(())
        }
    }

    /// Locks the folder, and creates it if needed. Concurrent changes run one after the other.
    pub(crate) fn lock(&self) -> Result<FolderLock, StoreError> {
        let failed = |source| self.not_written(source);
        self.check_place()?;
        files::make_folder(&self.folder, files::PRIVATE).map_err(failed)?;
        self.check_folder_owner()?;
        access::make_private(&self.folder).map_err(failed)?;
        let lock = FolderLock::acquire(&self.folder);
        self.check_server()?;
        Ok(lock)
    }

    /// Locks the folder, if it exists and the file is not of another server.
    pub(crate) fn lock_if_ours(&self) -> Option<FolderLock> {
        let lock = FolderLock::if_exists(&self.folder)?;
        self.check_server().is_ok().then_some(lock)
    }

    /// The session cache beside the file.
    pub(crate) fn session_cache(&self) -> PathBuf {
        self.path.with_extension("json")
    }

    /// Refuses files of another server. Names of hosts and addresses can be alike, and earlier versions kept servers with different paths in one
    /// file.
    fn check_server(&self) -> Result<(), StoreError> {
        let cache = regular::read_unlinked(&self.session_cache()).ok();
        let owner = cache.and_then(|cache| serde_json::from_slice::<Owner>(&cache).ok());
        match owner.filter(|owner| self.server.is_other(&owner.server)) {
            Some(Owner { server }) => Err(StoreError::OtherServer {
                path: self.path.clone(),
                server,
            }),
            None => Ok(()),
        }
    }

    /// Reads the file. A missing file has only its first line.
    pub(crate) fn read(&self) -> Result<Document, Refused> {
        match regular::read_unlinked(&self.path) {
            Ok(bytes) => String::from_utf8(bytes)
                .map_err(|_| Refused::NotConfig)
                .and_then(Document::parse),
            Err(error) if is_not_there(&error) => self.blank(),
            // An unreadable file must not be lost.
            Err(_) => Err(Refused::NotConfig),
        }
    }

    /// A new file with its first line only.
    pub(crate) fn blank(&self) -> Result<Document, Refused> {
        let server = &self.server;
        Document::parse(format!("# Written by tka for {server}. `tka logout` removes it.\n"))
    }

    /// The readable files of other servers.
    pub(crate) fn other_documents(&self) -> Vec<Document> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_other = |path: &PathBuf| *path != self.path && path.extension() == Some("yaml".as_ref());
        let paths = entries.map(|entry| entry.path()).filter(is_other);
        let texts = paths.filter_map(|path| regular::read_text(&path).ok());
        texts.filter_map(|text| Document::parse(text).ok()).collect()
    }

    /// Replaces the file atomically. A kubectl that reads at the same time sees the old file or the new one.
    pub(crate) fn write(&self, _: &FolderLock, document: &Document) -> Result<(), StoreError> {
        let written = files::replace(&self.path, document.text().as_bytes());
        written.map_err(|source| self.not_written(source))
    }

    /// Moves a file that is not a kubeconfig aside, and returns its new path.
    pub(crate) fn move_aside(&self, _: &FolderLock) -> Result<PathBuf, StoreError> {
        let aside = self.aside_path();
        fs::rename(&self.path, &aside).map_err(|source| self.not_written(source))?;
        Ok(aside)
    }

    /// Removes the file. Returns whether it existed.
    pub(crate) fn remove(&self) -> Result<bool, StoreError> {
        let path = self.path.clone();
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if is_not_there(&error) => Ok(false),
            Err(source) => Err(StoreError::Remove { path, source }),
        }
    }

    /// A free name for a file that is moved aside.
    fn aside_path(&self) -> PathBuf {
        let first = self.path.with_extension("yaml.damaged");
        let others = (2_u64..).map(|at| first.with_extension(format!("damaged-{at}")));
        let mut names = [first.clone()].into_iter().chain(others);
        let free = names.find(|name| fs::symlink_metadata(name).is_err());
        free.unwrap_or(first)
    }

    fn not_written(&self, source: io::Error) -> StoreError {
        StoreError::not_written(&self.path, source)
    }

    fn check_place(&self) -> Result<(), StoreError> {
        if files::leads_out(&self.folder, Some(&self.home)) {
            let folder = self.folder.clone();
            return Err(StoreError::Foreign { folder });
        }
        Ok(())
    }

    /// In another user's folder the file could be replaced by one that makes kubectl run other programs.
    fn check_folder_owner(&self) -> Result<(), StoreError> {
        check_owner(&self.folder, Some(&self.home))
    }
}

/// Refuses a folder of another user: its files could be replaced. Root also uses folders of the owner of `home`.
pub(crate) fn check_owner(folder: &Path, home: Option<&Path>) -> Result<(), StoreError> {
    let is_ours = files::is_ours(folder, home);
    let folder = folder.to_owned();
    match is_ours {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Foreign { folder }),
        Err(source) => Err(StoreError::NotWritable { path: folder, source }),
    }
}

fn is_not_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

// === impl FolderLock ===

impl FolderLock {
    /// Waits for the lock. On file systems without locks it does nothing.
    fn acquire(folder: &Path) -> Self {
        let file = access::lockable(folder).ok();
        Self {
            _file: file.filter(|file| file.lock().is_ok()),
        }
    }

    /// Locks a folder that exists.
    pub(crate) fn if_exists(folder: &Path) -> Option<Self> {
        folder.is_dir().then(|| Self::acquire(folder))
    }
}

// === impl StoreError ===

impl StoreError {
    pub(crate) fn not_written(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        Self::Write { path, source }
    }

    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::NoHome => {
                vec!["set HOME to the absolute path of your home folder, or use `tka exec`".into()]
            }
            Self::Foreign { .. } => {
                vec!["set HOME to your own home folder, or become the owner of the folder (chown)".into()]
            }
            Self::OtherServer { path, server } => {
                let (yaml, json) = (path.display(), path.with_extension("json"));
                let json = json.display();
                vec![
                    format!("end the session at {server} with `tka logout --server {server}`"),
                    format!("then remove both files: `rm {yaml} {json}`"),
                ]
            }
            Self::Yaml(_) => vec!["please report it".into()],
            Self::NotWritable { path, source } | Self::Remove { path, source } | Self::Write { path, source } => {
                vec![
                    files::advice(path, source),
                    "or set HOME to a folder that you may write to".into(),
                ]
            }
        }
    }
}

#[cfg(unix)]
mod access {
    use std::fs::{self, File, Permissions};
    use std::io;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    /// For a folder that existed before. One that a link leads to may be of use to others, who must not write to it.
    pub(super) fn make_private(folder: &Path) -> io::Result<()> {
        let mode = fs::metadata(folder)?.mode();
        if mode & 0o777 == 0o700 {
            return Ok(());
        }
        if fs::symlink_metadata(folder)?.is_symlink() {
            return match mode & 0o022 {
                0 => Ok(()),
                _ => Err(io::Error::other(
                    "others may write to the folder that it leads to: `chmod go-w` it",
                )),
            };
        }
        fs::set_permissions(folder, Permissions::from_mode(0o700))
    }

    /// The folder itself is locked, which leaves no file behind.
    pub(super) fn lockable(folder: &Path) -> io::Result<File> {
        File::open(folder)
    }
}

/// Windows keeps other users out of a profile folder by itself.
#[cfg(not(unix))]
mod access {
    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn make_private(_: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Windows cannot open folders as files.
    pub(super) fn lockable(folder: &Path) -> io::Result<File> {
        File::create(folder.join(".lock"))
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn store(home: &Path) -> KubeconfigStore {
        KubeconfigStore::new(Some(home), &Server::new("tka", 8080, None).unwrap()).unwrap()
    }

    fn write(store: &KubeconfigStore) -> Result<(), StoreError> {
        let lock = store.lock()?;
        store.write(&lock, &store.blank().unwrap())
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        fs::read_dir(folder).unwrap().map(name).collect()
    }

    #[test]
    fn files_are_private_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        store.check_writable().unwrap();
        assert!(names(home.path()).is_empty(), "the check leaves no trace");
        write(&store).unwrap();
        write(&store).unwrap();
        assert_eq!(names(&store.folder), ["tka_8080.yaml"]);
        assert_eq!((mode(store.path()), mode(&store.folder)), (0o600, 0o700));
    }

    #[test]
    fn removing_twice_is_no_error() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        assert!(!store.remove().unwrap());
        write(&store).unwrap();
        assert!(store.remove().unwrap());
        assert!(!store.remove().unwrap());
    }

    #[test]
    fn a_folder_open_to_others_is_closed() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        fs::create_dir_all(&store.folder).unwrap();
        fs::set_permissions(&store.folder, fs::Permissions::from_mode(0o777)).unwrap();
        write(&store).unwrap();
        assert_eq!(mode(&store.folder), 0o700);
    }

    #[test]
    fn a_symbolic_link_in_the_files_place_is_not_followed() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        fs::create_dir_all(&store.folder).unwrap();
        let target = home.path().join("target");
        fs::write(&target, "untouched").unwrap();
        symlink(&target, store.path()).unwrap();
        write(&store).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert!(fs::symlink_metadata(store.path()).unwrap().is_file());
    }

    #[test]
    fn files_of_another_server_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        write(&store).unwrap();
        let cache = |text: &str| fs::write(store.session_cache(), text).unwrap();
        let damaged = r#"{"server": "x", "sessions": []}"#;
        for ours in [
            r#"{"server": "http://tka:8080", "sessions": []}"#,
            damaged,
            "",
            "{",
            "[]",
        ] {
            cache(ours);
            store.check_writable().unwrap();
            write(&store).unwrap();
            assert!(store.lock_if_ours().is_some(), "{ours}");
        }
        cache(r#"{"server": "http://tka:8080/a", "sessions": []}"#);
        let is_other =
            |result| matches!(result, Err(StoreError::OtherServer { server, .. }) if server == "http://tka:8080/a");
        assert!(is_other(store.check_writable()) && is_other(write(&store)));
        assert!(store.lock_if_ours().is_none());
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        if !crate::sys::test_requirements::is_root() {
            return;
        }
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        fs::create_dir_all(&store.folder).unwrap();
        std::os::unix::fs::chown(&store.folder, Some(12345), None).unwrap();
        assert!(matches!(store.check_writable(), Err(StoreError::Foreign { .. })));
        assert!(matches!(write(&store), Err(StoreError::Foreign { .. })));
        assert!(names(&store.folder).is_empty());
    }

    #[test]
    fn a_home_that_cannot_hold_it_is_found_before() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".kube"), "a file").unwrap();
        let checked = store(home.path()).check_writable();
        assert!(matches!(checked, Err(StoreError::NotWritable { .. })));
        let server = Server::new("tka", 443, None).unwrap();
        for home in [None, Some(Path::new(""))] {
            assert!(matches!(KubeconfigStore::new(home, &server), Err(StoreError::NoHome)));
        }
    }
}
