//! `tka credential`

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use tka_api::exec;
use tka_core::{RoleName, RuleName};

use crate::api::access::{AccessRequest, parse_value};
use crate::config::flags::Global;
use crate::context;
use crate::error::Error;
use crate::session::credential::{self, PluginRequest};
use crate::sys::environment;

/// The request of client-go (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#input-and-output-formats>).
const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";

/// Print a credential of a session, as an exec plugin of kubectl
///
/// Works with kubectl and other programs that read kubeconfigs (client.authentication.k8s.io/v1). The kubeconfigs of `tka login`
/// call it. Caches credentials in memory, in a private folder, or in the system's keyring, and renews them shortly before their end. If the
/// session is over, it says how to sign in again. With the setting `credential.login` it signs in again itself, if a user is at the
/// terminal.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Name of the session, as `tka sessions` shows it
    #[arg(long, value_name = "NAME")]
    session: String,

    /// Rule that was selected at sign-in, for the advice on signing in again
    #[arg(long, value_name = "NAME", value_parser = parse_value::<RuleName>)]
    rule: Option<RuleName>,

    /// Role that was selected at sign-in
    #[arg(long, value_name = "ROLE", value_parser = parse_value::<RoleName>)]
    role: Option<RoleName>,
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    let info = environment::variable(EXEC_INFO);
    let interactive = is_interactive(info.as_deref())?;
    let request = PluginRequest {
        server: &context::server(flags)?,
        session: &arguments.session,
        access: &AccessRequest {
            rule: arguments.rule.clone(),
            role: arguments.role.clone(),
            ..AccessRequest::default()
        },
        by_program: info.is_some() || !io::stderr().is_terminal(),
        interactive,
        flags,
    };
    credential::print_credential(&request)
}

/// Whether kubectl says that a user can answer prompts. Refuses another version.
fn is_interactive(info: Option<&str>) -> Result<bool, Error> {
    let info: serde_json::Value = serde_json::from_str(info.unwrap_or_default()).unwrap_or_default();
    match info["apiVersion"].as_str() {
        None | Some(exec::API_VERSION) => Ok(info["spec"]["interactive"] == true),
        Some(other) => Err(Error::ExecVersion(other.to_owned())),
    }
}
