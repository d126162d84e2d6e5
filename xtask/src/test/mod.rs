//! `cargo xtask test`: everything that can be tested here, and the counts; as often as is asked for.

mod load;
mod named;
mod older;
mod repeat;
mod table;
mod tier;

use std::{num::NonZeroU32, path::PathBuf, time::Instant};

use clap::Args;

use self::{
    repeat::Plan,
    tier::{Counts, Ran, Tier},
};
use crate::Outcome;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Run only the end-to-end tests with this in their names, on a testbed in target/e2e that stays up for the next time; `cargo xtask down
    /// --dir target/e2e` takes it down
    #[arg(value_name = "NAME", conflicts_with = "repeat")]
    name: Option<String>,
    /// Run the end-to-end tests with this minor version of Kubernetes instead of the testbed's own: 1.30, 1.33 or 1.37. The first run builds
    /// it; the tests with a name have a testbed in target/e2e-VERSION
    #[arg(long, value_name = "VERSION", conflicts_with = "repeat")]
    kubernetes: Option<String>,
    /// Run only the tests in which an older server and this one serve the same namespace; the first run builds the server of that commit
    #[arg(long, value_name = "COMMIT", num_args = 0..=1, default_missing_value = testbed::BEFORE_SERVER, conflicts_with_all = ["name", "kubernetes", "repeat"])]
    older: Option<String>,
    /// Run the suite so often at this commit, every second time while other programs keep all cores busy, and say which
    /// tests failed how often. Runs that the table already has count, so that this goes on where it was interrupted.
    #[arg(long, value_name = "N")]
    repeat: Option<NonZeroU32>,
    /// The table of runs, a line each [default: target/test-runs.tsv]
    #[arg(long, value_name = "FILE", requires = "repeat")]
    table: Option<PathBuf>,
}

/// Why the tests did not pass.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Some failed, or did not build.
    #[error("the {0} tests did not pass; they said why above")]
    Failed(&'static str),
    /// Cargo said that all is well, and no test ran.
    #[error("no {0} test ran")]
    Nothing(&'static str),
}

impl Test {
    pub(crate) fn run(self) -> Outcome {
        if let Some(version) = self.kubernetes {
            return on_kubernetes(&version, self.name.as_deref());
        }
        // The first tier needs no Go; a missing one is told before it runs and not after.
        testbed::prepare(testbed::Part::Core)?;
        if let Some(commit) = self.older {
            return older::run(&commit);
        }
        match (self.name, self.repeat) {
            (Some(name), _) => named::run(&name, None),
            (None, Some(count)) => Plan::new(count, self.table)?.carry_out(),
            (None, None) => once(),
        }
    }
}

/// Runs the end-to-end tests with another version of Kubernetes: what needs no testbed does not depend on it.
fn on_kubernetes(version: &str, name: Option<&str>) -> Outcome {
    testbed::check_kubernetes_version(version)?;
    if let Some(name) = name {
        return named::run(name, Some(version));
    }
    let start = Instant::now();
    let ran = Tier::EndToEnd.run_on(version)?;
    check(Tier::EndToEnd, &ran)?;
    let seconds = start.elapsed().as_secs();
    println!(
        "Kubernetes {version}: {} passed, {} failed, {} ignored, in {seconds} s",
        ran.counts.passed, ran.counts.failed, ran.counts.ignored
    );
    Ok(())
}

/// Runs the tiers one after the other, and stops at the first that fails.
fn once() -> Outcome {
    let start = Instant::now();
    let mut all = Counts::default();
    for tier in Tier::ALL {
        let ran = tier.run()?;
        check(tier, &ran)?;
        println!("{} tests: {} passed", tier.name(), ran.counts.passed);
        all += ran.counts;
    }
    let seconds = start.elapsed().as_secs();
    println!("all: {} passed, {} ignored, in {seconds} s", all.passed, all.ignored);
    Ok(())
}

/// Fails unless tests of the tier ran and all passed.
fn check(tier: Tier, ran: &Ran) -> Result<(), Error> {
    match ran {
        Ran { passed: false, .. } => Err(Error::Failed(tier.name())),
        Ran { counts, .. } if counts.passed == 0 => Err(Error::Nothing(tier.name())),
        Ran { .. } => Ok(()),
    }
}
