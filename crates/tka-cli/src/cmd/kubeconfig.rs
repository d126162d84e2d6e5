//! `tka kubeconfig`, `tka get kubeconfig`

use std::process::ExitCode;

use tka_core::RuleName;

use crate::api::access::parse_value;
use crate::context::CommandContext;
use crate::error::Error;
use crate::session::kubeconfig_options::KubeconfigOptions;
use crate::session::{committed, export, sign_in};
use crate::terminal::ui;

/// Write a kubeconfig for your session
///
/// Writes it to `~/.kube/tka/HOST_PORT.yaml` and prints the line that makes kubectl use it. Needs a session: see `tka login`.
///
/// Contexts of other sessions stay. If they call tka at a path without a program, that path is repaired.
///
/// With --static it prints a kubeconfig with the gateway's address and no credential, which a team can commit. It needs no session, and
/// writes nothing:
///
///   tka kubeconfig --static --rule oncall > kubeconfig.yaml
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub(crate) struct Arguments {
    #[command(flatten)]
    kubeconfig: KubeconfigOptions,

    /// Print a kubeconfig without a credential instead, for the gateway and for everyone
    #[arg(long = "static", id = "committed", conflicts_with_all = ["token", "via", "merge"])]
    committed: bool,

    /// Rule that the printed kubeconfig is for [default: the highest of each caller]
    #[arg(long, value_name = "NAME", requires = "committed", value_parser = parse_value::<RuleName>)]
    rule: Option<RuleName>,
}

impl Arguments {
    /// Whether it prints a line for a shell to evaluate.
    pub(crate) fn prints_shell_code(&self) -> bool {
        !self.committed
    }
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    if arguments.committed {
        let text = committed::text(ctx, arguments.rule.as_ref())?;
        ui::print(text.trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let persisted = sign_in::fetch_kubeconfig(ctx, arguments.kubeconfig.persist_options(ctx))?;
    export::export(ctx, persisted.merged.as_ref())?;
    Ok(ExitCode::SUCCESS)
}
