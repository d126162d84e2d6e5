//! schemathesis (<https://schemathesis.io>): requests made of an `OpenAPI` document, and answers held against it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Outcome;

/// The exact versions of it and of all that it needs.
const REQUIREMENTS: &str = include_str!("../schemathesis/requirements.txt");
/// What is an environment's when it is whole.
const STAMP: &str = "requirements.txt";

/// schemathesis in a Python environment of its own.
#[derive(Debug)]
pub struct Schemathesis {
    python: PathBuf,
}

// === impl Schemathesis ===

impl Schemathesis {
    /// The one in the testbed's cache, installed if it is not there.
    pub fn prepare() -> Outcome<Self> {
        let cache = testbed::cache_dir()?;
        let folder = cache.join("schemathesis");
        let is_whole = fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == REQUIREMENTS);
        if !is_whole {
            install(&cache, &folder)?;
        }
        Ok(Self {
            python: python(&folder),
        })
    }

    /// A run against the document at `url`, through `proxy`. It writes what it needs into `folder`. The same `seed` makes the same
    /// requests, so that what a run finds can be found again.
    #[must_use]
    pub fn run(&self, url: &str, proxy: &str, folder: &Path, seed: u32) -> Command {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemathesis/schemathesis.toml");
        let mut command = Command::new(&self.python);
        command.args(["-m", "schemathesis.cli", "--config-file"]).arg(config);
        command.args(["run", url, "--checks", "all", "--continue-on-failure", "--no-shrink"]);
        command.args(["--seed", &seed.to_string()]);
        command.args(["--max-examples", "60", "--warnings", "off"]);
        command.env("HTTP_PROXY", proxy).env("http_proxy", proxy);
        command
            .env("NO_COLOR", "1")
            .env("HOME", folder)
            .current_dir(folder)
            .stdin(Stdio::null());
        command
    }
}

/// Builds the environment beside its place, so that what is in its place is whole.
fn install(cache: &Path, folder: &Path) -> Outcome {
    fs::create_dir_all(cache)?;
    let new = tempfile::Builder::new().prefix("schemathesis-").tempdir_in(cache)?;
    let requirements = new.path().join("pinned.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let mut venv = Command::new("python3");
    done("a Python environment", venv.args(["-m", "venv"]).arg(new.path()))?;
    let mut pip = Command::new(python(new.path()));
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ]);
    done("schemathesis from PyPI", pip.arg(&requirements).stdin(Stdio::null()))?;
    fs::write(new.path().join(STAMP), REQUIREMENTS)?;
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::rename(new.keep(), folder)?)
}

fn done(what: &str, command: &mut Command) -> Outcome {
    let output = command
        .output()
        .map_err(|error| format!("{what} cannot be made: python3: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{what} cannot be made: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn python(folder: &Path) -> PathBuf {
    folder.join("bin/python")
}
