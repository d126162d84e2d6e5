//! `cargo xtask crd`.

use std::{fs, io, path::PathBuf, process::ExitStatus, process::Stdio};

use clap::Args;

use crate::Outcome;

/// Arguments of `crd`.
#[derive(Debug, Args)]
pub(crate) struct Crd {
    /// Only say whether the chart has what the Rust type says.
    #[arg(long)]
    check: bool,
}

/// Why the chart does not have the custom resource.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// The generator did not run to its end.
    #[error("the generator failed ({0}); it said why above")]
    Generator(ExitStatus),
    /// The check failed.
    #[error("{} is not what the Rust type says: run `cargo xtask crd` and commit the result", .0.display())]
    Stale(PathBuf),
    /// A program or a file could not be worked with.
    #[error("{what}")]
    Io { what: String, source: io::Error },
}

impl Crd {
    pub(crate) fn run(self) -> Outcome {
        let file = crate::root().join("charts/tka/files/tkasignins.yaml");
        let generated = generate()?;
        let current = fs::read(&file).is_ok_and(|current| current == generated);
        if current {
            return Ok(());
        }
        if self.check {
            return Err(Error::Stale(file).into());
        }
        let what = format!("cannot write {}", file.display());
        fs::write(&file, generated).map_err(|source| Error::Io { what, source })?;
        eprintln!("xtask: wrote {}", file.display());
        Ok(())
    }
}

fn generate() -> Result<Vec<u8>, Error> {
    let mut cargo = crate::cargo();
    cargo.args([
        "run",
        "--quiet",
        "--package",
        "tka-api",
        "--features",
        "resource",
        "--example",
        "crd",
    ]);
    let output = cargo
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|source| Error::Io {
            what: "cannot run cargo".to_owned(),
            source,
        })?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(Error::Generator(output.status))
    }
}
