//! `tka exec`

use std::ffi::OsString;
use std::process::ExitCode;

use crate::api::access::AccessRequest;
use crate::config::flags::Global;
use crate::error::Error;
use crate::session::ephemeral::{self, Program};
use crate::session::first_sign_in;
use crate::session::kubeconfig_options::CredentialOptions;

/// Run a command with a session of its own, which ends with it
///
/// Signs in, runs the command with KUBECONFIG set, ends the session, and returns the command's exit status. Your other sessions are not
/// affected, and nothing stays on this device.
///
///   tka exec --role view kubectl get pods -o wide
///
/// The first word that is no option begins the command, and all that follows belongs to it. `--` in front of it does the same.
///
/// The command finds the session's name, role and end in `TKA_SESSION`, `TKA_ROLE` and `TKA_UNTIL`, and the server in
/// `TKA_SERVER`.
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// The command and its arguments; options of `tka` come before it
    #[arg(trailing_var_arg = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,

    #[command(flatten)]
    credential: CredentialOptions,

    #[command(flatten)]
    access: AccessRequest,
}

pub(crate) fn run(flags: &Global, arguments: Arguments) -> Result<ExitCode, Error> {
    let server = first_sign_in::choose(flags)?;
    ephemeral::run(
        &server.ctx,
        &arguments.access,
        arguments.credential.form(),
        &Program::Command(arguments.command),
    )
}
