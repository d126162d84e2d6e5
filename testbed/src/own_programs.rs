//! The project's own programs, built the way the running one was.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    error::{Attempt, Error, Result},
    progress::say,
};

/// Where the project's own programs are.
#[derive(Debug, Clone)]
pub struct OwnPrograms {
    /// `tka-server`.
    pub server: PathBuf,
    /// `tka`.
    pub cli: PathBuf,
}

/// Builds `tka-server` and `tka` beside the running program, xtask or a test: into the same folder, with the same profile.
pub fn build_own_programs() -> Result<OwnPrograms> {
    say("building tka-server and tka");
    let beside = build(&["tka-server", "tka-cli"])?;
    Ok(OwnPrograms {
        server: beside.join("tka-server"),
        cli: beside.join("tka"),
    })
}

/// Builds the program that a testbed with a Kubernetes node runs in and around its sandbox.
pub fn build_sandbox_program() -> Result<PathBuf> {
    Ok(build(&["testbed"])?.join("testbed-sandbox"))
}

/// Builds packages of the project beside the running program, and returns the folder where what was built is.
pub fn build(packages: &[&str]) -> Result<PathBuf> {
    let beside = folder()?;
    let profile = match beside.file_name().and_then(OsStr::to_str) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let mut cargo = cargo();
    cargo.arg("build");
    for package in packages {
        cargo.args(["--package", package]);
    }
    cargo
        .args(["--profile", profile, "--target-dir"])
        .arg(beside.parent().unwrap_or(Path::new("target")));
    let status = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status();
    let status = status.attempt(|| "cannot run cargo".to_owned())?;
    if !status.success() {
        return Err(Error::OwnBuild { status });
    }
    Ok(beside)
}

/// The cargo that runs this program, at the root of the checkout, as a developer types it.
///
/// The variables by which cargo tells a program of its own package must not get through. The build scripts of some
/// dependencies have these built anew each time that such a variable has changed.
#[must_use]
pub fn cargo() -> Command {
    const PREFIXES: [&str; 3] = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
    const ALONE: [&str; 3] = ["CARGO_CRATE_NAME", "CARGO_PRIMARY_PACKAGE", "OUT_DIR"];
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if ALONE.contains(&&*text) || PREFIXES.iter().any(|prefix| text.starts_with(prefix)) {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
    cargo
}

/// Where cargo puts the programs of the profile that the running one was built with.
fn folder() -> Result<PathBuf> {
    let running = env::current_exe().attempt(|| "cannot tell where this program is".to_owned())?;
    let dir = running.parent().unwrap_or(Path::new("."));
    // Tests are a folder deeper.
    let dir = if dir.ends_with("deps") {
        dir.parent().unwrap_or(dir)
    } else {
        dir
    };
    Ok(dir.to_owned())
}
