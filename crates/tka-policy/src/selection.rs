//! Which selectors of a policy mean a node.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use crate::certainty::{Certainty, UnknownReason};
use crate::dialect::Dialect;
use crate::names::{MAX_DEPTH, operation};
use crate::net::Range;
use crate::node::Node;
use crate::policy::Policy;
use crate::selector::Selector;

/// Answers which selectors of one policy mean a node.
#[derive(Debug)]
pub(crate) struct Selection<'p> {
    policy: &'p Policy,
    /// The groups that directly have this member.
    parents: HashMap<&'p str, Vec<&'p str>>,
    /// The same, by members in small letters.
    folded: HashMap<String, HashSet<&'p str>>,
    /// One member of each kind of name that headscale knows users by, of each group.
    named: HashMap<&'p str, Named<'p>>,
}

/// One member of a group for each kind of name. There may be a hundred thousand members, and one of a kind says that it cannot be known who
/// that is.
#[derive(Debug, Default)]
struct Named<'p> {
    /// A short name, with `@` behind it.
    short: Option<&'p str>,
    /// An identity provider's ID.
    id: Option<&'p str>,
    /// An address.
    full: Option<&'p str>,
}

/// A node, and the groups that its user is in.
#[derive(Debug)]
pub(crate) struct ResolvedNode<'n, 'p> {
    pub(crate) node: &'n Node,
    groups: HashSet<&'p str>,
}

// === impl Selection ===

impl<'p> Selection<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Self {
        let mut parents: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut folded: HashMap<String, HashSet<&str>> = HashMap::new();
        let mut named: HashMap<&str, Named<'_>> = HashMap::new();
        for (name, group) in &policy.groups {
            let kinds = named.entry(name).or_default();
            for member in group.items.iter().map(|item| item.text.trim()) {
                parents.entry(member).or_default().push(name);
                folded.entry(member.to_ascii_lowercase()).or_default().insert(name);
                match member {
                    _ if member.contains('/') => kinds.id = Some(member),
                    _ if member.ends_with('@') => kinds.short = Some(member),
                    _ => kinds.full = Some(member),
                }
            }
        }
        Self {
            policy,
            parents,
            folded,
            named,
        }
    }

    /// Looks for the groups that the node's user is in, from the user upwards: groups that contain each other end it.
    pub(crate) fn see<'n>(&self, node: &'n Node) -> ResolvedNode<'n, 'p> {
        let mut groups = HashSet::new();
        let mut next: Vec<&str> = node.user.iter().map(String::as_str).collect();
        next.extend(node.member_of.iter().map(String::as_str));
        while let Some(member) = next.pop() {
            for &group in self.parents.get(member).into_iter().flatten() {
                if groups.insert(group) {
                    next.push(group);
                }
            }
        }
        ResolvedNode { node, groups }
    }

    /// The names by which selectors may mean a user or tags, in small letters; none where any selector may.
    pub(crate) fn keys(&self, seen: &ResolvedNode<'_, 'p>) -> Option<Vec<String>> {
        let node = seen.node;
        let user = node.user.as_deref().unwrap_or_default();
        if self.policy.dialect == Dialect::Headscale && is_odd(user) {
            return None;
        }
        let folded = self.folded.get(&user.to_ascii_lowercase());
        let names = seen.groups.iter().copied().chain(folded.into_iter().flatten().copied());
        let names = names.chain(node.tags.iter().map(String::as_str)).chain([user]);
        Some(names.map(str::to_ascii_lowercase).collect())
    }

    /// The name by which alone a selector means nodes, as [`Self::keys`] has it; none where it may mean any.
    pub(crate) fn key(&self, selector: &Selector) -> Option<String> {
        let is_odd_here = |name: &str| self.policy.dialect == Dialect::Headscale && is_odd(name);
        match selector {
            Selector::User(name) if !is_odd_here(name) => Some(name.to_ascii_lowercase()),
            Selector::Tag(name) => Some(name.to_ascii_lowercase()),
            Selector::Group(name) => {
                let named = self.named.get(name.as_str())?;
                let is_plain = named.short.is_none() && named.id.is_none() || self.policy.dialect == Dialect::Tailscale;
                is_plain.then(|| name.to_ascii_lowercase())
            }
            _ => None,
        }
    }

    /// Whether a selector means the node.
    pub(crate) fn means(&self, selector: &Selector, seen: &ResolvedNode<'_, 'p>) -> Certainty {
        let node = seen.node;
        match selector {
            Selector::All => Certainty::Yes,
            Selector::Autogroup(name) => autogroup(name, node),
            Selector::Tag(tag) if node.has_owner() => node.tags.contains(tag).into(),
            Selector::User(_) | Selector::Domain(_) | Selector::Group(_) | Selector::Tag(_) if !node.has_owner() => {
                Certainty::unknown(UnknownReason::Owner)
            }
            Selector::User(user) => self.user(user, node),
            Selector::Domain(domain) => node
                .user
                .as_deref()
                .is_some_and(|user| is_of_domain(user, domain))
                .into(),
            Selector::Group(group) => self.group(group, seen),
            Selector::Addresses(range) => in_range(range, node),
            Selector::Host(host) => self
                .policy
                .hosts
                .get(host)
                .map_or(Certainty::No, |range| in_range(range, node)),
            Selector::IpSet(set) => self.ip_set(set, node),
            Selector::Tag(_) | Selector::Service(_) | Selector::Unknown(_) => Certainty::No,
        }
    }

    /// Whether the user of that name is the node's. headscale also knows users by a short name, with `@` behind it, and by their provider's ID.
    fn user(&self, named: &str, node: &Node) -> Certainty {
        let Some(user) = node.user.as_deref() else {
            return Certainty::No;
        };
        let (named_short, user_short) = (named.strip_suffix('@'), user.strip_suffix('@'));
        if named == user || named_short.unwrap_or(named) == user_short.unwrap_or(user) {
            return Certainty::Yes;
        }
        if self.policy.dialect == Dialect::Headscale {
            let other_kind = named_short.is_some() != user_short.is_some() || named.contains('/');
            return if other_kind {
                Certainty::unknown(UnknownReason::UserName(named.to_owned()))
            } else {
                Certainty::No
            };
        }
        if named.eq_ignore_ascii_case(user) {
            return Certainty::unknown(UnknownReason::Case(named.to_owned()));
        }
        Certainty::No
    }

    fn group(&self, group: &str, seen: &ResolvedNode<'_, 'p>) -> Certainty {
        let Some(user) = seen.node.user.as_deref() else {
            return Certainty::No;
        };
        if seen.groups.contains(group) || seen.node.member_of.contains(group) {
            return Certainty::Yes;
        }
        let Some(named) = self.named.get(group) else {
            let is_synced = group.contains('@');
            return if is_synced {
                Certainty::unknown(UnknownReason::Synced(group.to_owned()))
            } else {
                Certainty::No
            };
        };
        // Only direct members are looked at here: a group in a group is refused by both control servers.
        if self.policy.dialect == Dialect::Headscale {
            let other = if user.ends_with('@') { named.full } else { named.short };
            let member = other.or(named.id);
            return member.map_or(Certainty::No, |member| {
                Certainty::unknown(UnknownReason::UserName(member.to_owned()))
            });
        }
        let in_other_letters = self
            .folded
            .get(&user.to_ascii_lowercase())
            .is_some_and(|groups| groups.contains(group));
        if in_other_letters {
            Certainty::unknown(UnknownReason::Case(user.to_owned()))
        } else {
            Certainty::No
        }
    }

    /// Whether the node has an address of an IP set.
    fn ip_set(&self, set: &str, node: &Node) -> Certainty {
        let has = |address| self.ip_set_has(set, address, 0, &mut HashMap::new());
        among(node, has, self.may_have_nodes(set))
    }

    /// Elements count in their order, the last that holds the address decides. What is nested deeper than [`MAX_DEPTH`] is among the findings.
    fn ip_set_has<'s>(
        &'s self,
        set: &'s str,
        address: IpAddr,
        depth: usize,
        known: &mut HashMap<&'s str, bool>,
    ) -> bool {
        if let Some(known) = known.get(set) {
            return *known;
        }
        let Some(list) = self.policy.ip_sets.get(set).filter(|_| depth < MAX_DEPTH) else {
            return false;
        };
        // What a set says of itself is nothing.
        known.insert(set, false);
        let mut has = false;
        for item in &list.items {
            let (adds, element) = operation(&item.text);
            let holds = match self.range(element) {
                Some(range) => range.contains(address),
                None => self.ip_set_has(element, address, depth + 1, known),
            };
            has = if holds { adds } else { has };
        }
        known.insert(set, has);
        has
    }

    /// Whether a node may have an address of an IP set.
    fn may_have_nodes(&self, set: &str) -> bool {
        let (mut entered, mut next) = (HashSet::from([set]), vec![set]);
        while let Some(list) = next.pop().and_then(|set| self.policy.ip_sets.get(set)) {
            for (adds, element) in list.items.iter().map(|item| operation(&item.text)) {
                match self.range(element) {
                    Some(range) if adds && range.has_nodes() => return true,
                    None if self.policy.ip_sets.contains_key(element) && entered.insert(element) => next.push(element),
                    _ => {}
                }
            }
        }
        false
    }

    fn range(&self, element: &str) -> Option<Range> {
        let host = element
            .strip_prefix("host:")
            .and_then(|host| self.policy.hosts.get(host));
        host.copied().or_else(|| Range::parse(element))
    }
}

/// Whether headscale may know a user by this name and by another one.
fn is_odd(name: &str) -> bool {
    name.ends_with('@') || name.contains('/')
}

fn is_of_domain(user: &str, domain: &str) -> bool {
    user.rsplit_once('@')
        .is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain))
}

fn autogroup(name: &str, node: &Node) -> Certainty {
    match name {
        "autogroup:danger-all" => return Certainty::Yes,
        "autogroup:internet" | "autogroup:self" => return Certainty::No,
        _ if !node.has_owner() => return Certainty::unknown(UnknownReason::Owner),
        _ => {}
    }
    let is_user = node.user.is_some();
    match name {
        "autogroup:member" | "autogroup:members" => is_user.into(),
        "autogroup:tagged" => (!is_user).into(),
        // Callers are members of the tailnet, and such are not shared with it.
        "autogroup:shared" if !node.member_of.contains(name) => Certainty::No,
        _ if !is_user => Certainty::No,
        _ if node.member_of.contains(name) => Certainty::Yes,
        _ => Certainty::unknown(UnknownReason::Autogroup(name.to_owned())),
    }
}

/// Whether the node has an address that `has` holds of. `may` says whether any node may have one.
fn among(node: &Node, mut has: impl FnMut(IpAddr) -> bool, may: bool) -> Certainty {
    let inside: Vec<bool> = node.addresses.iter().map(|address| has(*address)).collect();
    match (inside.is_empty(), inside.contains(&true), inside.contains(&false)) {
        (true, ..) if may => Certainty::unknown(UnknownReason::Address),
        (_, true, false) => Certainty::Yes,
        (_, true, true) => Certainty::unknown(UnknownReason::OneOfAddresses),
        _ => Certainty::No,
    }
}

fn in_range(range: &Range, node: &Node) -> Certainty {
    among(node, |address| range.contains(address), range.has_nodes())
}
