//! The measurements that need a testbed. They are made by the program of the package `bench`, which needs an HTTP client and more; what else is typed does not.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use clap::Args;

use crate::Outcome;

/// A measurement.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Measurement {
    Login,
    Server,
    Scale,
    Gateway,
    Cost,
}

/// What a measurement is made with.
#[derive(Clone, Debug, Args)]
pub(super) struct Passed {
    /// What the programs are built with: `release` for figures that count, which takes many minutes.
    #[arg(long, default_value = "measure", value_name = "PROFILE")]
    profile: String,

    /// Options of the measurement, after `--`; `-- --help` lists them.
    #[arg(last = true, value_name = "OPTIONS")]
    options: Vec<OsString>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{package} does not build ({status}); cargo said why above")]
    Build { package: &'static str, status: ExitStatus },
    #[error("the measurement {0} failed; it said why above")]
    Failed(&'static str),
    #[error("{what}")]
    Io { what: String, source: std::io::Error },
}

// === impl Measurement ===

impl Measurement {
    /// Each, in the order in which they are made.
    pub(super) const ALL: [Self; 5] = [Self::Login, Self::Server, Self::Gateway, Self::Cost, Self::Scale];

    /// What it is called.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Server => "server",
            Self::Scale => "scale",
            Self::Gateway => "gateway",
            Self::Cost => "cost",
        }
    }

    /// Where its figures are written.
    pub(super) fn json(self) -> PathBuf {
        crate::root().join("target/bench").join(format!("{}.json", self.name()))
    }
}

// === impl Passed ===

impl Passed {
    /// Whether there are options of a measurement.
    pub(super) fn has_options(&self) -> bool {
        !self.options.is_empty()
    }

    /// The same profile, with other options.
    pub(super) fn with(&self, options: &[OsString]) -> Self {
        Self {
            profile: self.profile.clone(),
            options: options.to_vec(),
        }
    }
}

/// Builds what is measured, and what measures, and lets it.
pub(super) fn run(measurement: Measurement, passed: &Passed) -> Outcome {
    run_into(&measurement.json(), measurement, passed)
}

/// The same, with the figures in another file.
pub(super) fn run_into(json: &Path, measurement: Measurement, passed: &Passed) -> Outcome {
    // First: a missing Go is reported at once.
    testbed::prepare(testbed::Part::Core)?;
    let folder = build(passed)?;
    let name = measurement.name();
    let mut program = std::process::Command::new(folder.join("bench"));
    program.arg(name).arg("--json").arg(json).args(&passed.options);
    let status = program
        .stdin(Stdio::null())
        .status()
        .map_err(io("the measurement cannot be run"))?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed(name).into())
    }
}

/// Builds one package after another, so that each has the features that its release has.
pub(super) fn build(passed: &Passed) -> Outcome<PathBuf> {
    let profile = passed.profile.as_str();
    let target = crate::root().join("target");
    for package in ["tka-server", "tka-cli", "bench"] {
        eprintln!("xtask: building {package} with the profile {profile}");
        let mut cargo = testbed::cargo();
        cargo.args([
            "build",
            "--quiet",
            "--package",
            package,
            "--profile",
            profile,
            "--target-dir",
        ]);
        let status = cargo.arg(&target).stdin(Stdio::null()).status();
        let status = status.map_err(io("cargo cannot be run"))?;
        if !status.success() {
            return Err(Error::Build { package, status }.into());
        }
    }
    let folder = target.join(folder_of(profile));
    fs::create_dir_all(target.join("bench")).map_err(io("there is no folder for the figures"))?;
    Ok(folder)
}

/// Where cargo puts what it builds with a profile.
fn folder_of(profile: &str) -> &Path {
    Path::new(if profile == "dev" { "debug" } else { profile })
}

fn io(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        passed: Passed,
    }

    #[test]
    fn options_of_a_measurement_are_passed_on() {
        let passed = Command::parse_from(["bench", "--profile", "release", "--", "--sessions", "10"]).passed;
        assert_eq!(passed.profile, "release");
        assert_eq!(passed.options, ["--sessions", "10"]);
        assert_eq!(Command::parse_from(["bench"]).passed.profile, "measure");
        assert!(Command::try_parse_from(["bench", "--sessions", "10"]).is_err());
    }

    #[test]
    fn programs_are_where_cargo_puts_them() {
        assert_eq!(
            ["dev", "release", "measure"].map(folder_of),
            ["debug", "release", "measure"].map(Path::new)
        );
    }
}
