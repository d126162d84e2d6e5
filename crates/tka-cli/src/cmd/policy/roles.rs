//! `tka policy roles`

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::Error;
use crate::exit::Exit;
use crate::policy::roles::Origin;
use crate::report::policy::Roles;
use crate::terminal::output::{Output, OutputMode};

/// Show what roles can really do
///
/// Reads each ClusterRole of a cluster with kubectl, as the user that its context has. Warns of rights from which more follows than they
/// say: reading Secrets, running pods, binding roles and others. Each has a sentence and a source. The server logs the same for the roles
/// that it may bind.
///
///   tka policy roles view edit
///   kubectl get clusterroles -o json | tka policy roles -f -
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(super) struct Arguments {
    /// Only these; all by default
    role: Vec<String>,

    /// Read them from a file as `kubectl get clusterroles -o json` prints it; `-` is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "context")]
    file: Option<PathBuf>,

    /// kubectl's context, if not the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,

    /// The minor version of Kubernetes, as 35; asked for with kubectl by default
    #[arg(long, value_name = "MINOR")]
    kubernetes: Option<u32>,

    /// Fail if more follows from one of them
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    output: Output,
}

// === impl Arguments ===

impl Arguments {
    pub(super) fn run(&self, mode: OutputMode) -> Result<ExitCode, Error> {
        let context = self.context.as_deref();
        let origin = self.file.as_deref().map_or(Origin::Kubectl { context }, Origin::File);
        let items = origin.risks(&self.role, self.kubernetes)?;
        let is_risky = items.iter().any(|role| !role.escalations.is_empty());
        self.output.print(mode, &Roles { items })?;
        Ok(if self.strict && is_risky {
            Exit::PolicyWrong
        } else {
            Exit::Ok
        }
        .into())
    }
}
