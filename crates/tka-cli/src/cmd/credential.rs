//! `tka credential`

use std::process::ExitCode;

use tka_api::exec;

use crate::app::{self, App};
use crate::args::Global;
use crate::credential;
use crate::error::Error;
use crate::flow;

/// Where client-go says what it wants (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#input-and-output-formats>).
const EXEC_INFO: &str = "KUBERNETES_EXEC_INFO";

/// Print a credential of a session, for kubectl to ask for
///
/// An exec plugin for kubectl and other programs that read kubeconfigs (client.authentication.k8s.io/v1): the kubeconfigs that
/// `tka login` writes call it. Keeps credentials in memory, in a folder of your own, and asks the server shortly before their end.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Name of the session, as `tka sessions` shows it
    #[arg(long, value_name = "NAME")]
    session: String,
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    check_version()?;
    // Settings are not read where they are not needed: kubectl waits.
    let server = app::server(flags)?;
    credential::hand_out(&server, &arguments.session, || {
        Ok(flow::fetch_credential(&App::new(flags)?.client()?, &arguments.session)?)
    })
}

/// Refuses to answer what was not asked.
fn check_version() -> Result<(), Error> {
    let Some(info) = app::variable(EXEC_INFO) else {
        return Ok(());
    };
    let info: serde_json::Value = serde_json::from_str(&info).unwrap_or_default();
    match info["apiVersion"].as_str() {
        None | Some(exec::API_VERSION) => Ok(()),
        Some(other) => Err(Error::ExecVersion(other.to_owned())),
    }
}
