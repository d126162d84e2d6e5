//! `cargo xtask check`: everything that can be said of the code without running it.

use std::{process::Command, process::Stdio};

use clap::Args;

use crate::{Outcome, book, generate::Generate, imports, module_tables, root, threats, troubleshooting};

/// The version of cargo-deny that is installed when there is none.
const CARGO_DENY: &str = "cargo-deny@0.20.2";

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {}

/// Why the checks did not pass.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// One of them failed.
    #[error("{0} failed; it said why above")]
    Failed(&'static str),
    /// One of them could not be run.
    #[error("{what} cannot be run")]
    Io { what: &'static str, source: std::io::Error },
}

impl Check {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(crate) fn run(self) -> Outcome {
        run("formatting", testbed::cargo().args(["fmt", "--all", "--check"]))?;
        let clippy = [
            "clippy",
            "--quiet",
            "--workspace",
            "--all-targets",
            "--",
            "--deny=warnings",
        ];
        run("clippy", testbed::cargo().args(clippy))?;
        let mut docs = testbed::cargo();
        docs.env("RUSTDOCFLAGS", "--deny=warnings");
        run(
            "documentation",
            docs.args(["doc", "--quiet", "--workspace", "--no-deps", "--document-private-items"]),
        )?;
        deny()?;
        let current = Generate { check: true };
        eprintln!("xtask: checking generated files");
        current.crd()?;
        current.docs()?;
        eprintln!("xtask: checking the threat model");
        threats::check(&root())?;
        eprintln!("xtask: checking the links of all documents");
        book::check()?;
        eprintln!("xtask: checking that every error has its section");
        troubleshooting::check(&root())?;
        eprintln!("xtask: checking that every module has its row");
        module_tables::check(&root())?;
        eprintln!("xtask: checking that imports run downward");
        let upward = imports::problems(&root())?;
        if !upward.is_empty() {
            for problem in &upward {
                eprintln!("{problem}");
            }
            return Err(Error::Failed("the layers").into());
        }
        eprintln!("xtask: all checks passed");
        Ok(())
    }
}

/// Licences, bans and sources are those of every platform. So all packages of the lock file are fetched first: a build fetches
/// those of its own platform only. Advisories need a database: where it is out of reach, that is said and no more, because a
/// failing network says nothing about the code.
fn deny() -> Result<(), Error> {
    run(
        "that all packages can be had",
        testbed::cargo().args(["fetch", "--quiet", "--locked"]),
    )?;
    if !succeeds(testbed::cargo().args(["deny", "--version"])) {
        run(
            "installing cargo-deny",
            testbed::cargo().args(["install", "--quiet", "--locked", CARGO_DENY]),
        )?;
    }
    run(
        "cargo deny",
        testbed::cargo().args(["deny", "--offline", "check", "bans", "licenses", "sources"]),
    )?;
    if !succeeds(testbed::cargo().args(["deny", "fetch", "db"])) {
        eprintln!("xtask: advisories NOT checked: their database cannot be fetched from here");
        return Ok(());
    }
    run(
        "advisories",
        testbed::cargo().args(["deny", "check", "--disable-fetch", "advisories"]),
    )
}

fn run(what: &'static str, command: &mut Command) -> Result<(), Error> {
    eprintln!("xtask: checking {what}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|source| Error::Io { what, source })?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed(what))
    }
}

fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    /// With `CI=true` the tests with a Kubernetes node must run. They need root, and the programs that `.ci/run` installs as root.
    #[test]
    fn ci_runs_as_root_with_the_runners_folders() {
        let workflow = fs::read_to_string(root().join(".github/workflows/ci.yml")).unwrap();
        let workflow: Value = serde_saphyr::from_str(&workflow).unwrap();
        let steps = workflow["jobs"]["linux"]["steps"].as_array().unwrap();
        let commands: Vec<_> = steps.iter().filter_map(|step| step["run"].as_str()).collect();
        let everything = commands.iter().find(|command| command.ends_with(".ci/run")).unwrap();
        for part in ["sudo --preserve-env ", r#" "PATH=$PATH" "#, r#" "HOME=$HOME" "#] {
            assert!(everything.contains(part), "{everything}");
        }
        assert!(
            !commands.iter().any(|command| command.contains("apt-get")),
            "a second list"
        );
    }
}
