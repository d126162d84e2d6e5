//! `cargo xtask fuzz`: what comes from outside, made up by a fuzzer that watches which code it reaches.

use std::process::{Command, Stdio};

use clap::Args;
use serde::Deserialize;

use crate::Outcome;

/// The version of cargo-bolero that is installed when there is none.
const CARGO_BOLERO: &str = "cargo-bolero@0.13.5";
/// The crates that have targets.
const PACKAGES: [&str; 5] = ["tka-core", "tka-tailnet", "tka-operator", "tka-server", "tka-cli"];

/// Arguments of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Only targets with this in their names; all by default
    #[arg(value_name = "NAME", default_value = "")]
    name: String,

    /// How long each is fuzzed, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// A target, as cargo-bolero lists it.
#[derive(Debug, Deserialize)]
struct Target {
    package: String,
    test: String,
}

/// Why nothing is sure now.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A target failed, or could not be built.
    #[error("{0} failed; an input that it fails with is in __fuzz__ beside its code")]
    Failed(String),
    /// No target has such a name.
    #[error("no fuzz target has `{0}` in its name")]
    Nothing(String),
    /// Cargo could not be run.
    #[error("cargo cannot be run")]
    Io(#[from] std::io::Error),
}

impl Fuzz {
    pub(crate) fn run(&self) -> Outcome {
        install()?;
        let mut targets = Vec::new();
        for package in PACKAGES {
            targets.extend(targets_of(package)?);
        }
        targets.retain(|target| target.test.contains(&self.name));
        if targets.is_empty() {
            return Err(Error::Nothing(self.name.clone()).into());
        }
        for target in &targets {
            self.fuzz(target)?;
        }
        println!("{} targets were fuzzed for {} s each", targets.len(), self.seconds);
        Ok(())
    }

    /// Without a sanitizer, which only Rust's nightly has: there is no unsafe code to be watched.
    fn fuzz(&self, Target { package, test }: &Target) -> Result<(), Error> {
        eprintln!("xtask: fuzzing {package} {test}");
        let time = format!("{}s", self.seconds);
        let mut bolero = bolero("test", package);
        bolero.args(["--engine", "libfuzzer", "-T", &time, test]);
        if bolero.stdin(Stdio::null()).status()?.success() {
            Ok(())
        } else {
            Err(Error::Failed(format!("{package} {test}")))
        }
    }
}

fn install() -> Result<(), Error> {
    let version = testbed::cargo().args(["bolero", "--version"]).output()?;
    if version.status.success() {
        return Ok(());
    }
    eprintln!("xtask: installing cargo-bolero");
    let installed = testbed::cargo()
        .args(["install", "--quiet", "--locked", CARGO_BOLERO])
        .status()?;
    if installed.success() {
        Ok(())
    } else {
        Err(Error::Failed(format!("installing {CARGO_BOLERO}")))
    }
}

fn targets_of(package: &str) -> Result<Vec<Target>, Error> {
    let output = bolero("list", package).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(Error::Failed(format!("listing the fuzz targets of {package}")));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

fn bolero(what: &str, package: &str) -> Command {
    let mut cargo = testbed::cargo();
    cargo.args(["bolero", what, "--sanitizer", "NONE", "--package", package]);
    cargo
}
