//! Where everything is.

use std::{
    env, fs, io,
    os::unix::fs::DirBuilderExt,
    path::{self, Path, PathBuf},
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    error::{Attempt, Result},
    files,
};

/// The longest name a socket may have, without `.sock`. Unix socket paths end at 103 bytes on macOS and 107 on Linux.
pub(crate) const MAX_SOCKET_NAME: usize = 30;
const MAX_SOCKET_DIR: usize = 64;

/// The files of one testbed.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// The layout of a folder, which is created if it is not there.
    pub(crate) fn create(dir: &Path) -> Result<Self> {
        files::create_private_dir(dir)?;
        Self::of(dir)
    }

    /// The layout of a folder, which need not be there: someone may have removed it under a running testbed.
    pub(crate) fn of(dir: &Path) -> Result<Self> {
        // Canonical, because it is what marks the testbed's processes.
        let dir = path::absolute(dir).and_then(|dir| canonical(&dir));
        Ok(Self {
            dir: dir.attempt(|| "cannot find the testbed's folder".to_owned())?,
        })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Held while the testbed is brought up or down.
    pub(crate) fn lock(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// What `up` decided once and for all; there is a testbed where this file is.
    pub(crate) fn facts(&self) -> PathBuf {
        self.dir.join("state.json")
    }

    pub(crate) fn ports(&self) -> PathBuf {
        self.dir.join("ports.json")
    }

    /// Recordings of exec and attach through the server that `up` starts.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.dir.join("recordings")
    }

    pub(crate) fn env_file(&self) -> PathBuf {
        self.dir.join("env")
    }

    /// Links to the programs, and nothing else, so that it can stand first on a PATH.
    pub(crate) fn bin(&self) -> PathBuf {
        self.dir.join("bin")
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.bin().join(name)
    }

    /// Links to the programs of the Kubernetes node. Some have the names of other programs, so they stand on no PATH outside of it.
    pub(crate) fn node_bin(&self) -> PathBuf {
        self.data("kubernetes-node/bin")
    }

    /// The program that runs its arguments in the sandbox of the Kubernetes node.
    pub(crate) fn node_exec(&self) -> PathBuf {
        self.program("node-exec")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    pub(crate) fn log(&self, part: &str) -> PathBuf {
        self.logs().join(format!("{part}.log"))
    }

    pub(crate) fn audit_log(&self) -> PathBuf {
        self.logs().join("audit.log")
    }

    /// Certificates and keys.
    pub(crate) fn pki(&self, file: &str) -> PathBuf {
        self.dir.join("pki").join(file)
    }

    pub(crate) fn cluster_ca(&self) -> PathBuf {
        self.pki("cluster-ca.pem")
    }

    /// The administrator's.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// The tailnet policy as people edit it.
    pub(crate) fn policy(&self) -> PathBuf {
        self.dir.join("policy.json")
    }

    /// A part's own state.
    pub(crate) fn data(&self, part: &str) -> PathBuf {
        self.dir.join("data").join(part)
    }

    pub(crate) fn nodes(&self) -> PathBuf {
        self.dir.join("nodes")
    }

    pub(crate) fn node(&self, hostname: &str) -> PathBuf {
        self.nodes().join(hostname)
    }

    pub(crate) fn server(&self, name: &str) -> PathBuf {
        self.dir.join("servers").join(name)
    }

    /// Where unix sockets live: here if the path is short enough, else in a private folder of the system's for
    /// temporary files.
    pub(crate) fn create_socket_dir(&self) -> Result<PathBuf> {
        let here = self.dir.join("run");
        if here.as_os_str().len() <= MAX_SOCKET_DIR {
            files::create_private_dir(&here)?;
            return Ok(here);
        }
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.subsec_nanos());
        let elsewhere = env::temp_dir().join(format!("tka-{:x}{:x}", process::id(), nanos));
        // Not recursive: another user's folder of that name must be an error, not a place for sockets.
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&elsewhere)
            .attempt(|| format!("cannot create the folder {}", elsewhere.display()))?;
        Ok(elsewhere)
    }

    /// Removes what a testbed leaves when it has ended; the logs stay, to be read.
    pub(crate) fn clear(&self) -> Result<()> {
        for part in [
            "env",
            "bin",
            "pki",
            "kubeconfig",
            "policy.json",
            "data",
            "nodes",
            "servers",
            "run",
        ] {
            files::remove(&self.dir.join(part))?;
        }
        files::remove(&self.ports())?;
        files::remove(&self.facts())
    }
}

/// A path without symbolic links in as much of it as exists.
fn canonical(dir: &Path) -> io::Result<PathBuf> {
    match (dir.canonicalize(), dir.parent(), dir.file_name()) {
        (Err(error), Some(parent), Some(name)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(canonical(parent)?.join(name))
        }
        (result, _, _) => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_folder_has_its_sockets_elsewhere() {
        let temporary = tempfile::tempdir().unwrap();
        let short = Layout::create(&temporary.path().join("s")).unwrap();
        assert!(short.create_socket_dir().unwrap().starts_with(short.dir()));
        let long = Layout::create(&temporary.path().join("l".repeat(80))).unwrap();
        let sockets = long.create_socket_dir().unwrap();
        assert!(
            sockets.as_os_str().len() + 1 + MAX_SOCKET_NAME + ".sock".len() < 104,
            "{}",
            sockets.display()
        );
        fs::remove_dir(sockets).unwrap();
    }

    #[test]
    fn a_folder_that_was_removed_still_has_its_name() {
        let temporary = tempfile::tempdir().unwrap();
        let (real, link) = (temporary.path().join("real"), temporary.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let before = Layout::create(&link.join("a/testbed")).unwrap();
        fs::remove_dir_all(real.join("a")).unwrap();
        assert_eq!(Layout::of(&link.join("a/testbed")).unwrap().dir(), before.dir());
    }

    #[test]
    fn clearing_leaves_the_logs_and_what_is_not_ours() {
        let temporary = tempfile::tempdir().unwrap();
        let layout = Layout::create(temporary.path()).unwrap();
        for file in ["state.json", "env", "mine.txt", "logs/etcd.log", "data/etcd/x"] {
            let path = layout.dir().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        layout.clear().unwrap();
        let mut left: Vec<_> = fs::read_dir(layout.dir())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["logs", "mine.txt"]);
    }
}
