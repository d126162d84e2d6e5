//! `tka login`

use std::process::ExitCode;

use crate::app::App;
use crate::error::Error;
use crate::flow;

/// Sign in and get a kubeconfig
///
/// Asks the server for access as the person this device is signed in to the tailnet as, writes a kubeconfig for it to
/// `~/.kube/tka/HOST_PORT.yaml`, and prints the line that makes kubectl use it:
///
///   eval "$(tka login)"
#[derive(clap::Args, Debug)]
#[command(visible_aliases = ["signin", "auth"], verbatim_doc_comment)]
pub(crate) struct Arguments {
    /// Start a shell that uses the kubeconfig, and sign out when it ends
    #[cfg(unix)]
    #[arg(long)]
    shell: bool,
}

pub(crate) fn run(app: &App, arguments: &Arguments) -> Result<ExitCode, Error> {
    flow::sign_in(app)?;
    #[cfg(unix)]
    if arguments.shell {
        return crate::subshell::run(app);
    }
    #[cfg(not(unix))]
    let _ = arguments;
    app.hand_over()?;
    Ok(ExitCode::SUCCESS)
}
