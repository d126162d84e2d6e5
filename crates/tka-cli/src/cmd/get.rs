//! `tka get …`

use std::process::ExitCode;

use super::{cluster_info, kubeconfig};
use crate::app::App;
use crate::error::Error;
use crate::flow;

/// Show something that the server knows
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Show who you are signed in as, with which role and until when
    ///
    /// Changes nothing. The exit status is 3 when you are not signed in; --quiet leaves it at that.
    #[command(visible_alias = "signin")]
    Login,
    Kubeconfig(kubeconfig::Arguments),
    ClusterInfo(cluster_info::Arguments),
}

pub(crate) fn run(app: &App, arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.what {
        What::Login => flow::show_session(app).map(|()| ExitCode::SUCCESS),
        What::Kubeconfig(_) => kubeconfig::run(app),
        What::ClusterInfo(_) => cluster_info::run(app),
    }
}
