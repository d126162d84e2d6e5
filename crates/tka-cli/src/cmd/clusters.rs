//! `tka clusters`, `tka clusters use`

use std::path::Path;
use std::process::ExitCode;

use clap_complete::ArgValueCandidates;

use super::config::note_overridden;
use crate::cmd::complete;
use crate::config::edit::{self, Change};
use crate::config::flags::Global;
use crate::config::{Config, ConfigError};
use crate::context::CommandContext;
use crate::discovery::clusters::{Cluster, State};
use crate::discovery::{LIMIT, Search, TailnetUnavailable};
use crate::error::Error;
use crate::exit::Exit;
use crate::kubeconfig::store::KubeconfigStore;
use crate::net::server::Server;
use crate::session::persist;
use crate::session::sign_in;
use crate::sys::environment;
use crate::terminal::messages;
use crate::terminal::output::Output;
use crate::terminal::ui::Ui;

/// Show the clusters that you could reach, or choose one
///
/// Looks for TKA servers: the nodes of the tailnet with their tag (the setting `tailscale.tag`), those that you signed in to from this
/// device, and the one that is set. Asks them side by side, three seconds at most, what cluster they lead to and what you could get there.
/// The one that commands talk to is marked with `*`.
///
/// Nodes do not say at which port a server listens: it is looked for at the port that is set and at 443. A node with the tag where
/// something else answers is shown with --long. The exit status is 5 when no server answers.
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

/// Make a cluster the one that commands talk to
///
/// Writes its server to the configuration file that is in use, or to a new one. Where you have a kubeconfig for it, the line is printed that makes
/// kubectl use it; where its context is in your own kubeconfig, that becomes the current one.
#[derive(clap::Args, Debug)]
struct Use {
    /// Its name as `tka clusters` shows it, or its server's full name
    #[arg(add = ArgValueCandidates::new(complete::clusters))]
    name: String,
}

impl Arguments {
    /// Whether it prints a line for a shell to evaluate.
    pub(crate) fn is_evaluated(&self) -> bool {
        matches!(self.action, Some(Action::Use(_)))
    }
}

pub(crate) fn run(flags: &Global, arguments: &Arguments) -> Result<ExitCode, Error> {
    let ctx = CommandContext::new(flags)?;
    match &arguments.action {
        None => list(&ctx, arguments.output),
        Some(Action::Use(choice)) => choose(&ctx, flags, &choice.name),
    }
}

fn list(ctx: &CommandContext, output: Output) -> Result<ExitCode, Error> {
    let spinner = ctx.ui.spinner("asking");
    let search = search(ctx);
    let clusters = search.ask(&|server| ctx.discovery_client(server), ctx.config.long);
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

/// Says that there may be more.
fn note_tailnet_unavailable(ctx: &CommandContext, why: Option<&TailnetUnavailable>) {
    let Some(why) = why else { return };
    let (what, fix) = match why {
        TailnetUnavailable::StatusFailed(error) => (error.to_string(), error.advice()),
        TailnetUnavailable::Offline => (
            "this device is not on the tailnet".to_owned(),
            "connect it with `tailscale up`".to_owned(),
        ),
    };
    let text = format!("servers that this device does not know already were not looked for: {what}; {fix}");
    ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
}

fn choose(ctx: &CommandContext, flags: &Global, name: &str) -> Result<ExitCode, Error> {
    let spinner = ctx.ui.spinner("asking");
    let search = search(ctx);
    let chosen = search.choose(&|server| ctx.discovery_client(server), name);
    drop(spinner);
    if chosen.is_err() {
        note_tailnet_unavailable(ctx, search.tailnet_unavailable.as_ref());
    }
    let cluster = chosen?;
    warn_no_answer(&cluster, &ctx.ui);
    let target = CommandContext::without_notice(&Global {
        server: Some(cluster.server.clone()),
        // Of the URL, if that has none.
        port: Some(cluster.address.port()),
        ..flags.clone()
    })?;
    if target.kubeconfig().is_some() {
        // Before anything changes.
        target.check_export(None)?;
    }
    let path = edit::target(flags, environment::home().as_deref(), &environment::variable, true)?;
    let changes = changes(&path, &cluster.address)?;
    edit::apply(&path, &changes)?;
    let file = path.display().to_string();
    let text = format!("commands talk to {} now, by {file}", cluster.server);
    ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
    for change in &changes {
        note_overridden(&written(flags, &path), change.key(), &file, &ctx.ui)?;
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

/// What makes `server` the default of the file at `path`: the host, and the port where it differs.
fn changes(path: &Path, server: &Server) -> Result<Vec<Change>, ConfigError> {
    let port = server.port();
    let is_plain = |host: &str| Server::new(host, port, None).is_ok_and(|read| read == *server);
    let host = Some(server.host()).filter(|host| is_plain(host));
    let host = host.map_or_else(|| server.to_string(), ToOwned::to_owned);
    let mut changes = vec![Change::new("tailscale.hostname", &host)?];
    let alone = Global {
        config: Some(path.to_owned()),
        ..Global::default()
    };
    let exists = path.exists();
    let before = if exists {
        Config::load(&alone, None, &|_| None)?.port
    } else {
        crate::net::server::HTTPS_PORT
    };
    if before != port {
        changes.push(Change::new("tailscale.port", &port.to_string())?);
    }
    Ok(changes)
}

fn written(flags: &Global, path: &Path) -> Global {
    Global {
        config: Some(path.to_owned()),
        ..flags.clone()
    }
}

/// Lets kubectl use the context that there is, if there is one: in the user's kubeconfig, if it was merged into that.
fn export_kubeconfig(target: &CommandContext) -> Result<ExitCode, Error> {
    if let Some(persisted) = persist::switch_current(target)? {
        sign_in::note_merge(target, &persisted);
        target.export_kubeconfig(persisted.merged.as_ref())?;
    } else if target.kubeconfig().is_some() {
        target.export_kubeconfig(None)?;
    } else {
        target
            .ui
            .notify(&messages::note("sign in there with `tka login`", &target.ui.palette));
    }
    Ok(ExitCode::SUCCESS)
}
