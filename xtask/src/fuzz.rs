//! `cargo xtask fuzz`: what comes from outside, made up by a fuzzer that watches which code it reaches.
//!
//! As cargo-bolero does it, which cannot leave out a package's other tests: those do not link with code that is watched.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use clap::Args;
use serde::Deserialize;

use crate::{Outcome, root};

/// The crates that have targets.
const PACKAGES: [&str; 9] = [
    "tka-core",
    "tka-kubeconfig",
    "tka-tailnet",
    "tka-operator",
    "tka-server",
    "tka-cli",
    "tka-gateway",
    "tka-recording",
    "tka-policy",
];
/// Lets libFuzzer see which code is reached, and with what it compares.
const WATCHED: [&str; 8] = [
    "--cfg fuzzing",
    "--cfg fuzzing_libfuzzer",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
];
/// How many seconds one input may take.
const INPUT_SECONDS: u32 = 10;

/// Arguments of `fuzz`.
#[derive(Debug, Args)]
pub(crate) struct Fuzz {
    /// Only targets with this in their names; all by default
    #[arg(value_name = "NAME", default_value = "")]
    name: String,

    /// How long each is fuzzed, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u32,

    /// Only targets of this crate; of all by default
    #[arg(long, value_name = "CRATE")]
    package: Option<String>,
}

/// A target, as bolero tells of it.
#[derive(Debug, Deserialize)]
struct Target {
    exe: PathBuf,
    /// Where its inputs are.
    work_dir: PathBuf,
    package_name: String,
    test_name: String,
}

/// Why nothing is sure now.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A target failed.
    #[error("{package} {name} failed; what it fails with is in {}", crashes.display())]
    Failed {
        package: String,
        name: String,
        crashes: PathBuf,
    },
    /// The targets of a crate could not be built or listed.
    #[error("the fuzz targets of {0} could not be built; it is said above why")]
    Build(String),
    /// No target has such a name.
    #[error("no fuzz target has `{0}` in its name")]
    Nothing(String),
    /// A program could not be run, or a folder not made.
    #[error("cannot run the fuzzer")]
    Io(#[from] std::io::Error),
}

impl Fuzz {
    pub(crate) fn run(&self) -> Outcome {
        let is_meant = |package: &&str| self.package.as_deref().is_none_or(|meant| meant == *package);
        let mut count = 0;
        for package in PACKAGES.into_iter().filter(is_meant) {
            eprintln!("xtask: building the fuzz targets of {package}");
            let targets = targets(package)?;
            for target in targets.iter().filter(|target| target.test_name.contains(&self.name)) {
                target.fuzz(self.seconds)?;
                count += 1;
            }
        }
        if count == 0 {
            return Err(Error::Nothing(self.name.clone()).into());
        }
        println!(
            "{count} targets were fuzzed for {} s each, and none failed",
            self.seconds
        );
        Ok(())
    }
}

/// Builds the targets of a crate, and asks them who they are.
fn targets(package: &str) -> Result<Vec<Target>, Error> {
    let mut cargo = testbed::cargo();
    cargo
        .args(["test", "--quiet", "--lib", "--package", package, "--profile", "fuzz"])
        // With a target, build scripts and macros are not watched.
        .args(["--target", &host()?, "--target-dir"])
        .arg(root().join("target/fuzz"))
        .args(["--", "fuzz::", "--nocapture"])
        .env("RUSTFLAGS", WATCHED.join(" "))
        .env("CARGO_BOLERO_SELECT", "all");
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(Error::Build(package.to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
}

/// The target triple of this machine.
fn host() -> Result<String, Error> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(ToOwned::to_owned)
        .ok_or_else(|| std::io::Error::other("rustc does not say what machine this is").into())
}

// === impl Target ===

impl Target {
    /// What was found before is tried first, and what is found is kept beside it.
    fn fuzz(&self, seconds: u32) -> Result<(), Error> {
        eprintln!("xtask: fuzzing {} {}", self.package_name, self.test_name);
        let (corpus, crashes) = (self.work_dir.join("corpus"), self.work_dir.join("crashes"));
        for folder in [&corpus, &crashes] {
            fs::create_dir_all(folder)?;
        }
        let (corpus, kept) = (corpus.display(), crashes.display());
        let args = format!(
            "{corpus} {kept} -artifact_prefix={kept}/ -timeout={INPUT_SECONDS} -max_total_time={seconds} -verbosity=0 -print_final_stats=1"
        );
        let status = Command::new(&self.exe)
            .args([
                &self.test_name,
                "--exact",
                "--nocapture",
                "--quiet",
                "--test-threads",
                "1",
            ])
            .env("BOLERO_FUZZER", "libfuzzer")
            .env("BOLERO_TEST_NAME", &self.test_name)
            .env("BOLERO_LIBTEST_HARNESS", "1")
            .env("BOLERO_LIBFUZZER_ARGS", args)
            .stdin(Stdio::null())
            .status()?;
        if status.success() {
            // An empty folder only says that nothing failed.
            let _ = fs::remove_dir(&crashes);
            return Ok(());
        }
        Err(Error::Failed {
            package: self.package_name.clone(),
            name: self.test_name.clone(),
            crashes,
        })
    }
}
