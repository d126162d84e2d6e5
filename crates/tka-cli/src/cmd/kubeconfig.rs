//! `tka kubeconfig`, `tka get kubeconfig`

use std::process::ExitCode;

use crate::app::App;
use crate::error::Error;
use crate::flow;

/// Fetch a kubeconfig with a fresh credential of your session
///
/// Replaces `~/.kube/tka/HOST_PORT.yaml` and prints the line that makes kubectl use it. Needs a session: see `tka login`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {}

pub(crate) fn run(app: &App) -> Result<ExitCode, Error> {
    flow::fetch_kubeconfig(app)?;
    app.hand_over()?;
    Ok(ExitCode::SUCCESS)
}
