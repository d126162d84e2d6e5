//! `tka sessions …`

use std::process::ExitCode;

use clap_complete::ArgValueCandidates;
use tka_api::http::SessionList;

use crate::api::client::Client;
use crate::cmd::complete;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::report;
use crate::session::sign_out;
use crate::terminal::messages;
use crate::terminal::output::{Output, RenderOptions};

/// Show your sessions on all devices, or end some
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
    End(End),
}

/// End sessions: their access ends now
///
/// Ends these sessions, or all of yours, also on other devices. Removes their contexts from the kubeconfigs of this device. A session that
/// cannot be ended does not stop the others.
#[derive(clap::Args, Debug)]
struct End {
    /// Names, as `tka sessions` shows them
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    #[arg(add = ArgValueCandidates::new(complete::sessions))]
    names: Vec<String>,

    /// All your sessions
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.action {
        None => list(ctx, arguments.output),
        Some(Action::End(end)) => end_all(ctx, end),
    }
}

fn list(ctx: &CommandContext, output: Output) -> Result<ExitCode, Error> {
    let client = ctx.client()?;
    let sessions = client.sessions()?;
    ctx.warn_clock_skew(client.skew(), None);
    if output.print(ctx.config.output_mode(), &sessions)? && sessions.items.is_empty() {
        let text = "you have no session at this server: sign in with `tka login`";
        ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
    }
    Ok(ExitCode::SUCCESS)
}

fn end_all(ctx: &CommandContext, end: &End) -> Result<ExitCode, Error> {
    let client = ctx.client()?;
    let names = if end.all {
        names(&client.sessions()?)
    } else {
        end.names.clone()
    };
    if names.is_empty() {
        ctx.ui
            .notify(&messages::note("you have no session at this server", &ctx.ui.palette));
    }
    let mut failed = None;
    for name in names {
        if let Err(error) = end_one(ctx, &client, &name) {
            // The last error is the command's own.
            if let Some(earlier) = failed.replace(error) {
                crate::terminal::ui::write_stderr(&earlier.render(&RenderOptions::for_stderr(&ctx.ui.palette)));
            }
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn end_one(ctx: &CommandContext, client: &Client, name: &str) -> Result<(), Error> {
    let ended = client.end_session(name);
    if ended
        .as_ref()
        .map_or_else(|error| error.exit() == Exit::NotSignedIn, |_| true)
    {
        sign_out::remove_ended(ctx, name)?;
    }
    let ended = ended?;
    if ended.this_device && ctx.kubeconfig().is_none() {
        ctx.unset_removed_kubeconfig();
    }
    ctx.ui
        .notify(&messages::done(&report::sessions::ended(&ended), &ctx.ui.palette));
    Ok(())
}

fn names(sessions: &SessionList) -> Vec<String> {
    sessions.items.iter().map(|session| session.name.clone()).collect()
}
