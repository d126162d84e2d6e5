//! What all tests share: one testbed, with its nodes and its cluster, and what was issued in it.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use testbed::{NodeOptions, Options, Part, Testbed};

use crate::secrets::Tokens;
use crate::{Cluster, Outcome, images};

/// The variable that names the folder of a testbed that stays up, for tests that are run again and again.
pub const KEPT: &str = "TKA_E2E_DIR";

/// The folder of a testbed. A temporary testbed is taken down with this, however that comes about.
#[derive(Debug)]
pub enum Grounds {
    /// For this run only.
    Temporary(Option<TempDir>),
    /// It stays up when the run is over.
    Kept(PathBuf),
}

/// A testbed that is up.
#[derive(Debug)]
pub struct World {
    /// The testbed.
    pub testbed: Testbed,
    /// Its cluster.
    pub cluster: Cluster,
    /// Every credential that was issued in it.
    pub tokens: Arc<Tokens>,
    options: Options,
    /// Whether an earlier run may have left something.
    pub(crate) is_kept: bool,
    pub(crate) sites: Mutex<BTreeSet<String>>,
    folders: AtomicU32,
}

// === impl Grounds ===

impl Grounds {
    /// The folder that [`KEPT`] names, or a new one. The path of a new one is short, because sockets are in it.
    pub fn new() -> Outcome<Self> {
        match env::var_os(KEPT) {
            Some(dir) => Ok(Self::Kept(dir.into())),
            None => Self::temporary(),
        }
    }

    /// A new folder, for this run only.
    pub fn temporary() -> Outcome<Self> {
        let dir = tempfile::Builder::new().prefix("tka-e2e-").tempdir()?;
        Ok(Self::Temporary(Some(dir)))
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.as_ref().map_or(Path::new(""), TempDir::path),
            Self::Kept(dir) => dir,
        }
    }

    /// Whether the testbed stays up when the run is over.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// Takes a temporary testbed down, and returns where the logs are.
    pub fn take_down(&self) -> Outcome<PathBuf> {
        if !self.is_kept() {
            testbed::down(self.dir())?;
        }
        Ok(self.dir().join("logs"))
    }

    /// Leaves the folder where it is.
    pub fn keep(mut self) {
        if let Self::Temporary(dir) = &mut self {
            dir.take().map(TempDir::keep);
        }
    }
}

impl Drop for Grounds {
    fn drop(&mut self) {
        if let Self::Temporary(Some(dir)) = self
            && let Err(error) = testbed::down(dir.path())
        {
            eprintln!(
                "e2e: the testbed in {} was not taken down: {error}",
                dir.path().display()
            );
        }
    }
}

// === impl World ===

impl World {
    /// Builds what is to be tested, and brings a testbed up on `grounds`.
    pub fn bring_up(grounds: &Grounds) -> Outcome<Self> {
        // First: a missing Go is reported at once.
        testbed::prepare(Part::Core)?;
        Self::up(grounds, None)
    }

    /// The same, with a Kubernetes node, on which the server runs as the chart installs it.
    pub fn bring_up_with_node(grounds: &Grounds) -> Outcome<Self> {
        testbed::prepare(Part::KubernetesNode)?;
        Self::up(grounds, Some(images::node_options()?))
    }

    fn up(grounds: &Grounds, node: Option<NodeOptions>) -> Outcome<Self> {
        let programs = testbed::build_own_programs()?;
        let mut options = Options::new(grounds.dir(), programs.server);
        options.cli_program = Some(programs.cli);
        options.node = node;
        let testbed = Testbed::up(&options)?;
        if grounds.is_kept() {
            remove_folder(&homes(&testbed))?;
        }
        Ok(Self {
            cluster: Cluster::of(&testbed)?,
            is_kept: grounds.is_kept(),
            testbed,
            options,
            tokens: Arc::default(),
            sites: Mutex::default(),
            folders: AtomicU32::default(),
        })
    }

    /// Starts what was killed of the testbed, with the state that it had.
    pub fn bring_back(&self) -> Outcome {
        Testbed::up(&self.options)?;
        Ok(())
    }

    /// An empty folder of that name, and one more with each call.
    pub fn new_folder(&self, name: &str) -> io::Result<PathBuf> {
        let number = self.folders.fetch_add(1, Ordering::Relaxed);
        let folder = homes(&self.testbed).join(format!("{name}-{number}"));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// Where the home folders of people are.
fn homes(testbed: &Testbed) -> PathBuf {
    testbed.dir().join("homes")
}

fn remove_folder(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
