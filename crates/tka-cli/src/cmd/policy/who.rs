//! `tka policy who`

use std::process::ExitCode;

use tka_policy::Node;

use super::options::Source;
use crate::error::Error;
use crate::exit::Exit;
use crate::policy::PolicyError;
use crate::report::policy::Who;
use crate::terminal::messages;
use crate::terminal::output::{Output, OutputMode};
use crate::terminal::ui;

/// Show what a policy gives a caller
///
/// Shows the rules that apply, the highest first, which one a plain `tka login` takes, and oversight. What the policy alone does not decide
/// is shown with what it depends on. A user is taken for a member of the tailnet. The exit status is 20 if the control server would refuse the
/// policy.
///
///   tka policy who policy.hujson --as alice@example.com --to tag:tka
///   tka policy who policy.hujson --tag tag:ci --device 100.64.0.7
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
#[command(group = clap::ArgGroup::new("caller").args(["user", "tag", "device"]).multiple(true).required(true))]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,

    /// The caller's login name
    #[arg(long = "as", value_name = "LOGIN", conflicts_with = "tag")]
    user: Option<String>,

    /// A tag of the caller's device
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,

    /// An address from which the caller connects, or a host of the policy
    #[arg(long, value_name = "ADDRESS")]
    device: Vec<String>,

    /// An autogroup in which the caller is, or a group that an identity provider keeps
    #[arg(long = "in", value_name = "GROUP")]
    member_of: Vec<String>,

    #[command(flatten)]
    output: Output,
}

// === impl Arguments ===

impl Arguments {
    pub(super) fn run(&self, mode: OutputMode) -> Result<ExitCode, Error> {
        let file = self.source.read()?;
        let server = file.server(&self.source.to)?.ok_or(PolicyError::NoServer)?;
        let mut caller = Node {
            user: self.user.clone(),
            tags: self.tag.iter().cloned().collect(),
            member_of: self.member_of.iter().cloned().collect(),
            ..Node::default()
        };
        for device in &self.device {
            caller.say(device, &file.policy).map_err(PolicyError::from)?;
        }
        let answer = file.policy.who(&caller, &server, self.source.min_period);
        let report = Who::new(&described(&caller), &described(&server), &file.text, &answer);
        self.output.print(mode, &report)?;
        if !answer.policy_is_refused {
            return Ok(ExitCode::SUCCESS);
        }
        let text = "the control server would refuse this policy, so that it gives nothing: see `tka policy check`";
        ui::write_stderr(&(messages::warning(text, &mode.theme.palette()) + "\n"));
        Ok(Exit::PolicyUnreadable.into())
    }
}

/// What was said of a node.
fn described(node: &Node) -> String {
    let addresses = node.addresses.iter().map(ToString::to_string);
    let parts = node.user.iter().chain(&node.tags).cloned().chain(addresses);
    parts.collect::<Vec<_>>().join(", ")
}
