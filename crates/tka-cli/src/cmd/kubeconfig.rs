//! `tka kubeconfig`, `tka get kubeconfig`

use std::process::ExitCode;

use crate::app::App;
use crate::error::Error;
use crate::flow::{self, Form};

/// Write a kubeconfig for your session
///
/// Replaces `~/.kube/tka/HOST_PORT.yaml` and prints the line that makes kubectl use it. Needs a session: see `tka login`.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Put a token into it, for programs that cannot run a plugin; it ends before the session may
    #[arg(long)]
    token: bool,
}

pub(crate) fn run(app: &App, arguments: &Arguments) -> Result<ExitCode, Error> {
    flow::fetch_kubeconfig(app, Form::of(arguments.token))?;
    app.hand_over()?;
    Ok(ExitCode::SUCCESS)
}
