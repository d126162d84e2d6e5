//! The kubeconfig files: one a server, in one folder, readable by their owner only.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tka_api::kubeconfig::KubeconfigFile;

use crate::kubeconfig;
use crate::server::Server;

/// The kubeconfig file of one server.
#[derive(Debug)]
pub(crate) struct Store {
    folder: PathBuf,
    path: PathBuf,
    /// What the file is for, in its first line.
    server: String,
}

/// A kubeconfig file that cannot be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("there is no home folder to keep the kubeconfig in")]
    NoHome,
    #[error("cannot write to {}", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot remove {}", path.display())]
    Remove { path: PathBuf, source: io::Error },
    #[error("{} belongs to another user", folder.display())]
    Foreign { folder: PathBuf },
    #[error("the kubeconfig cannot be written as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
}

/// Where the files of all servers are.
pub(crate) fn folder(home: &Path) -> PathBuf {
    home.join(".kube").join("tka")
}

// === impl Store ===

impl Store {
    /// `~/.kube/tka/HOST_PORT.yaml`.
    pub(crate) fn new(home: Option<&Path>, server: &Server) -> Result<Self, StoreError> {
        let home = home.filter(|home| home.is_absolute()).ok_or(StoreError::NoHome)?;
        let folder = folder(home);
        let path = folder.join(format!("{}.yaml", server.file_stem()));
        Ok(Self {
            folder,
            path,
            server: server.to_string(),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the files of all servers are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Whether [`Self::write`] has a chance, found out without leaving a trace: a session whose credential cannot be kept is
    /// better not begun.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let existing = self
            .folder
            .ancestors()
            .find(|folder| folder.exists())
            .unwrap_or(&self.folder);
        access::check(existing).map_err(|source| StoreError::NotWritable {
            path: existing.to_owned(),
            source,
        })?;
        if existing == self.folder {
            self.refuse_foreign_folder()
        } else {
            Ok(())
        }
    }

    /// Adds to the file, in one step: a kubectl that reads at the same time sees the old one or the new one. What is there of other
    /// rules stays.
    pub(crate) fn write(&self, kubeconfig: &KubeconfigFile) -> Result<(), StoreError> {
        let older = fs::read_to_string(&self.path).ok();
        let older = older.and_then(|text| serde_saphyr::from_str::<KubeconfigFile>(&text).ok());
        let whole = older.map(|older| kubeconfig::beside(kubeconfig.clone(), older));
        let text = format!(
            "# Written by tka for {}. `tka logout` removes it.\n{}",
            self.server,
            kubeconfig::to_yaml(whole.as_ref().unwrap_or(kubeconfig))?
        );
        let failed = |source| StoreError::Write {
            path: self.path.clone(),
            source,
        };
        access::create_private(&self.folder).map_err(failed)?;
        self.refuse_foreign_folder()?;
        access::make_private(&self.folder).map_err(failed)?;
        // A new file, owner-only before it has any content; renaming it replaces a symbolic link and does not follow it.
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(&self.folder)
            .map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.as_file().sync_all().map_err(failed)?;
        file.persist(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }

    /// Removes the file; answers whether there was one.
    pub(crate) fn remove(&self) -> Result<bool, StoreError> {
        match fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(false),
            Err(source) => Err(StoreError::Remove {
                path: self.path.clone(),
                source,
            }),
        }
    }

    /// In a folder of someone else's the file could be exchanged for one that makes kubectl run their programs.
    fn refuse_foreign_folder(&self) -> Result<(), StoreError> {
        match access::is_ours(&self.folder) {
            Ok(true) => Ok(()),
            Ok(false) => Err(StoreError::Foreign {
                folder: self.folder.clone(),
            }),
            Err(source) => Err(StoreError::NotWritable {
                path: self.folder.clone(),
                source,
            }),
        }
    }
}

// === impl StoreError ===

impl StoreError {
    pub(crate) fn advice(&self) -> Vec<String> {
        const ROOM: &str =
            "check the folder's permissions and the disk's free space, or set HOME to a folder that you may write to";
        let lines: &[&str] = match self {
            Self::NoHome => &["set HOME to the absolute path of your home folder"],
            Self::Foreign { .. } => &["set HOME to your own home folder, or have the folder given to you (chown)"],
            Self::Yaml(_) => &["please report it"],
            Self::NotWritable { .. } | Self::Remove { .. } => &[ROOM],
            Self::Write { .. } => &[
                ROOM,
                "you are signed in: then run `tka kubeconfig`, or `tka logout` to end the session",
            ],
        };
        lines.iter().map(|line| (*line).to_owned()).collect()
    }
}

#[cfg(unix)]
mod access {
    use std::fs::{self, DirBuilder, Permissions};
    use std::io;
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    use std::path::Path;

    use rustix::fs::{Access, access};

    pub(super) fn check(folder: &Path) -> io::Result<()> {
        if !folder.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
    }

    pub(super) fn create_private(folder: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// For a folder that was there before us.
    pub(super) fn make_private(folder: &Path) -> io::Result<()> {
        if fs::metadata(folder)?.mode() & 0o777 == 0o700 {
            return Ok(());
        }
        fs::set_permissions(folder, Permissions::from_mode(0o700))
    }

    /// Looks at the folder behind a symbolic link, and at the link itself.
    pub(super) fn is_ours(folder: &Path) -> io::Result<bool> {
        let us = rustix::process::geteuid().as_raw();
        Ok(fs::metadata(folder)?.uid() == us && fs::symlink_metadata(folder)?.uid() == us)
    }
}

/// Windows keeps other users out of a profile folder by itself.
#[cfg(not(unix))]
mod access {
    use std::fs;
    use std::io;
    use std::path::Path;

    pub(super) fn check(folder: &Path) -> io::Result<()> {
        if folder.is_dir() {
            Ok(())
        } else {
            Err(io::ErrorKind::NotADirectory.into())
        }
    }

    pub(super) fn create_private(folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    pub(super) fn make_private(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn is_ours(_: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn store(home: &Path) -> Store {
        Store::new(Some(home), &Server::new("tka", 8080, None).unwrap()).unwrap()
    }

    fn kubeconfig() -> KubeconfigFile {
        let names = tka_api::kubeconfig::EntryNames {
            cluster: "c".into(),
            user: "u".into(),
            context: "x".into(),
        };
        let cluster = tka_api::kubeconfig::Cluster {
            server: "https://k".into(),
            ..Default::default()
        };
        tka_api::kubeconfig::KeyedKubeconfig::new(names, cluster, tka_api::Token::from("secret".to_owned()).into())
            .into()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o777
    }

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    #[test]
    fn files_are_private_and_replaced() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        store.check().unwrap();
        assert!(names(home.path()).is_empty(), "the check leaves no trace");
        store.write(&kubeconfig()).unwrap();
        store.write(&kubeconfig()).unwrap();
        assert_eq!(names(&store.folder), ["tka_8080.yaml"]);
        assert_eq!((mode(store.path()), mode(&store.folder)), (0o600, 0o700));
    }

    #[test]
    fn removing_twice_is_no_error() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        assert!(!store.remove().unwrap());
        store.write(&kubeconfig()).unwrap();
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
        store.write(&kubeconfig()).unwrap();
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
        store.write(&kubeconfig()).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "untouched");
        assert!(fs::symlink_metadata(store.path()).unwrap().is_file());
    }

    #[test]
    fn a_folder_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            return; // only root can give a folder away
        }
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        fs::create_dir_all(&store.folder).unwrap();
        std::os::unix::fs::chown(&store.folder, Some(12345), None).unwrap();
        assert!(matches!(store.check(), Err(StoreError::Foreign { .. })));
        assert!(matches!(store.write(&kubeconfig()), Err(StoreError::Foreign { .. })));
        assert!(names(&store.folder).is_empty());
    }

    #[test]
    fn a_home_that_cannot_hold_it_is_found_before() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".kube"), "a file").unwrap();
        assert!(matches!(
            store(home.path()).check(),
            Err(StoreError::NotWritable { .. })
        ));
        let server = Server::new("tka", 443, None).unwrap();
        assert!(matches!(Store::new(None, &server), Err(StoreError::NoHome)));
        assert!(matches!(
            Store::new(Some(Path::new("")), &server),
            Err(StoreError::NoHome)
        ));
    }
}
