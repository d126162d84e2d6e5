//! The project's own programs, built the way xtask itself was.

use std::{
    io,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) server: PathBuf,
    pub(crate) cli: PathBuf,
}

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Cargo could not be run.
    #[error("cannot run cargo")]
    Cargo(#[from] io::Error),
    /// Cargo has said what is wrong.
    #[error("the project's programs do not build ({0}); cargo said why above")]
    Build(ExitStatus),
    /// This program does not know where it is.
    #[error(transparent)]
    Place(#[from] testbed::Error),
}

/// Builds `tka-server` and `tka` beside this very program.
pub(crate) fn build() -> Result<Binaries, Error> {
    let mut cargo = crate::cargo();
    cargo.args(["build", "--package", "tka-server", "--package", "tka-cli"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    eprintln!("xtask: building tka-server and tka");
    let status = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(Error::Build(status));
    }
    Ok(Binaries {
        server: testbed::own_program("tka-server")?,
        cli: testbed::own_program("tka")?,
    })
}
