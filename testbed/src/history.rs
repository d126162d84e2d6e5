//! Files of an older commit of this project.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::error::{Attempt, Error, Result};

/// The last commit before the chart had a server.
pub const BEFORE_SERVER: &str = "0318adabf3f2d1d93eef3897f0d86a291e6905eb";

/// Puts what `commit` has at `paths` into `folder`, or all of it where none are named. Says whether there is such a commit: a shallow clone lacks older ones.
pub fn unpack_commit(commit: &str, paths: &[&str], folder: &Path) -> Result<bool> {
    fs::create_dir_all(folder).attempt(|| format!("cannot create {}", folder.display()))?;
    let archive = Command::new("git")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-C", "..", "archive", "--format=tar", commit])
        .args(paths)
        .output()
        .attempt(|| "cannot run git".to_owned())?;
    if !archive.status.success() {
        return Ok(false);
    }
    let unpack = || {
        let mut tar = Command::new("tar")
            .args(["--extract", "--directory"])
            .arg(folder)
            .stdin(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = tar.stdin.take() {
            stdin.write_all(&archive.stdout)?;
        }
        tar.wait()
    };
    let status = unpack().attempt(|| "cannot run tar".to_owned())?;
    if status.success() {
        Ok(true)
    } else {
        Err(Error::Unpack {
            folder: folder.to_owned(),
            status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_that_is_not_there_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!unpack_commit("no-such-commit", &[], folder.path()).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
