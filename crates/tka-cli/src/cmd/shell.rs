//! `tka shell`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::api::access::AccessRequest;
use crate::config::flags::Global;
use crate::error::Error;
use crate::session::ephemeral::{self, Program};
use crate::session::first_sign_in;
use crate::session::kubeconfig_options::CredentialOptions;

/// Start a shell with a session of its own, which ends with it
///
/// Signs in, starts your shell (SHELL) with KUBECONFIG set, ends the session when you leave it, and returns the shell's exit status. Your
/// other sessions are not affected, and nothing stays on this device.
///
/// Prompts and scripts find the session's name, role and end in `TKA_SESSION`, `TKA_ROLE` and `TKA_UNTIL`, and the server in
/// `TKA_SERVER`.
///
///   tka shell --rule oncall -c 'kubectl get pods | wc -l'
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Run this command line instead of an interactive shell; `-c` means the same here, so --config has no short form
    #[arg(long, value_name = "LINE")]
    command: Option<OsString>,

    #[command(flatten)]
    credential: CredentialOptions,

    #[command(flatten)]
    access: AccessRequest,
}

pub(crate) fn run(flags: &Global, arguments: Arguments) -> Result<ExitCode, Error> {
    let program = arguments.command.map_or(Program::Shell, Program::Line);
    let server = first_sign_in::choose(flags)?;
    ephemeral::run(&server.ctx, &arguments.access, arguments.credential.form(), &program)
}
