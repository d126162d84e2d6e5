//! `tka approvals …`

use std::process::ExitCode;

use clap_complete::ArgValueCandidates;
use tka_api::http::{ApprovalInfo, ApprovalState, Decision, DecisionRequest};
use tka_core::Reason;

use crate::api::access::parse_value;
use crate::api::client::Client;
use crate::cmd::complete;
use crate::context::CommandContext;
use crate::error::Error;
use crate::report;
use crate::session::notices;
use crate::terminal::messages;
use crate::terminal::output::Output;

/// See which sign-ins wait for approval, and decide about them
///
/// Shows what you may decide, and what you wait for yourself. Who may decide is in the tailnet policy: oversight with `approve`.
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
    /// List the sign-ins that wait, those that were asked for first first
    List {
        #[command(flatten)]
        output: Output,
    },
    Show(Show),
    Approve(VoteArguments),
    Deny(VoteArguments),
    Acknowledge(Acknowledge),
    Withdraw(Withdraw),
}

/// Show one sign-in that waits
#[derive(clap::Args, Debug)]
struct Show {
    /// Name of its session, as `tka approvals` shows it
    #[arg(add = ArgValueCandidates::new(complete::approvals))]
    session: String,

    #[command(flatten)]
    output: Output,
}

/// Decide about a sign-in of another
///
/// A person counts once, on whatever device. One who denies outweighs all who approve. It counts for the request that waits when the command begins, and for no later
/// one.
#[derive(clap::Args, Debug)]
struct VoteArguments {
    /// Name of its session, as `tka approvals` shows it
    #[arg(add = ArgValueCandidates::new(complete::approvals))]
    session: String,

    /// What the caller is told, in one line
    #[arg(long, value_name = "TEXT", value_parser = parse_value::<Reason>)]
    comment: Option<Reason>,

    #[command(flatten)]
    output: Output,
}

/// Acknowledge a sign-in in an emergency
///
/// It was given without approval, through a rule with `break_glass`. It is told again each day until another with oversight acknowledges it.
#[derive(clap::Args, Debug)]
struct Acknowledge {
    /// Name of its session, as `tka approvals` shows it
    #[arg(add = ArgValueCandidates::new(complete::approvals))]
    session: String,

    /// What is recorded with it, in one line
    #[arg(long, value_name = "TEXT", value_parser = parse_value::<Reason>)]
    comment: Option<Reason>,

    #[command(flatten)]
    output: Output,
}

/// Withdraw your own sign-in
///
/// It waits no more. A session that it would have extended goes on as it was.
#[derive(clap::Args, Debug)]
struct Withdraw {
    /// Name of its session, as `tka approvals` shows it
    #[arg(add = ArgValueCandidates::new(complete::approvals))]
    session: String,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    let client = ctx.client()?;
    match &arguments.action {
        None => list(ctx, &client, arguments.output)?,
        Some(Action::List { output }) => list(ctx, &client, *output)?,
        Some(Action::Show(show)) => {
            let found = find(&client, &show.session, |_| true)?;
            notices::warn_clock_skew(ctx, client.skew(), None);
            show.output.print_one(ctx.config.output_mode(), &found)?;
        }
        Some(Action::Acknowledge(acknowledge)) => acknowledge.run(ctx, &client)?,
        Some(Action::Approve(decide)) => decide.run(ctx, &client, Decision::Approve)?,
        Some(Action::Deny(decide)) => decide.run(ctx, &client, Decision::Deny)?,
        Some(Action::Withdraw(withdraw)) => {
            let withdrawn = client.withdraw(&withdraw.session)?;
            let text = format!("your sign-in for {} waits no more", withdrawn.role);
            ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(ctx: &CommandContext, client: &Client, output: Output) -> Result<(), Error> {
    let list = client.approvals()?;
    notices::warn_clock_skew(ctx, client.skew(), None);
    if output.print(ctx.config.output_mode(), &list)? && list.items.is_empty() {
        let text = "no sign-in waits that you may decide about, and none of yours";
        ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
    }
    Ok(())
}

/// What waits for that session, of those in a state that `is_meant`.
fn find(client: &Client, session: &str, is_meant: fn(ApprovalState) -> bool) -> Result<ApprovalInfo, Error> {
    let found = client.approvals()?.items.into_iter();
    let mut found = found.filter(|waiting| waiting.status.session == session && is_meant(waiting.status.state));
    found.next().ok_or_else(|| Error::NothingWaits {
        session: session.to_owned(),
    })
}

// === impl VoteArguments ===

impl VoteArguments {
    fn run(&self, ctx: &CommandContext, client: &Client, decision: Decision) -> Result<(), Error> {
        // What was seen is what is decided about: another request for the same session is refused by the server.
        let seen = find(client, &self.session, |state| state != ApprovalState::Unacknowledged)?;
        let decided = client.decide(
            &self.session,
            &DecisionRequest {
                decision,
                comment: self.comment.as_ref().map(|comment| comment.as_str().to_owned()),
                request: Some(seen.status.request),
            },
        )?;
        ctx.ui
            .notify(&messages::done(&report::approvals::outcome(&decided), &ctx.ui.palette));
        if decided.status.state == ApprovalState::Waiting && decision == Decision::Approve {
            let text = "others must approve it too";
            ctx.ui.notify(&messages::note(text, &ctx.ui.palette));
        }
        Ok(self.output.print_or_default(&decided, "")?)
    }
}

// === impl Acknowledge ===

impl Acknowledge {
    fn run(&self, ctx: &CommandContext, client: &Client) -> Result<(), Error> {
        // What was seen is what is acknowledged: one that came since is refused by the server.
        let seen = find(client, &self.session, |state| state == ApprovalState::Unacknowledged)?;
        let acknowledged = client.decide(
            &self.session,
            &DecisionRequest {
                decision: Decision::Acknowledge,
                comment: self.comment.as_ref().map(|comment| comment.as_str().to_owned()),
                request: Some(seen.status.request),
            },
        )?;
        ctx.ui.notify(&messages::done(
            &report::approvals::outcome(&acknowledged),
            &ctx.ui.palette,
        ));
        Ok(self.output.print_or_default(&acknowledged, "")?)
    }
}
