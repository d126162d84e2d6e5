//! `cargo xtask faults`: a server is cut off at every single request that it makes of the API server.

use std::{path::PathBuf, process::Stdio};

use clap::Args;

use crate::Outcome;

/// Arguments of `faults`.
#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// Write what was found into this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Why there is nothing to be glad of.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Something was leaked or lost, or could not be looked at.
    #[error("not all was as it should be after each fault; see above")]
    Found,
    /// Cargo could not be run.
    #[error("cargo cannot be run")]
    Io(#[from] std::io::Error),
}

impl Faults {
    pub(crate) fn run(self) -> Outcome {
        // First: a missing Go is reported at once.
        testbed::prepare(testbed::Part::Core)?;
        let mut cargo = testbed::cargo();
        // It is a program of the tests': it needs an HTTP client and a TLS server, and what else is typed does not.
        cargo.args(["run", "--quiet", "--package", "e2e", "--bin", "faults", "--"]);
        if let Some(file) = self.json {
            cargo.arg("--json").arg(std::path::absolute(file)?);
        }
        let status = cargo.stdin(Stdio::null()).status().map_err(Error::from)?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Found.into())
        }
    }
}
