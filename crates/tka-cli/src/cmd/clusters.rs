//! `tka clusters`, `tka clusters use`

use std::path::Path;
use std::process::ExitCode;

use clap_complete::ArgValueCandidates;

use super::config::note_overridden;
use crate::cmd::complete;
use crate::config::flags::Global;
use crate::config::{default_server, edit};
use crate::context::CommandContext;
use crate::discovery::clusters::{Cluster, State};
use crate::discovery::{LIMIT, Search, TailnetUnavailable};
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::store::KubeconfigStore;
use crate::session::{export, notices, persist, sign_in};
use crate::sys::environment;
use crate::terminal::messages;
use crate::terminal::output::Output;
use crate::terminal::ui::Ui;

/// Show the clusters that you could reach, or select one
///
/// Looks for TKA servers: the default one, those of earlier sign-ins, and the nodes with the tag (the setting `tailscale.tag`). Asks them
/// in parallel, for three seconds at most, for their cluster and the rules that reach you. The default is marked with `*`.
///
/// Nodes do not report their ports, so the configured port, 443, 80 and 8080 are tried. A tagged node with another service is shown with --long. The
/// exit status is 5 if no server responds.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    Use(Use),
}

/// Make a cluster the default of commands
///
/// Writes its server to the configuration file, or to a new one. If you have a kubeconfig for it, prints the line that makes kubectl use
/// it. If its context was merged into your own kubeconfig, makes it current there.
#[derive(clap::Args, Debug)]
struct Use {
    /// Its name as `tka clusters` shows it, or its server's full name
    #[arg(add = ArgValueCandidates::new(complete::clusters))]
    name: String,
}

impl Arguments {
    /// Whether it prints a line for a shell to evaluate.
    pub(crate) fn prints_shell_code(&self) -> bool {
        matches!(self.action, Some(Action::Use(_)))
    }
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    let ctx = notices::command_context(flags)?;
    match &arguments.action {
        None => list(&ctx, arguments.output),
        Some(Action::Use(choice)) => choose(&ctx, flags, &choice.name),
    }
}

fn list(ctx: &CommandContext, output: Output) -> Result<ExitCode, Error> {
    let spinner = ctx.ui.spinner("querying servers");
    let search = search(ctx);
    let clusters = search.query(&ctx.discovery_clients(), ctx.config.long);
    drop(spinner);
    if output.print(ctx.config.output_mode(), &clusters)? {
        note_tailnet_unavailable(ctx, search.tailnet_unavailable.as_ref());
    }
    let exit = if clusters.any_answers() {
        Exit::Ok
    } else {
        Exit::Unreachable
    };
    Ok(exit.into())
}

fn search(ctx: &CommandContext) -> Search {
    Search::new(
        &ctx.config,
        ctx.server(),
        ctx.store().ok().map(KubeconfigStore::folder),
        LIMIT,
    )
}

/// Notes that there may be more clusters.
fn note_tailnet_unavailable(ctx: &CommandContext, why: Option<&TailnetUnavailable>) {
    let Some(why) = why else { return };
    let (what, fix) = match why {
        TailnetUnavailable::StatusFailed(error) => (error.to_string(), error.advice()),
        TailnetUnavailable::Offline => (
            "this device is not on the tailnet".to_owned(),
            "connect it with `tailscale up`".to_owned(),
        ),
    };
    let text = format!("only servers known to this device were searched: {what}; {fix}");
    ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
}

fn choose(ctx: &CommandContext, flags: &Global, name: &str) -> Result<ExitCode, Error> {
    let spinner = ctx.ui.spinner("querying servers");
    let search = search(ctx);
    let chosen = search.choose(&ctx.discovery_clients(), name);
    drop(spinner);
    if chosen.is_err() {
        note_tailnet_unavailable(ctx, search.tailnet_unavailable.as_ref());
    }
    let cluster = chosen?;
    warn_no_answer(&cluster, &ctx.ui);
    let target = CommandContext::new(&Global {
        server: Some(cluster.server.clone()),
        // The port, in case the URL has none.
        port: Some(cluster.address.port()),
        ..flags.clone()
    })?;
    if target.kubeconfig().is_some() {
        // Checked before any change.
        export::check(&target, None)?;
    }
    let path = edit::target(flags, environment::home().as_deref(), &environment::variable, true)?;
    let changes = default_server::changes(&path, &cluster.address)?;
    edit::apply(&path, &changes)?;
    let file = path.display().to_string();
    let text = format!("commands use {} now, set in {file}", cluster.server);
    ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
    for change in &changes {
        note_overridden(&with_config_file(flags, &path), change.key(), &file, &ctx.ui)?;
    }
    export_kubeconfig(&target)
}

fn warn_no_answer(cluster: &Cluster, ui: &Ui) {
    if cluster.state != State::Answers {
        let why = cluster.problem.as_deref().unwrap_or_default();
        let text = format!("no TKA server answers at {} now: {why}", cluster.server);
        ui.notify(&messages::warning(&text, &ui.palette));
    }
}

fn with_config_file(flags: &Global, path: &Path) -> Global {
    Global {
        config: Some(path.to_owned()),
        ..flags.clone()
    }
}

/// Makes kubectl use the server's context, if there is one: in the user's kubeconfig if it was merged.
fn export_kubeconfig(target: &CommandContext) -> Result<ExitCode, Error> {
    if let Some(persisted) = persist::switch_current(target)? {
        sign_in::note_merge(target, &persisted);
        export::export(target, persisted.merged.as_ref())?;
    } else if target.kubeconfig().is_some() {
        export::export(target, None)?;
    } else {
        target
            .ui
            .notify(&messages::note("sign in there with `tka login`", &target.ui.palette));
    }
    Ok(ExitCode::SUCCESS)
}
