//! Files that another program replaces while the server runs.
//!
//! What is watched are the folders on the way to a file, not the file: Kubernetes replaces a mounted Secret or ConfigMap by a link to another
//! folder (<https://kubernetes.io/docs/concepts/configuration/secret/#using-secrets-as-files-from-a-pod>), and so does certbot for each file.

use std::collections::BTreeSet;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

/// How long it must be quiet after a change: several files are often written one after the other.
const QUIET: Duration = Duration::from_millis(200);
/// How long a change is kept back at the most while it is not quiet.
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// When watching is tried again after the system refused it, and the files are taken for changed.
const RETRY: Duration = Duration::from_mins(1);
/// How many links may follow each other on the way to a file, as in Linux (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

#[cfg(target_os = "linux")]
use linux::Folders;
#[cfg(not(target_os = "linux"))]
use other::Folders;

/// Tells when one of some files may have changed.
pub struct FileWatch {
    files: Vec<PathBuf>,
    /// None when the system refuses to watch.
    watched: Option<Folders>,
    /// Since when a change is kept back.
    changed_since: Option<Instant>,
}

// === impl FileWatch ===

impl FileWatch {
    /// Watches `files`, which need not exist yet. What changes from now on is told.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        let mut this = Self {
            files,
            watched: None,
            changed_since: None,
        };
        this.watch();
        this
    }

    /// Returns when a file may have changed since the last call returned. Cancelling loses no change.
    pub async fn changed(&mut self) {
        let Some(folders) = &mut self.watched else {
            sleep(RETRY).await;
            return self.watch();
        };
        if self.changed_since.is_none() {
            folders.change().await;
            self.changed_since = Some(Instant::now());
        }
        let latest = self.changed_since.unwrap_or_else(Instant::now) + LONGEST_DELAY;
        while Instant::now() < latest {
            let quiet = latest.min(Instant::now() + QUIET);
            if timeout_at(quiet, folders.change()).await.is_err() {
                break;
            }
        }
        self.changed_since = None;
        self.watch();
    }

    /// Watches the folders that are on the way to the files now. The caller reads the files after this, so that it misses nothing.
    fn watch(&mut self) {
        let folders = self.watched.take().map_or_else(Folders::new, Ok);
        self.watched = folders
            .and_then(|folders| folders.with(&self.files))
            .inspect_err(|error| {
                let files = &self.files;
                tracing::error!(%error, ?files, wait = ?RETRY, "cannot watch files for changes; reading them again now and then");
            })
            .ok();
    }
}

/// Sees that the folders on the way to `files` are watched, until nothing changed on the way meanwhile.
fn watch_ways(files: &[PathBuf], mut watch: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let ways = || -> BTreeSet<_> { files.iter().flat_map(|file| folders(file)).collect() };
    let mut wanted = ways();
    for _ in 0..MAX_LINKS {
        for folder in &wanted {
            match watch(folder) {
                // Removed since it was found: the next look finds what is there instead.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => result?,
            }
        }
        let now = ways();
        if now == wanted {
            break;
        }
        wanted = now;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use futures::StreamExt;
    use inotify::{EventStream, Inotify, WatchMask};

    use super::{Path, PathBuf, io, watch_ways};

    /// A file that was closed after it was written, was put there, was taken away, or whose folder was. Reading is no change.
    const EVENTS: WatchMask = WatchMask::CLOSE_WRITE
        .union(WatchMask::CREATE)
        .union(WatchMask::DELETE)
        .union(WatchMask::MOVE)
        .union(WatchMask::DELETE_SELF)
        .union(WatchMask::MOVE_SELF);

    /// Watched folders (`inotify(7)`).
    pub(super) struct Folders(EventStream<[u8; 4096]>);

    impl Folders {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(Inotify::init()?.into_event_stream([0; 4096])?))
        }

        /// Watches the ways to `files` too. One that is watched already stays so, and one that is gone is forgotten by the system.
        pub(super) fn with(self, files: &[PathBuf]) -> io::Result<Self> {
            let watch = |folder: &Path| self.0.watches().add(folder, EVENTS).map(drop);
            watch_ways(files, watch)?;
            Ok(self)
        }

        /// Returns at a change. That one cannot be read may mean that some were lost, as after too many.
        pub(super) async fn change(&mut self) {
            if self.0.next().await.is_none() {
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use super::{PathBuf, io, watch_ways};

    /// Without inotify, files are read again now and then.
    pub(super) struct Folders;

    impl Folders {
        pub(super) fn new() -> io::Result<Self> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn with(self, files: &[PathBuf]) -> io::Result<Self> {
            watch_ways(files, |_| Ok(()))?;
            Ok(self)
        }

        pub(super) async fn change(&mut self) {
            std::future::pending().await
        }
    }
}

/// The folders in which something must change for `file` to become another. They are the one that it is in, and those of all links on the way
/// to it. Where the way ends early, it is the last one that is there.
fn folders(file: &Path) -> BTreeSet<PathBuf> {
    let mut folders = BTreeSet::new();
    let mut left: Vec<PathBuf> = parts(file);
    let mut here = PathBuf::new();
    let mut links = 0;
    while let Some(part) = left.pop() {
        let next = here.join(&part);
        match std::fs::read_link(&next) {
            Ok(target) if links < MAX_LINKS => {
                links += 1;
                folders.insert(folder(&here));
                left.extend(parts(&target));
                if target.is_absolute() {
                    here = PathBuf::new();
                }
            }
            _ if left.is_empty() || !next.is_dir() => {
                folders.insert(folder(&here));
                break;
            }
            _ => here = next,
        }
    }
    folders
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<PathBuf> {
    let part = |component: Component<'_>| PathBuf::from(component.as_os_str());
    path.components().rev().map(part).collect()
}

fn folder(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        path.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    const LIMIT: Duration = Duration::from_secs(30);

    /// A folder as the kubelet mounts a Secret.
    fn mounted(folder: &Path) {
        replace(folder, "1", "old");
        symlink("..data/tls.crt", folder.join("tls.crt")).unwrap();
    }

    /// Replaces all files in one step, as the kubelet does (`atomic_writer.go`).
    fn replace(folder: &Path, version: &str, text: &str) {
        let data = folder.join(format!("..{version}"));
        fs::create_dir(&data).unwrap();
        fs::write(data.join("tls.crt"), text).unwrap();
        symlink(format!("..{version}"), folder.join("..data_tmp")).unwrap();
        fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    }

    async fn told(watch: &mut FileWatch) {
        tokio::time::timeout(LIMIT, watch.changed())
            .await
            .expect("the change is told");
    }

    #[test]
    fn every_folder_whose_change_matters_is_found() {
        let dir = TempDir::new().unwrap();
        let root = dir.path().canonicalize().unwrap();
        mounted(&root);
        let found = folders(&root.join("tls.crt"));
        assert_eq!(found, BTreeSet::from([root.clone(), root.join("..1")]));
        let missing = folders(&root.join("a/b/c"));
        assert_eq!(missing, BTreeSet::from([root.clone()]));
        symlink("loop", root.join("loop")).unwrap();
        assert_eq!(folders(&root.join("loop/x")), BTreeSet::from([root.clone()]));
        fs::create_dir(root.join("real")).unwrap();
        symlink(root.join("real"), root.join("way")).unwrap();
        let through = folders(&root.join("way/file"));
        assert_eq!(through, BTreeSet::from([root.clone(), root.join("real")]));
        assert_eq!(folders(Path::new("file")), BTreeSet::from([PathBuf::from(".")]));
    }

    #[tokio::test]
    async fn swapped_link_is_told_each_time() {
        let dir = TempDir::new().unwrap();
        mounted(dir.path());
        let file = dir.path().join("tls.crt");
        let mut watch = FileWatch::new(vec![file.clone()]);
        for version in ["2", "3", "4"] {
            replace(dir.path(), version, version);
            told(&mut watch).await;
            assert_eq!(fs::read_to_string(&file).unwrap(), version);
        }
        let quiet = tokio::time::timeout(QUIET * 3, watch.changed()).await;
        assert!(quiet.is_err(), "reading a file is no change");
    }

    #[tokio::test]
    async fn file_that_comes_later_is_told_with_its_folder() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("later/tls.crt");
        let mut watch = FileWatch::new(vec![file.clone()]);
        fs::create_dir(dir.path().join("later")).unwrap();
        told(&mut watch).await;
        fs::write(&file, "new").unwrap();
        told(&mut watch).await;
        // Another folder under the same name.
        fs::remove_dir_all(dir.path().join("later")).unwrap();
        told(&mut watch).await;
        fs::create_dir(dir.path().join("later")).unwrap();
        told(&mut watch).await;
        fs::write(&file, "newer").unwrap();
        told(&mut watch).await;
    }

    #[tokio::test]
    async fn cancelled_wait_loses_no_change() {
        let dir = TempDir::new().unwrap();
        let file = dir.path().join("file");
        let mut watch = FileWatch::new(vec![file.clone()]);
        fs::write(&file, "new").unwrap();
        let mut tries = 0;
        while tokio::time::timeout(Duration::from_millis(20), watch.changed())
            .await
            .is_err()
        {
            tries += 1;
            assert!(tries < 1000, "it is told in the end");
        }
    }
}
