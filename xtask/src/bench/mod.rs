//! `cargo xtask bench`: speed, size and scale, measured.

mod cli;
mod documented;
mod home;
mod limits;
mod measure;
mod measurement;
pub(crate) mod resident;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use self::measurement::{Measurement, Passed};
use crate::Outcome;

/// Arguments of `bench`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    /// One measurement; without it all run, one after another.
    #[command(subcommand)]
    what: Option<What>,

    /// Hold what does not wobble to the limits in `xtask/bench-limits.json`: requests to the API server, and instructions. It never looks at times.
    #[arg(long)]
    check: bool,

    /// Put what was measured last into docs/performance.md; with no measurement named, all are made first.
    #[arg(long, conflicts_with = "check")]
    docs: bool,

    /// With `--docs`: make none anew.
    #[arg(long, requires = "docs")]
    as_measured: bool,

    #[command(flatten)]
    passed: Passed,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The command `tka`: how large it is, how long it takes to start, and how much memory.
    Cli(Options),
    /// A sign-in and a sign-out over the tailnet, against the least that the API server takes for them.
    Login(Passed),
    /// How many requests a server answers, against a bare handler that asks the same WhoIs.
    Server(Passed),
    /// How time and memory grow with the number of sessions.
    Scale(Passed),
    /// The cluster's API over the tailnet, against other ways to it.
    Gateway(Passed),
    /// What TKA costs the cluster, in requests to the API server.
    Cost(Passed),
}

/// How to measure.
#[derive(Debug, Args)]
struct Options {
    /// How often each command is run.
    #[arg(long, default_value_t = RUNS, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Write the figures into this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How often each command is run unless it is said.
const RUNS: u32 = 300;

impl Bench {
    pub(crate) fn run(self) -> Outcome {
        match self.what {
            None if self.check => limits::check(&self.passed),
            None if self.docs => {
                if !self.as_measured {
                    all(&self.passed)?;
                }
                documented::write()
            }
            None => all(&self.passed),
            Some(What::Cli(options)) => cli::run(&options),
            Some(What::Login(passed)) => measurement::run(Measurement::Login, &passed),
            Some(What::Server(passed)) => measurement::run(Measurement::Server, &passed),
            Some(What::Scale(passed)) => measurement::run(Measurement::Scale, &passed),
            Some(What::Gateway(passed)) => measurement::run(Measurement::Gateway, &passed),
            Some(What::Cost(passed)) => measurement::run(Measurement::Cost, &passed),
        }
    }
}

/// Every measurement, each with its defaults. Those that follow one that fails are made all the same.
fn all(passed: &Passed) -> Outcome {
    if passed.has_options() {
        return Err(
            "options are those of one measurement: name it, as in `cargo xtask bench scale -- --sessions 10`".into(),
        );
    }
    let json = crate::root().join("target/bench/cli.json");
    let cli = cli::run(&Options {
        runs: RUNS,
        json: Some(json),
    });
    let others = Measurement::ALL.map(|measurement| measurement::run(measurement, passed));
    std::iter::once(cli)
        .chain(others)
        .collect::<Outcome<Vec<()>>>()
        .map(drop)
}
