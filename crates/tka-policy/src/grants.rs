//! Which grants reach a caller at a server.

use crate::certainty::{Certainty, UnknownReason};
use crate::dialect::Dialect;
use crate::node::Node;
use crate::policy::{Grant, Policy, Target};
use crate::selection::{ResolvedNode, Selection};
use crate::selector::Selector;

/// A policy, towards one server.
#[derive(Debug)]
pub(crate) struct ServerView<'p, 'n> {
    pub(crate) policy: &'p Policy,
    pub(crate) selection: Selection<'p>,
    server: &'n Node,
    seen: ResolvedNode<'n, 'p>,
}

// === impl ServerView ===

impl<'p, 'n> ServerView<'p, 'n> {
    pub(crate) fn new(policy: &'p Policy, server: &'n Node) -> Self {
        let selection = Selection::new(policy);
        let seen = selection.see(server);
        Self {
            policy,
            selection,
            server,
            seen,
        }
    }

    /// Whether the grant gives its values to the caller.
    pub(crate) fn gives(&self, grant: &Grant, caller: &ResolvedNode<'_, 'p>) -> Certainty {
        let source = Certainty::any(
            grant
                .src
                .iter()
                .map(|target| self.selection.means(&target.selector, caller)),
        );
        if source.is_no() {
            return Certainty::No;
        }
        let destination = Certainty::any(grant.dst.iter().map(|target| self.destination(target, caller.node)));
        source.and(destination).and(self.conditions(grant))
    }

    /// Whether the grant is towards the server, for some caller.
    pub(crate) fn is_towards(&self, grant: &Grant) -> Certainty {
        Certainty::any(grant.dst.iter().map(|target| match &target.selector {
            Selector::Autogroup(name) if name == "autogroup:self" => self.server.user.is_some().into(),
            selector => self.selection.means(selector, &self.seen),
        }))
    }

    fn destination(&self, target: &Target, caller: &Node) -> Certainty {
        match &target.selector {
            Selector::Autogroup(name) if name == "autogroup:self" => {
                let own = caller.user.is_some() && caller.tags.is_empty() && caller.user == self.server.user;
                own.into()
            }
            selector => self.selection.means(selector, &self.seen),
        }
    }

    /// What a grant asks for beside source and destination.
    pub(crate) fn conditions(&self, grant: &Grant) -> Certainty {
        let via = match (grant.via, self.policy.dialect) {
            (false, _) => Certainty::Yes,
            // headscale makes rules of packets of it, and leaves `app` out.
            (true, Dialect::Headscale) => Certainty::No,
            (true, Dialect::Tailscale) => Certainty::unknown(UnknownReason::Via),
        };
        let postures = grant
            .postures
            .iter()
            .map(|posture| Certainty::unknown(UnknownReason::Posture(posture.clone())));
        // Any of them suffices, and none of them can be known.
        if grant.postures.is_empty() {
            via
        } else {
            via.and(Certainty::any(postures))
        }
    }
}
