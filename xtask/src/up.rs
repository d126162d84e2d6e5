//! `cargo xtask up`.

use std::path::PathBuf;

use clap::Args;
use testbed::{NodeOptions, Options, Part, Testbed, quote_path};

use crate::{Dir, Outcome, image::Images};

/// Arguments of `up`.
#[derive(Debug, Args)]
pub(crate) struct Up {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// Run this server instead of building one.
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// With a real Kubernetes node, on which the server runs as the Helm chart installs it. Needs root.
    #[arg(long)]
    node: bool,
}

impl Up {
    pub(crate) fn run(self) -> Outcome {
        // First: a missing Go is reported at once.
        testbed::prepare(if self.node { Part::KubernetesNode } else { Part::Core })?;
        let dir = self.dir.path();
        let mut options;
        if let Some(server) = self.server {
            options = Options::new(dir, server.canonicalize().unwrap_or(server));
        } else {
            let own = testbed::build_own_programs()?;
            options = Options::new(dir, own.server);
            options.cli_program = Some(own.cli);
        }
        if self.node {
            options.node = Some(node()?);
        }
        let testbed = Testbed::up(&options)?;
        println!("source {}", quote_path(testbed.env_file()));
        Ok(())
    }
}

/// What a node runs: this package's own program, and the images of this project.
pub(crate) fn node() -> Outcome<NodeOptions> {
    let images = Images::of_testbed().build()?;
    let server = images.first().ok_or("no image was built")?;
    Ok(NodeOptions {
        sandbox_program: testbed::build_sandbox_program()?,
        server_image: (server.repository.clone(), server.tag.clone()),
        images: images.into_iter().map(|image| image.file).collect(),
    })
}
