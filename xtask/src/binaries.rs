//! The project's own programs, built the way xtask itself was.

use std::{
    env, io,
    path::{Path, PathBuf},
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
    /// Cargo could not be run, or this program does not know where it is.
    #[error("the project's programs could not be built")]
    Io(#[from] io::Error),
    /// Cargo has said what is wrong.
    #[error("the project's programs do not build ({0}); cargo said why above")]
    Build(ExitStatus),
}

/// Builds `tka-server` and `tka` beside this very program.
pub(crate) fn build() -> Result<Binaries, Error> {
    let own = env::current_exe()?;
    let profile = own.parent().unwrap_or(Path::new("."));
    let mut cargo = crate::cargo();
    cargo.args(["build", "--package", "tka-server", "--package", "tka-cli"]);
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    eprintln!("xtask: building tka-server and tka");
    let status = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if !status.success() {
        return Err(Error::Build(status));
    }
    Ok(Binaries {
        server: profile.join("tka-server"),
        cli: profile.join("tka"),
    })
}
