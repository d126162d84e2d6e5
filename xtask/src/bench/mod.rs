//! `cargo xtask bench`: what is promised of size and speed, measured.

mod cli;
mod home;
mod measure;
pub(crate) mod resident;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::Outcome;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The command `tka`: how large it is, how long it takes to start, and how much memory.
    Cli(Options),
}

/// How to measure.
#[derive(Debug, Args)]
struct Options {
    /// How often each command is run.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,

    /// Write the figures into this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn run(self) -> Outcome {
        match self.what {
            What::Cli(options) => cli::run(&options),
        }
    }
}
