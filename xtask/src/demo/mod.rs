//! `cargo xtask demo`: the whole story, with the real `tka` and `kubectl`, on a testbed of its own.

mod committed;
mod oncall;
mod person;
mod pod;
mod receiver;
mod stage;
mod story;

use std::{fs, path::PathBuf};

use clap::Args;
use testbed::{Options, Part, Testbed};

use self::stage::Stage;
use crate::{Outcome, up};

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Write each step's name, outcome and milliseconds into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where the testbed lives while the story is told [default: target/demo]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// With a real Kubernetes node: a teammate opens a shell in a pod, and an overseer plays its recording. Needs root.
    #[arg(long)]
    node: bool,
}

/// The story was not as told.
#[derive(Debug, thiserror::Error)]
#[error("{failed} of {all} steps were not as told; the logs are in {}", logs.display())]
struct NotAsTold {
    failed: usize,
    all: usize,
    logs: PathBuf,
}

impl Demo {
    pub(crate) fn run(self) -> Outcome {
        // First: a missing Go is reported at once.
        testbed::prepare(if self.node { Part::KubernetesNode } else { Part::Core })?;
        let own = testbed::build_own_programs()?;
        let dir = self.dir.unwrap_or_else(|| crate::root().join("target/demo"));
        let node = self.node.then(up::node).transpose()?;
        // A testbed left by a story that was cut off would have its sessions still.
        testbed::down(&dir)?;

        let mut stage = Stage::default();
        let told = stage.step("a real cluster and a real tailnet start", || {
            let mut options = Options::new(&dir, own.server);
            options.cli_program = Some(own.cli);
            options.node = node;
            let testbed = Testbed::up(&options)?;
            let shown = format!("tka-server serves {}, in the namespace tka-dev", testbed.server_url()?);
            Ok((testbed, shown))
        });
        if let Some(testbed) = told {
            story::tell(&mut stage, &testbed);
        }
        stage.step("the testbed is taken down", || {
            Ok((testbed::down(&dir)?, String::new()))
        });

        if let Some(file) = self.json {
            fs::write(file, stage.json()?)?;
        }
        stage.conclude();
        let (failed, all) = stage.counts();
        if failed > 0 {
            return Err(NotAsTold {
                failed,
                all,
                logs: dir.join("logs"),
            }
            .into());
        }
        Ok(())
    }
}
