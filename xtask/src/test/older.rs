//! `cargo xtask test --older`: the server of an older version beside that of this one, as while replicas are upgraded.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use super::named;
use crate::{Outcome, root};

/// The variable by which the test program is told where the older server is (`e2e/tests/e2e/older.rs`).
const PROGRAM: &str = "TKA_E2E_OLDER_SERVER";

/// Why there is no older server.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// There is no such commit here.
    #[error("{0} is no commit of this repository; a shallow clone lacks older ones (`git fetch --unshallow`)")]
    Unknown(String),
    /// It does not build.
    #[error("the server of {0} does not build; cargo said why above")]
    Build(String),
}

/// Runs the tests that need the server of `commit`.
pub(super) fn run(commit: &str) -> Outcome {
    let commit = resolve(commit)?;
    let program = build(&commit)?;
    named::run_with("older::", None, &[(PROGRAM, program.as_os_str())])
}

/// Has the end-to-end tests that `cargo` runs include those with an older server. Without this repository's history they do not, but in CI they must.
pub(super) fn give_to(cargo: &mut Command) -> Outcome {
    match resolve(testbed::BEFORE_SERVER).and_then(|commit| build(&commit)) {
        Ok(program) => {
            cargo.env(PROGRAM, program);
            Ok(())
        }
        Err(error) if env::var_os("CI").is_some() => Err(error),
        Err(error) => {
            eprintln!("xtask: the tests beside an older server do not run: {error}");
            Ok(())
        }
    }
}

/// The whole name of `commit`.
fn resolve(commit: &str) -> Outcome<String> {
    let name = format!("{commit}^{{commit}}");
    let git = Command::new("git")
        .current_dir(root())
        .args(["rev-parse", "--verify", "--quiet", "--end-of-options", &name])
        .output()?;
    if git.status.success() {
        return Ok(String::from_utf8(git.stdout)?.trim().to_owned());
    }
    Err(Error::Unknown(commit.to_owned()).into())
}

/// Builds the server of `commit`, unless that was done before.
fn build(commit: &str) -> Outcome<PathBuf> {
    let folder = root().join("target/older").join(commit);
    let program = folder.join("tka-server");
    if program.exists() {
        return Ok(program);
    }
    let (sources, target) = (folder.join("sources"), folder.join("target"));
    eprintln!("xtask: building the server of {commit}");
    if !testbed::unpack_commit(commit, &[], &sources)? {
        return Err(Error::Unknown(commit.to_owned()).into());
    }
    let status = testbed::cargo()
        .current_dir(&sources)
        .args(["build", "--locked", "--package", "tka-server", "--target-dir"])
        .arg(&target)
        .stdin(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(Error::Build(commit.to_owned()).into());
    }
    // Whole or not at all, so that a build that was interrupted is done anew.
    let built = folder.join("tka-server.new");
    fs::copy(target.join("debug/tka-server"), &built)?;
    fs::rename(&built, &program)?;
    for rest in [&sources, &target] {
        fs::remove_dir_all(rest)?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_commit_is_said() {
        for other in ["no-such-commit", "--help", "", "HEAD:README.md"] {
            let error = resolve(other).unwrap_err().to_string();
            assert!(error.contains("is no commit"), "{error}");
        }
    }
}
