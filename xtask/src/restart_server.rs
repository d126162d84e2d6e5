//! `cargo xtask restart-server`.

use clap::Args;
use testbed::Testbed;

use crate::{Dir, Outcome};

/// Arguments of `restart-server`.
#[derive(Debug, Args)]
pub(crate) struct RestartServer {
    #[command(flatten)]
    pub(crate) dir: Dir,
}

impl RestartServer {
    pub(crate) fn run(self) -> Outcome {
        let testbed = Testbed::open(&self.dir.path())?;
        let server = testbed.main_server()?;
        server.stop()?;
        server.start()?;
        testbed.write_env()?;
        Ok(())
    }
}
