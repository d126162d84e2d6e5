//! `cargo xtask policy`.

use clap::Args;
use testbed::Testbed;

use crate::{Dir, Outcome};

/// Arguments of `policy`.
#[derive(Debug, Args)]
pub(crate) struct Policy {
    #[command(flatten)]
    pub(crate) dir: Dir,
}

impl Policy {
    pub(crate) fn run(self) -> Outcome {
        let testbed = Testbed::open(&self.dir.path())?;
        testbed.apply_policy()?;
        eprintln!("xtask: {} is in force", testbed.policy_file().display());
        Ok(())
    }
}
