//! What the tailnet says of a caller who is not at the other end of this connection, at this moment.

use std::net::{IpAddr, SocketAddr};

use tka_core::{Approval, Caller, Rule, Session, approver, may_decide};
use tka_operator::{ApprovalRequest, WaitingSignIn};
use tka_tailnet::Status;

use crate::App;
use crate::answer::Failure;
use crate::authorize::applicable_rules;
use crate::identified::Identified;
use crate::identify;
use crate::overseer::oversight;

/// WhoIs wants a port, and does not look at it where the address is a node's own.
pub(super) const ANY_PORT: u16 = 1;

/// Whether what was asked still holds.
pub(super) enum Verified {
    /// The caller, as they are known now, still has this rule.
    Holds(Box<Rule>, Box<Caller>),
    /// Not any more, and why.
    Changed(&'static str),
}

/// The nodes of the tailnet at this moment.
pub(super) struct Peers(Status);

/// Whether an approval of `waiting` is for a session through `rule`, of which all like it ask for `approval`.
fn is_as_asked(rule: &Rule, approval: &Approval, waiting: &WaitingSignIn, caller: &Caller) -> bool {
    let session = Session {
        caller: caller.clone(),
        ..waiting.session()
    };
    approver::digest(&session, rule, approval) == waiting.request.digest
}

// === impl Peers ===

impl Peers {
    pub(super) async fn ask(app: &App) -> Result<Self, Failure> {
        let status = app.tailnet.status_with_peers().await;
        Ok(Self(status.map_err(|error| unknown().with_cause(&error))?))
    }

    /// Whether the tailnet still gives the caller of `waiting` just what they asked for.
    pub(super) async fn verified(&self, app: &App, waiting: &WaitingSignIn) -> Result<Verified, Failure> {
        let Some(identified) = self.device(app, &waiting.caller.device.stable_id).await? else {
            return Ok(Verified::Changed("the device that it was asked from left the tailnet"));
        };
        if identified.caller.key() != waiting.caller.key() {
            return Ok(Verified::Changed(
                "the device that it was asked from is another's by now",
            ));
        }
        let Ok(rules) = applicable_rules(app, &identified) else {
            return Ok(Verified::Changed(
                "no rule of the tailnet policy reaches the caller any more",
            ));
        };
        let approval = rules.approval(&waiting.rule);
        let is_as_asked = |rule: &&Rule| {
            let asked = |approval| is_as_asked(rule, approval, waiting, &identified.caller);
            rule.key() == waiting.rule && approval.as_ref().is_some_and(asked)
        };
        match rules.rules().iter().find(is_as_asked) {
            Some(rule) => Ok(Verified::Holds(
                Box::new(rule.clone()),
                Box::new(identified.caller.clone()),
            )),
            None => Ok(Verified::Changed("its rule changed since it was asked for")),
        }
    }

    /// The request of `waiting` with the approvals of those who may still give them.
    pub(super) async fn counted(&self, app: &App, waiting: &WaitingSignIn) -> Result<ApprovalRequest, Failure> {
        let mut count = Vec::new();
        for vote in &waiting.request.approvals {
            let Some(identified) = self.device(app, &vote.device).await? else {
                continue;
            };
            let approver = &identified.caller;
            let may = || {
                let (caller, rule) = (&waiting.caller, &waiting.rule);
                may_decide(
                    approver,
                    &oversight(&identified),
                    caller,
                    rule,
                    waiting.request.machines,
                )
                .is_ok()
            };
            if approver.user_key().as_str() == vote.key && may() {
                count.push(vote.key.clone());
            }
        }
        Ok(waiting.request.of_those(|vote| count.contains(&vote.key)))
    }

    /// Whose the device of that stable ID is, and what the policy says of them. None if it is not on the tailnet, if its key has expired, or if it is not known
    /// whose it is.
    async fn device(&self, app: &App, stable_id: &str) -> Result<Option<Identified>, Failure> {
        let Some(address) = self.address(stable_id) else {
            return Ok(None);
        };
        let asked = app.tailnet.whois(SocketAddr::new(address, ANY_PORT)).await;
        let whois = match asked {
            Ok(whois) => whois,
            Err(tka_tailnet::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(unknown().with_cause(&error)),
        };
        let identified = identify::identified(app, whois).ok();
        Ok(identified.filter(|identified| identified.caller.device.stable_id == stable_id && !identified.expired))
    }

    fn address(&self, stable_id: &str) -> Option<IpAddr> {
        let own = self.0.self_node.iter();
        let own = own.filter(|node| node.id.as_ref().is_some_and(|id| id.as_str() == stable_id));
        let own = own.filter_map(|node| node.tailscale_ips.first());
        let peers = self.0.peers.iter().filter(|peer| peer.id.as_str() == stable_id);
        let peers = peers.filter_map(|peer| peer.tailscale_ips.first());
        own.chain(peers).next().copied()
    }
}

fn unknown() -> Failure {
    let advice = &[
        "try again in a moment",
        "if it persists, ask an administrator to look at the tailscaled beside the server",
    ];
    Failure::transient("tailscaled does not say whether this sign-in may still begin", advice)
}
