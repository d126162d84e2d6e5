//! `tka get …`

use std::process::ExitCode;

use super::{cluster_info, config, kubeconfig};
use crate::config::flags::Global;
use crate::context::CommandContext;
use crate::error::Error;
use crate::report::session::SessionReport;
use crate::session::notices;
use crate::terminal::output::Output;

/// Show your session, a kubeconfig, the cluster or settings
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Login(Login),
    Kubeconfig(kubeconfig::Arguments),
    ClusterInfo(cluster_info::Arguments),
    Config(config::Get),
}

/// Show your session: user, role and end
///
/// Changes nothing. The exit status is 3 if you are not signed in; --quiet prints nothing else.
#[derive(clap::Args, Debug)]
#[command(visible_alias = "signin")]
struct Login {
    #[command(flatten)]
    output: Output,
}

impl Arguments {
    /// Whether it prints a line for a shell to evaluate.
    pub(crate) fn prints_shell_code(&self) -> bool {
        matches!(&self.action, Action::Kubeconfig(arguments) if arguments.prints_shell_code())
    }
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    let ctx = || notices::command_context(flags);
    match &arguments.action {
        Action::Login(arguments) => show_session(&ctx()?, arguments.output),
        Action::Kubeconfig(arguments) => kubeconfig::run(&ctx()?, arguments),
        Action::ClusterInfo(arguments) => cluster_info::run(&ctx()?, arguments),
        Action::Config(arguments) => config::get(flags, arguments),
    }
}

fn show_session(ctx: &CommandContext, output: Output) -> Result<ExitCode, Error> {
    let client = ctx.client()?;
    let session = client.session()?;
    let report = SessionReport {
        login: session.login,
        provisioned: session.provisioned,
        server: client.server().to_string(),
        kubeconfig: ctx.kubeconfig().map(|path| path.display().to_string()),
    };
    let until = report.login.until;
    output.print_one(ctx.config.output_mode(), &report)?;
    notices::warn_clock_skew(ctx, client.skew(), Some(until));
    Ok(ExitCode::SUCCESS)
}
