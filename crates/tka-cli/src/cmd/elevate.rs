//! `tka elevate`

use std::process::ExitCode;

use tka_core::{Period, Reason, RoleName, RuleName};

use crate::api::access::{AccessRequest, parse_value};
use crate::context::CommandContext;
use crate::error::Error;
use crate::session::elevation;

/// Have a higher role for a while, with the kubeconfig and context that you have
///
/// Through the gateway, an address that names no rule means your ordinary rule. While the elevation lasts it means this one, so the same kubeconfig has the higher
/// role. After it, the ordinary rule holds again, and kubectl prints a warning that says so for ten minutes.
///
/// It counts for every program on this device that uses the gateway of the server without naming a rule, and for no other device. Sessions that name a rule, and
/// those with a token, stay as they are. `tka logout` ends it, too.
///
/// Without --rule and --role it takes the rule of the highest priority, also one that others must approve. Again extends it.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Take the rule of this name; `tka rules` shows those that reach you
    #[arg(long, value_name = "NAME", value_parser = parse_value::<RuleName>)]
    rule: Option<RuleName>,

    /// Take a rule that gives this role
    #[arg(long, value_name = "ROLE", value_parser = parse_value::<RoleName>)]
    role: Option<RoleName>,

    /// For how long, such as 30m or 1h30m; at most what the rule gives
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_value::<Period>)]
    period: Option<Period>,

    /// What it is for, in one line; some rules require it
    #[arg(long, value_name = "TEXT", value_parser = parse_value::<Reason>)]
    reason: Option<Reason>,

    /// Do not wait where others must approve: leave the request, and be elevated later by the same command
    #[arg(long)]
    no_wait: bool,

    /// End the elevation of this device, or withdraw the one that waits for approval
    #[arg(long, conflicts_with_all = ["rule", "role", "period", "reason", "no_wait"])]
    end: bool,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    if arguments.end {
        elevation::end(ctx)?;
    } else {
        elevation::begin(ctx, &arguments.access())?;
    }
    Ok(ExitCode::SUCCESS)
}

// === impl Arguments ===

impl Arguments {
    fn access(&self) -> AccessRequest {
        AccessRequest {
            rule: self.rule.clone(),
            role: self.role.clone(),
            period: self.period,
            reason: self.reason.clone(),
            no_wait: self.no_wait,
            namespace: None,
            elevate: true,
        }
    }
}
