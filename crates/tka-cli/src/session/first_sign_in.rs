//! The server of a device without a setting: found on the tailnet, and remembered once a session began there.

use crate::config::flags::Global;
use crate::config::{default_server, edit};
use crate::context::CommandContext;
use crate::discovery::choice::{answered, choices, numbered};
use crate::discovery::clusters::Cluster;
use crate::discovery::{LIMIT, Search, SelectError};
use crate::error::Error;
use crate::kubeconfig::store::KubeconfigStore;
use crate::session::notices;
use crate::sys::environment::{home, variable};
use crate::terminal::output::RenderOptions;
use crate::terminal::{messages, ui};

/// How often a wrong answer is asked for again.
const ATTEMPTS: usize = 3;

/// The server to sign in at.
#[derive(Debug)]
pub(crate) struct ChosenServer {
    pub(crate) ctx: CommandContext,
    /// Whether it was found just now, and no setting names it.
    is_found: bool,
}

/// The server that a flag or setting names. Without one, the servers on the tailnet are asked: the only one is taken, and of several the user
/// chooses.
///
/// Only nodes with the servers' tag are asked, which only an administrator of the tailnet gives. They are asked what any caller may ask.
/// Without a tailscaled that tells them, the default server is taken.
pub(crate) fn choose(flags: &Global) -> Result<ChosenServer, Error> {
    let ctx = notices::command_context(flags)?;
    let named = |ctx| ChosenServer { ctx, is_found: false };
    if ctx.config.has_chosen_server {
        return Ok(named(ctx));
    }
    let folder = ctx.store().ok().map(KubeconfigStore::folder);
    let search = Search::new(&ctx.config, ctx.server(), folder, LIMIT);
    if !search.has_tagged_nodes() {
        return Ok(named(ctx));
    }
    let spinner = ctx.ui.spinner("looking for servers on the tailnet");
    let found = search.query_online(&ctx.discovery_clients());
    drop(spinner);
    let found = choices(found);
    let chosen = match found.as_slice() {
        [] => {
            let tag = ctx.config.tag.clone();
            return Err(SelectError::NoneFound { tag }.into());
        }
        [only] => only,
        several => ask(&ctx, several)?,
    };
    ctx.ui.debug(&format!("no server is set, found {}", chosen.server));
    let flags = Global {
        server: Some(chosen.server.clone()),
        // The port, in case the URL has none.
        port: Some(chosen.address.port()),
        ..flags.clone()
    };
    Ok(ChosenServer {
        ctx: CommandContext::new(&flags)?,
        is_found: true,
    })
}

/// Lets the user choose. Without a user the command fails: a guess might change the wrong cluster.
fn ask<'a>(ctx: &CommandContext, several: &'a [Cluster]) -> Result<&'a Cluster, Error> {
    let undecided = || {
        let found = several.iter().map(|one| one.server.clone()).collect();
        Error::from(SelectError::SeveralFound { found })
    };
    if !ui::is_interactive_terminal() {
        return Err(undecided());
    }
    ui::write_stderr(&numbered(several, &RenderOptions::for_stderr(&ctx.ui.palette)));
    for _ in 0..ATTEMPTS {
        let answer = ctx.prompt(&format!("which one? (1-{}, or its name)", several.len()));
        let answer = answer.ok_or_else(undecided)?;
        if let Some(chosen) = answered(several, &answer) {
            return Ok(chosen);
        }
    }
    Err(undecided())
}

// === impl ChosenServer ===

impl ChosenServer {
    /// Makes a server that was found the default of commands. The session stands if that fails.
    pub(crate) fn remember(&self, flags: &Global) {
        if !self.is_found {
            return;
        }
        let (ui, server) = (&self.ctx.ui, self.ctx.server());
        let remembered = edit::target(flags, home().as_deref(), &variable, false).and_then(|path| {
            edit::apply(&path, &default_server::changes(&path, server)?)?;
            Ok(path)
        });
        match remembered {
            Ok(path) => {
                let text = format!("commands use {server} from now on, set in {}", path.display());
                ui.notify(&messages::note(&text, &ui.palette));
            }
            Err(error) => {
                let text = format!("{server} could not be made the default: {error}; name it with --server");
                ui::write_stderr(&messages::warning(&text, &ui.palette));
            }
        }
    }
}
