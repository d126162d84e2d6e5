//! `tka cluster-info`, `tka get cluster-info`

use std::process::ExitCode;

use crate::app::App;
use crate::error::Error;
use crate::view;

/// Show how to reach the cluster
///
/// The API server's address, how its certificate is verified, and the cluster's labels. Needs no session, but a rule that reaches
/// you.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {}

pub(crate) fn run(app: &App) -> Result<ExitCode, Error> {
    let info = app.client()?.cluster_info()?;
    app.ui
        .show(&view::cluster_info(&info, app.config.long, &app.ui.palette))?;
    Ok(ExitCode::SUCCESS)
}
