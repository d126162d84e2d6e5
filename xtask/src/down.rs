//! `cargo xtask down`.

use clap::Args;

use crate::{Dir, Outcome};

/// Arguments of `down`.
#[derive(Debug, Args)]
pub(crate) struct Down {
    #[command(flatten)]
    pub(crate) dir: Dir,
}

impl Down {
    pub(crate) fn run(self) -> Outcome {
        let dir = self.dir.path();
        let was_up = testbed::down(&dir)?;
        let said = if was_up { "is down" } else { "was not up" };
        eprintln!("xtask: the testbed in {} {said}", dir.display());
        Ok(())
    }
}
