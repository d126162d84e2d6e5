//! What all tests share: one testbed, with its nodes and its cluster, and what was issued in it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use testbed::{Options, Testbed};

use crate::secrets::Tokens;
use crate::{Cluster, Outcome};

/// The folder of a testbed, which is taken down with this, however that comes about.
#[derive(Debug)]
pub struct Grounds(Option<TempDir>);

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
    pub(crate) sites: Mutex<BTreeSet<String>>,
    folders: AtomicU32,
}

// === impl Grounds ===

impl Grounds {
    /// A new folder. Its path is short, because sockets are in it.
    pub fn new() -> Outcome<Self> {
        Ok(Self(Some(tempfile::Builder::new().prefix("tka-e2e-").tempdir()?)))
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.0.as_ref().map_or(Path::new(""), TempDir::path)
    }

    /// Takes the testbed down, and returns where its logs are.
    pub fn take_down(&self) -> Outcome<PathBuf> {
        testbed::down(self.dir())?;
        Ok(self.dir().join("logs"))
    }

    /// Leaves the folder where it is.
    pub fn keep(mut self) {
        self.0.take().map(TempDir::keep);
    }
}

impl Drop for Grounds {
    fn drop(&mut self) {
        if let Some(dir) = &self.0
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
        // First, so that whoever has no Go hears it at once.
        testbed::prepare()?;
        let programs = testbed::build_own_programs()?;
        let mut options = Options::new(grounds.dir(), programs.server);
        options.cli_program = Some(programs.cli);
        let testbed = Testbed::up(&options)?;
        Ok(Self {
            cluster: Cluster::of(&testbed)?,
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
        let folder = self.testbed.dir().join("homes").join(format!("{name}-{number}"));
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}
