//! `tka exec`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::api::access::Access;
use crate::context::CommandContext;
use crate::error::Error;
use crate::kubeconfig::server_kubeconfig::CredentialForm;
use crate::session::ephemeral::{self, Program};

/// Run a command with a session of its own, which ends with it
///
/// Signs in, runs the command with KUBECONFIG set, ends the session, and returns the command's exit status. Your other sessions are not
/// affected, and nothing stays on this device.
///
///   tka exec --role view -- kubectl get pods
///
/// The command finds the session's name, role and end in `TKA_SESSION`, `TKA_ROLE` and `TKA_UNTIL`, and the server in
/// `TKA_SERVER`.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    /// Put a token into the kubeconfig, for programs that cannot run a plugin; it ends before the session may
    #[arg(long)]
    token: bool,

    #[command(flatten)]
    access: Access,
}

pub(crate) fn run(ctx: &CommandContext, arguments: Arguments) -> Result<ExitCode, Error> {
    ephemeral::run(
        ctx,
        &arguments.access,
        CredentialForm::new(arguments.token),
        &Program::Command(arguments.command),
    )
}
