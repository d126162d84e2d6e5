//! `tka get …`

use std::process::ExitCode;

use super::{cluster_info, config, kubeconfig};
use crate::app::App;
use crate::args::Global;
use crate::error::Error;
use crate::flow;

/// Show something that the server or this machine knows
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
    Config(config::Get),
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    let app = || App::new(flags);
    match &arguments.what {
        What::Login => flow::show_session(&app()?).map(|()| ExitCode::SUCCESS),
        What::Kubeconfig(arguments) => kubeconfig::run(&app()?, arguments),
        What::ClusterInfo(_) => cluster_info::run(&app()?),
        What::Config(arguments) => config::get(flags, arguments),
    }
}
