//! What is wrong with a policy as far as TKA goes.

use std::collections::{BTreeMap, BTreeSet};

use tka_core::{Limits, Period, Rule, shorten};

use crate::certainty::Certainty;
use crate::dialect::Dialect;
use crate::equal_priority;
use crate::finding::{Findings, Found, Kind};
use crate::grants::ServerView;
use crate::node::Node;
use crate::policy::{Grant, Policy, RuleValue};
use crate::selector::Selector;
use crate::source::Lines;

/// What is not in the policy, and what it is held against.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The server's node. Where it is not said, it is the one with [`Policy::likely_server`].
    pub server: Option<Node>,
    /// The server's shortest period.
    pub min_period: Option<Period>,
    /// The roles that the chart lists; all where it is not said.
    pub roles: Option<Roles>,
}

/// The roles that the chart lists.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Roles {
    /// Those that the server may bind anywhere.
    pub anywhere: BTreeSet<String>,
    /// Those that it may bind in these namespaces alone.
    pub in_namespaces: BTreeMap<String, BTreeSet<String>>,
}

// === impl Roles ===

impl Roles {
    /// Why the server may not bind the role of a rule; none if it may.
    fn refuses(&self, rule: &Rule) -> Option<String> {
        let name = rule.role.as_str();
        if self.anywhere.contains(name) {
            return None;
        }
        let Some(listed) = self.in_namespaces.get(name) else {
            return Some(format!(
                "the chart lists the role {name:?} neither in `roles` nor in `namespacedRoles`"
            ));
        };
        let named = rule.scope.to_names();
        if named.is_empty() {
            return Some(format!(
                "the chart lists the role {name:?} for certain namespaces alone, and the rule names none"
            ));
        }
        let missing: Vec<_> = named
            .into_iter()
            .filter(|namespace| !listed.contains(namespace))
            .collect();
        let list = shorten(&missing.join(", "));
        (!missing.is_empty()).then(|| format!("the chart does not list the role {name:?} for the namespaces {list}"))
    }
}

impl Policy {
    /// The tag that TKA servers seem to have: `tag:tka` if a grant with a rule is towards it, or else the only one that there is.
    #[must_use]
    pub fn likely_server(&self) -> Option<Node> {
        let targets = self.grants.iter().flat_map(|grant| &grant.dst);
        let tags: BTreeSet<&str> = targets
            .filter_map(|target| match &target.selector {
                Selector::Tag(tag) => Some(tag.as_str()),
                _ => None,
            })
            .collect();
        let usual = tags.get("tag:tka").copied();
        let tag = usual.or_else(|| tags.first().copied().filter(|_| tags.len() == 1))?;
        Some(Node::tagged([tag]))
    }

    /// How many values of both capabilities it has.
    #[must_use]
    pub fn values(&self) -> usize {
        let all = self.grants.iter().chain(&self.misplaced);
        all.map(|grant| grant.rules.len() + grant.oversight.len()).sum()
    }

    /// All that is wrong with it.
    #[must_use]
    pub fn check(&self, text: &str, options: &Options) -> Findings {
        let mut found = self.found.clone();
        let likely = self.likely_server();
        let server = options.server.as_ref().or(likely.as_ref());
        for grant in self.grants.iter().chain(&self.misplaced) {
            values(grant, options, &mut found);
        }
        misplaced(&self.misplaced, &mut found);
        for grant in &self.grants {
            unreachable(self, grant, &mut found);
        }
        if let Some(server) = server {
            let towards = ServerView::new(self, server);
            destinations(&towards, &mut found);
            equal_priority::find(&towards, &mut found);
        }
        Findings::new(&Lines::new(text), found)
    }
}

/// What the server would refuse of the values, in its words.
fn values(grant: &Grant, options: &Options, found: &mut Vec<Found>) {
    for value in &grant.rules {
        match &value.rule {
            Err(error) => {
                let at = value.raw.place_of(&error.why);
                found.push(Found::error(at, Kind::MalformedRule, error.to_string()));
            }
            Ok(rule) => rule_value(value, rule, options, found),
        }
    }
    for value in &grant.oversight {
        if let Some(error) = &value.refused {
            let at = value.raw.place_of(&error.why);
            found.push(Found::error(at, Kind::MalformedOversight, error.to_string()));
        }
    }
}

fn rule_value(value: &RuleValue, rule: &Rule, options: &Options, found: &mut Vec<Found>) {
    if let Some(min_period) = options.min_period
        && let Err(refusal) = Limits::at_least(min_period).period(rule, None)
    {
        found.push(Found::error(
            value.field("period"),
            Kind::PeriodTooShort,
            refusal.to_string(),
        ));
    }
    if let Some(why) = options.roles.as_ref().and_then(|roles| roles.refuses(rule)) {
        found.push(Found::error(value.field("role"), Kind::RoleNotListed, why));
    }
}

fn misplaced(entries: &[Grant], found: &mut Vec<Found>) {
    let rules = entries
        .iter()
        .flat_map(|entry| entry.rules.iter().map(|value| &value.raw));
    let oversight = entries
        .iter()
        .flat_map(|entry| entry.oversight.iter().map(|value| &value.raw));
    let message = "a value in `nodeAttrs` gives nothing: the server reads those of `grants`";
    found.extend(
        rules
            .chain(oversight)
            .map(|raw| Found::warning(raw.at, Kind::NoEffect, message)),
    );
}

/// Grants whose values no caller can have.
fn unreachable(policy: &Policy, grant: &Grant, found: &mut Vec<Found>) {
    let why = if grant.src.is_empty() {
        Some("its `src` is empty".to_owned())
    } else if grant.dst.is_empty() {
        Some("its `dst` is empty".to_owned())
    } else if grant.via && policy.dialect == Dialect::Headscale {
        Some("headscale gives no capability through a grant with `via`".to_owned())
    } else {
        let reasons: Option<Vec<_>> = grant.src.iter().map(|target| empty(policy, &target.selector)).collect();
        reasons.map(|reasons| reasons.join("; "))
    };
    if let Some(why) = why {
        let message = format!("no caller has the values of this grant: {}", shorten(&why));
        found.push(Found::warning(grant.at, Kind::Unreachable, message));
    }
}

/// Why a selector means no caller at all; none if it may mean one.
fn empty(policy: &Policy, selector: &Selector) -> Option<String> {
    match selector {
        Selector::Group(name) => match policy.groups.get(name) {
            Some(group) if group.items.is_empty() => Some(format!("{name} is empty")),
            None if !name.contains('@') => Some(format!("{name} is not defined")),
            _ => None,
        },
        Selector::Tag(name) if !policy.tags.contains_key(name) => Some(format!("{name} is not defined")),
        Selector::Host(name) => match policy.hosts.get(name) {
            Some(range) if range.has_nodes() => None,
            Some(_) => Some(format!("no node of a tailnet has an address of {name}")),
            None => Some(format!("{name} is not defined")),
        },
        Selector::Addresses(range) if !range.has_nodes() => Some("no node of a tailnet has such an address".into()),
        Selector::IpSet(name) if !policy.ip_sets.contains_key(name) => Some(format!("{name} is not defined")),
        Selector::Autogroup(name) if ["autogroup:internet", "autogroup:self"].contains(&name.as_str()) => {
            Some(format!("{name} is no source"))
        }
        Selector::Service(name) | Selector::Unknown(name) => Some(format!("{name} is no source")),
        _ => None,
    }
}

/// Rules that are given towards what is no TKA server.
fn destinations(towards: &ServerView<'_, '_>, found: &mut Vec<Found>) {
    for grant in &towards.policy.grants {
        if grant.dst.is_empty() || towards.is_towards(grant) != Certainty::No {
            continue;
        }
        let at = grant.dst.first().map_or(grant.at, |target| target.at);
        let message = "the values of this grant are not towards the TKA server: say with --to what the server's node is, if it is another";
        found.push(Found::warning(at, Kind::NotAServer, message));
    }
}
