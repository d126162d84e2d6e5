//! Names that a policy uses: what they must look like, and whether it has them. Both control servers refuse a policy that uses others.

use std::collections::{HashMap, HashSet};

use tka_core::shorten;

use crate::dialect::Dialect;
use crate::finding::{Found, Kind};
use crate::net::Range;
use crate::policy::{Grant, Item, List, Policy, Target};
use crate::selector::Selector;

/// How deep lists may be nested in each other.
pub(crate) const MAX_DEPTH: usize = 200;

/// Checks names of groups, IP sets, tags and hosts where they are defined.
pub(crate) fn check(policy: &mut Policy) {
    let mut found = Vec::new();
    groups(policy, &mut found);
    ip_sets(policy, &mut found);
    tags(policy, &mut found);
    policy.found.append(&mut found);
}

fn groups(policy: &Policy, found: &mut Vec<Found>) {
    for (name, group) in &policy.groups {
        if !name.starts_with("group:") {
            let message = format!("group must start with \"group:\", got {:?}", shorten(name));
            found.push(Found::error(group.at, Kind::UnknownName, message));
        }
        for member in &group.items {
            if member.text.starts_with("group:") {
                let message = format!(
                    "{:?} is a member of {:?}: group members cannot be recursive, name their users instead",
                    shorten(&member.text),
                    shorten(name)
                );
                found.push(Found::error(member.at, Kind::Shape, message));
            } else if policy.dialect == Dialect::Headscale && !member.text.contains('@') {
                let message = format!("username must contain @, got {:?}", shorten(&member.text));
                found.push(Found::error(member.at, Kind::UnknownName, message));
            }
        }
    }
    cycles(&policy.groups, |item| item.text.as_str(), "group", found);
}

fn ip_sets(policy: &Policy, found: &mut Vec<Found>) {
    for (name, set) in &policy.ip_sets {
        if !name.starts_with("ipset:") {
            let message = format!("IP set must start with \"ipset:\", got {:?}", shorten(name));
            found.push(Found::error(set.at, Kind::UnknownName, message));
        }
        for item in &set.items {
            let (_, element) = operation(&item.text);
            let is_known = match element.split_once(':') {
                Some(("ipset", _)) => policy.ip_sets.contains_key(element),
                Some(("host", host)) => policy.hosts.contains_key(host),
                Some(("autogroup", _)) => element == "autogroup:internet",
                _ => Range::parse(element).is_some(),
            };
            if !is_known {
                let message = format!(
                    "{:?} is no address, prefix, host or IP set of this policy",
                    shorten(element)
                );
                found.push(Found::error(item.at, Kind::UnknownName, message));
            }
        }
    }
    cycles(&policy.ip_sets, |item| operation(&item.text).1, "IP set", found);
}

/// Whether an element of an IP set adds or removes, and what.
pub(crate) fn operation(text: &str) -> (bool, &str) {
    match text.trim().split_once(' ') {
        Some(("add", element)) => (true, element.trim()),
        Some(("remove", element)) => (false, element.trim()),
        _ => (true, text.trim()),
    }
}

fn tags(policy: &Policy, found: &mut Vec<Found>) {
    for (name, owners) in &policy.tags {
        let letter = name.strip_prefix("tag:").and_then(|rest| rest.chars().next());
        if !letter.is_some_and(|letter| letter.is_ascii_alphabetic()) {
            let message = format!(
                "tag names must start with a letter, after \"tag:\", got {:?}",
                shorten(name)
            );
            found.push(Found::error(owners.at, Kind::UnknownName, message));
        }
        for owner in &owners.items {
            let selector = Selector::parse(&owner.text, policy.dialect);
            let why = match &selector {
                Selector::Group(_) | Selector::Tag(_) => unknown(policy, &selector),
                Selector::User(_) | Selector::Domain(_) => None,
                Selector::Autogroup(_) if policy.dialect == Dialect::Tailscale => None,
                _ => Some(format!("{:?} cannot own a tag", shorten(&owner.text))),
            };
            found.extend(why.map(|why| Found::error(owner.at, Kind::UnknownName, why)));
        }
    }
}

/// Tells of lists that lead back to themselves. Each list is entered once, without recursion: there may be hundreds of thousands.
fn cycles(lists: &HashMap<String, List>, name: impl Fn(&Item) -> &str, what: &str, found: &mut Vec<Found>) {
    let mut done: HashSet<&str> = HashSet::new();
    for start in lists.keys() {
        let mut path: Vec<(&str, usize)> = vec![(start, 0)];
        let mut on_path: HashSet<&str> = HashSet::from([start.as_str()]);
        while let Some((list, next)) = path.last_mut() {
            let list: &str = list;
            let item = lists.get(list).and_then(|list| list.items.get(*next));
            *next += 1;
            let Some(item) = item.filter(|_| !done.contains(list)) else {
                done.insert(list);
                on_path.remove(list);
                path.pop();
                continue;
            };
            let Some((inner, _)) = lists.get_key_value(name(item)) else {
                continue;
            };
            if on_path.contains(inner.as_str()) {
                let message = format!("the {what} {:?} leads back to itself", shorten(inner));
                found.push(Found::error(item.at, Kind::Cycle, message));
            } else if path.len() == MAX_DEPTH {
                let message = format!("the {what} {:?} is nested more than {MAX_DEPTH} deep", shorten(inner));
                found.push(Found::error(item.at, Kind::Cycle, message));
            } else if !done.contains(inner.as_str()) {
                on_path.insert(inner);
                path.push((inner, 0));
            }
        }
    }
}

/// Why a selector names what the policy does not have.
fn unknown(policy: &Policy, selector: &Selector) -> Option<String> {
    let has = |there: bool, what: &str, name: &str| {
        (!there).then(|| format!("{what} not defined in policy: {:?}", shorten(name)))
    };
    match selector {
        // With a sign in it, it is kept by an identity provider and not in the policy.
        Selector::Group(name) => has(policy.groups.contains_key(name) || name.contains('@'), "group", name),
        Selector::Tag(name) => has(policy.tags.contains_key(name), "tag", name),
        Selector::Host(name) => has(policy.hosts.contains_key(name), "host", name),
        Selector::IpSet(name) => has(policy.ip_sets.contains_key(name), "IP set", name),
        Selector::Unknown(name) => Some(format!("invalid alias format: {:?}", shorten(name))),
        _ => None,
    }
}

/// Checks the selectors of a grant.
pub(crate) fn check_grant(policy: &mut Policy, grant: &Grant, has_app: bool, has_ip: bool) {
    let mut found = Vec::new();
    if !has_app && !has_ip {
        found.push(Found::error(grant.at, Kind::Shape, "ip and app can not both be empty"));
    }
    for target in &grant.src {
        let why = unknown(policy, &target.selector).or_else(|| wrong_source(policy.dialect, &target.selector));
        found.extend(why.map(|why| Found::error(target.at, Kind::UnknownName, why)));
    }
    for target in &grant.dst {
        let why = unknown(policy, &target.selector).or_else(|| wrong_destination(policy.dialect, target, has_app));
        found.extend(why.map(|why| Found::error(target.at, Kind::UnknownName, why)));
    }
    policy.found.append(&mut found);
}

fn wrong_source(dialect: Dialect, selector: &Selector) -> Option<String> {
    match selector {
        Selector::Autogroup(name) if !dialect.has_source(name) => Some(format!(
            "{:?} is not valid on the src side of a grant of {dialect}",
            shorten(name)
        )),
        Selector::Service(name) => Some(format!("the service {:?} is no source", shorten(name))),
        _ => None,
    }
}

fn wrong_destination(dialect: Dialect, target: &Target, has_app: bool) -> Option<String> {
    match &target.selector {
        Selector::Autogroup(name) if name == "autogroup:internet" && has_app => {
            Some("cannot use app grants with autogroup:internet".into())
        }
        Selector::Autogroup(name) if !dialect.has_destination(name) => Some(format!(
            "{:?} is not valid on the dst side of a grant of {dialect}",
            shorten(name)
        )),
        Selector::Addresses(range) if range.is_everything() => {
            Some("to allow all IP addresses, use \"*\" or \"autogroup:internet\"".into())
        }
        _ => None,
    }
}
