//! `tka sessions …`

use std::process::ExitCode;

use clap_complete::ArgValueCandidates;
use tka_api::http::{SessionInfo, SessionList};

use crate::api::client::{Client, ClientError};
use crate::cmd::complete;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::report;
use crate::session::sign_out;
use crate::session::{export, notices};
use crate::terminal::messages;
use crate::terminal::output::{Output, RenderOptions};

/// Show your sessions on all devices, or end some
///
/// With oversight of sessions also those of all users (docs/oversight.md). The server records each look at them.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    /// Show the sessions of all users: for callers with oversight
    #[arg(long)]
    everyone: bool,

    /// Only of this user, by login name
    #[arg(long, value_name = "LOGIN", requires = "everyone")]
    user: Option<String>,

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
/// cannot be ended does not stop the others. With oversight to end sessions, those of other users too: their contexts stay, on their devices.
#[derive(clap::Args, Debug)]
struct End {
    /// Names, as `tka sessions` shows them
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    #[arg(add = ArgValueCandidates::new(complete::sessions))]
    names: Vec<String>,

    /// All your sessions
    #[arg(long)]
    all: bool,

    /// Why a session of another user ends: one line, for the server's audit log
    #[arg(long, value_name = "TEXT", conflicts_with = "all")]
    reason: Option<String>,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.action {
        None if arguments.everyone => everyone(ctx, arguments),
        None => list(ctx, arguments.output),
        Some(Action::End(end)) => end_all(ctx, end),
    }
}

fn list(ctx: &CommandContext, output: Output) -> Result<ExitCode, Error> {
    let client = ctx.client()?;
    let sessions = client.sessions()?;
    notices::warn_clock_skew(ctx, client.skew(), None);
    if output.print(ctx.config.output_mode(), &sessions)? && sessions.items.is_empty() {
        let text = "you have no session at this server: sign in with `tka login`";
        ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
    }
    Ok(ExitCode::SUCCESS)
}

fn everyone(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    let client = ctx.client()?;
    let all = report::sessions::AllSessions(all_pages(&client, arguments.user.as_deref())?);
    notices::warn_clock_skew(ctx, client.skew(), None);
    if arguments.output.print(ctx.config.output_mode(), &all)? && all.0.items.is_empty() {
        let text = "there is no such session at this server";
        ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
    }
    Ok(ExitCode::SUCCESS)
}

/// The sessions of all, or of one user, page by page.
fn all_pages(client: &Client, user: Option<&str>) -> Result<SessionList, Error> {
    let (mut items, mut place): (Vec<SessionInfo>, Option<String>) = (Vec::new(), None);
    loop {
        let of = |name, value: Option<&str>| value.map(|value| (name, value.to_owned()));
        let query: Vec<_> = [of("user", user), of("after", place.as_deref())]
            .into_iter()
            .flatten()
            .collect();
        let page = client.all_sessions(&query)?;
        // A server that does not go on must not be asked for ever: each page begins behind the one before.
        let goes_on = match (items.last(), page.items.first()) {
            (Some(last), Some(first)) => last.name < first.name,
            _ => place.is_none() || page.next != place,
        };
        items.extend(page.items.into_iter().filter(|_| goes_on));
        place = page.next.filter(|_| goes_on);
        if place.is_none() {
            return Ok(SessionList { items });
        }
    }
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
        if let Err(error) = end_one(ctx, &client, &name, end.reason.as_deref()) {
            // The last error is the command's own.
            if let Some(earlier) = failed.replace(error) {
                crate::terminal::ui::write_stderr(&earlier.render(&RenderOptions::for_stderr(&ctx.ui.palette)));
            }
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn end_one(ctx: &CommandContext, client: &Client, name: &str, reason: Option<&str>) -> Result<(), Error> {
    let ended = client.end_session(name);
    if ended
        .as_ref()
        .map_or_else(|error| error.exit() == Exit::NotSignedIn, |_| true)
    {
        sign_out::remove_ended(ctx, name)?;
    }
    let ended = match ended {
        Err(refusal) if refusal.is_about_session_of_other() => return end_of_other(ctx, client, name, reason, refusal),
        ended => ended?,
    };
    if ended.this_device && ctx.kubeconfig().is_none() {
        export::unset_removed(ctx);
    }
    ctx.ui
        .notify(&messages::done(&report::sessions::ended(&ended), &ctx.ui.palette));
    Ok(())
}

/// Ends a session of another, for a caller with oversight. Any other hears `refusal`: what the server said when they asked as its owner.
fn end_of_other(
    ctx: &CommandContext,
    client: &Client,
    name: &str,
    reason: Option<&str>,
    refusal: ClientError,
) -> Result<(), Error> {
    match client.end_session_of_other(name, reason) {
        Err(error) if error.is_without_oversight() || error.is_unsupported() => Err(refusal.into()),
        ended => {
            let text = report::sessions::ended_of_other(&ended?);
            ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
            Ok(())
        }
    }
}

fn names(sessions: &SessionList) -> Vec<String> {
    sessions.items.iter().map(|session| session.name.clone()).collect()
}
