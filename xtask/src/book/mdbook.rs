//! mdBook (<https://rust-lang.github.io/mdBook/>), which makes the site.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::Outcome;

/// The exact version. CI's cache of programs changes with this file.
const VERSION: &str = "0.5.4";

/// Why there is no site.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("mdBook {VERSION} cannot be installed; cargo said why above")]
    Install,
    #[error("mdBook failed, or warned:\n{0}")]
    Build(String),
}

/// Makes the site of the sources in `folder`. A warning is a failure.
pub(super) fn build(folder: &Path) -> Outcome {
    let mut mdbook = Command::new(program()?);
    mdbook
        .args(["build"])
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // Its log is what tells of warnings; a developer's filter must not hide them.
    let output = mdbook
        .env_remove("MDBOOK_LOG")
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() && !has_warnings(&said) {
        return Ok(());
    }
    Err(Error::Build(said.trim().to_owned()).into())
}

fn has_warnings(log: &str) -> bool {
    let has_level = |line: &str| {
        line.split_whitespace()
            .take(3)
            .any(|word| ["WARN", "ERROR", "[WARN]", "[ERROR]"].contains(&word))
    };
    log.lines().any(has_level)
}

/// The program, in the cache of the testbed's. It is built once, without the web server.
fn program() -> Outcome<PathBuf> {
    let cache = testbed::cache_dir()?;
    let folder = cache.join(format!("mdbook-{VERSION}"));
    let program = folder.join("bin/mdbook");
    if program.exists() {
        return Ok(program);
    }
    fs::create_dir_all(&cache)?;
    eprintln!("xtask: installing mdBook {VERSION}");
    let mut cargo = testbed::cargo();
    // The pages are few: what an unoptimised build takes longer is less than what it saves here.
    cargo.args([
        "install",
        "--quiet",
        "--locked",
        "--debug",
        "--no-default-features",
        "--features",
        "search",
    ]);
    cargo
        .arg(format!("mdbook@{VERSION}"))
        .arg("--root")
        .arg(&folder)
        .stdin(Stdio::null());
    if !cargo.status()?.success() {
        return Err(Error::Install.into());
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_from_what_is_merely_said() {
        assert!(has_warnings(
            " INFO Book building has started\n WARN unclosed HTML tag\n"
        ));
        assert!(has_warnings("2026-01-02 15:04:05 [ERROR] (mdbook): no"));
        assert!(!has_warnings(" INFO the page about WARN is built\n"));
    }
}
