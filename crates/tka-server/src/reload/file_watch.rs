//! Tells when a file may have changed, from its folder's notifications (<https://man7.org/linux/man-pages/man7/inotify.7.html>).
//!
//! A ConfigMap is mounted as a folder in which the file is a link through the link `..data`. The kubelet changes it by a rename of
//! that link, which the file itself says nothing of
//! (<https://kubernetes.io/docs/concepts/configuration/configmap/#mounted-configmaps-are-updated-automatically>). So folders are watched:
//! the one that the file is called in, and the one that it leads to.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For how long there must be no further notification: who writes a file often does so in several steps.
const QUIET: Duration = Duration::from_millis(200);
/// After how long the file is read all the same.
const AT_THE_LATEST: Duration = Duration::from_secs(2);

#[cfg(target_os = "linux")]
pub(super) use linux::FileWatch;
#[cfg(not(target_os = "linux"))]
pub(super) use other::FileWatch;

/// The folders in which a change of the file at `path` shows.
fn folders(path: &Path) -> Vec<PathBuf> {
    let folder = |path: &Path| match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let real = path.canonicalize().ok();
    let mut folders = vec![folder(path)];
    folders.extend(real.map(|real| folder(&real)));
    folders.dedup();
    folders
}

#[cfg(target_os = "linux")]
mod linux {
    use futures::StreamExt;
    use inotify::{EventStream, Inotify, WatchMask};
    use tokio::time::{Instant, timeout};

    use super::{AT_THE_LATEST, Path, PathBuf, QUIET, folders, io};

    /// A file that was closed after it was written, was put there, was taken away, or whose folder was.
    const EVENTS: WatchMask = WatchMask::CLOSE_WRITE
        .union(WatchMask::CREATE)
        .union(WatchMask::DELETE)
        .union(WatchMask::MOVE)
        .union(WatchMask::DELETE_SELF)
        .union(WatchMask::MOVE_SELF);

    /// Watches one file. Within an async runtime.
    pub(in crate::reload) struct FileWatch {
        path: PathBuf,
        notifications: EventStream<[u8; 4096]>,
    }

    impl FileWatch {
        pub(in crate::reload) fn new(path: &Path) -> io::Result<Self> {
            let watch = Self {
                path: path.to_owned(),
                notifications: Inotify::init()?.into_event_stream([0; 4096])?,
            };
            watch.watch()?;
            Ok(watch)
        }

        /// Watches where the file leads at the moment. To watch a folder again changes nothing.
        fn watch(&self) -> io::Result<()> {
            for folder in folders(&self.path) {
                self.notifications.watches().add(folder, EVENTS)?;
            }
            Ok(())
        }

        /// Returns when the file may have changed, and has been left alone for a moment.
        pub(in crate::reload) async fn changed(&mut self) {
            if let Err(error) = self.settled().await {
                tracing::error!(%error, "configuration file not watched any more; SIGHUP reads it again");
                std::future::pending::<()>().await;
            }
            if let Err(error) = self.watch() {
                let file = self.path.display();
                tracing::warn!(%file, %error, "folder of the configuration file not watched; SIGHUP reads it again");
            }
        }

        async fn settled(&mut self) -> io::Result<()> {
            self.notified().await?;
            let latest = Instant::now() + AT_THE_LATEST;
            while Instant::now() < latest {
                match timeout(QUIET, self.notified()).await {
                    Ok(notified) => notified?,
                    Err(_) => break,
                }
            }
            Ok(())
        }

        /// Waits for a notification. What it says is of no interest: the file is looked at.
        async fn notified(&mut self) -> io::Result<()> {
            match self.notifications.next().await {
                Some(notification) => notification.map(drop),
                None => Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::{AT_THE_LATEST, Path, QUIET, folders, io};

    /// Without inotify a person says when.
    pub(in crate::reload) struct FileWatch;

    impl FileWatch {
        pub(in crate::reload) fn new(path: &Path) -> io::Result<Self> {
            let _ = (folders(path), QUIET, AT_THE_LATEST);
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(in crate::reload) async fn changed(&mut self) {
            std::future::pending().await
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(20);

    async fn noticed(watch: &mut FileWatch) {
        timeout(LIMIT, watch.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn changes_in_place_by_rename_and_by_removal_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        fs::write(&file, "a").unwrap();
        let mut watch = FileWatch::new(&file).unwrap();
        fs::write(&file, "b").unwrap();
        noticed(&mut watch).await;
        let other = folder.path().join("new");
        fs::write(&other, "c").unwrap();
        fs::rename(&other, &file).unwrap();
        noticed(&mut watch).await;
        fs::remove_file(&file).unwrap();
        noticed(&mut watch).await;
        fs::write(&file, "d").unwrap();
        noticed(&mut watch).await;
        let again = timeout(3 * QUIET, watch.changed()).await;
        assert!(again.is_err(), "nothing happened");
    }

    /// As the kubelet mounts it.
    #[tokio::test]
    async fn mounted_config_map_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let version = |name: &str| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("config.yaml"), name).unwrap();
            symlink(name, at("..data_tmp")).unwrap();
            fs::rename(at("..data_tmp"), at("..data")).unwrap();
        };
        version("..1");
        symlink("..data/config.yaml", at("config.yaml")).unwrap();
        let mut watch = FileWatch::new(&at("config.yaml")).unwrap();
        for name in ["..2", "..3"] {
            version(name);
            noticed(&mut watch).await;
            assert_eq!(fs::read_to_string(at("config.yaml")).unwrap(), name);
        }
        fs::write(at("..3").join("config.yaml"), "x").unwrap();
        noticed(&mut watch).await;
    }

    #[test]
    fn folder_of_a_bare_name_is_the_working_directory() {
        assert_eq!(folders(Path::new("no-such-file.yaml")), [PathBuf::from(".")]);
    }
}
