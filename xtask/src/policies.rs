//! `cargo xtask policies`: what `tka policy who` says of generated policies, and what the server says while each is in force.

use clap::Args;

use crate::Outcome;

/// The end-to-end test that compares.
const TEST: &str = "alone::policy_who_and_the_server_do_not_disagree";

/// Arguments of `policies`.
#[derive(Debug, Args)]
pub(crate) struct Policies {
    /// How many policies are tried.
    #[arg(long, default_value_t = 1000)]
    count: u64,

    /// The number of the first; each policy is made of its number.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Why nothing is sure now.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// They disagree, or could not be asked.
    #[error("who and the server disagree, or could not be asked; it is said above")]
    Found,
    /// Cargo could not be run.
    #[error("cargo cannot be run")]
    Io(#[from] std::io::Error),
}

impl Policies {
    pub(crate) fn run(&self) -> Outcome {
        // First: a missing Go is reported at once.
        testbed::prepare(testbed::Part::Core)?;
        let status = testbed::cargo()
            .args([
                "test",
                "--quiet",
                "--package",
                "e2e",
                "--test",
                "e2e",
                "--",
                "--exact",
                TEST,
                "--nocapture",
            ])
            .env("TKA_E2E_POLICIES", self.count.to_string())
            .env("TKA_E2E_SEED", self.seed.to_string())
            .status()
            .map_err(Error::from)?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::Found.into())
        }
    }
}
