//! Callers who would be refused, because rules share the highest priority.
//!
//! Callers that the same selectors mean have the same rules, so that one of them stands for all. There may be a hundred thousand users, and as many
//! grants: what is compared is bounded, and where the bound is met it is said.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tka_core::{ApplicableRules, Refusal, Rule, RuleSelector};

use crate::certainty::Certainty;
use crate::finding::{Found, Kind};
use crate::grants::ServerView;
use crate::node::Node;
use crate::policy::RuleValue;
use crate::selector::Selector;

/// How many times a caller is held against a grant or a rule.
const MAX_STEPS: usize = 20_000_000;
/// How many of the rules that share a priority are told.
const MAX_TIED: usize = 16;

/// A grant towards the server, as what selects its callers.
struct ServerGrant<'p> {
    /// Whether it surely is towards the server, and demands nothing that is not known.
    is_sure: bool,
    rules: Vec<&'p RuleValue>,
}

/// The grants towards the server, and what selects their callers.
struct ServerGrants<'p> {
    all: Vec<ServerGrant<'p>>,
    selectors: Vec<&'p Selector>,
    /// The grants of each selector, by number.
    of_selector: Vec<Vec<usize>>,
    /// The selectors that mean callers of one name alone.
    named: HashMap<String, Vec<usize>>,
    /// The others.
    others: Vec<usize>,
}

/// Callers, by the selectors that mean them for sure and those that perhaps do, with one of them.
type Classes = BTreeMap<(Vec<usize>, Vec<usize>), String>;

/// Tells of ties.
pub(crate) fn find(towards: &ServerView<'_, '_>, found: &mut Vec<Found>) {
    let reaches = ServerGrants::new(towards);
    let mut steps = 0;
    let classes = classes(towards, &reaches, &mut steps);
    let is_complete = steps <= MAX_STEPS && compare(&reaches, &classes, &mut steps, found);
    if !is_complete {
        let message =
            "the policy has so many callers and grants that equal priorities were not looked for among all of them";
        found.push(Found::warning(0, Kind::Incomplete, message));
    }
}

// === impl ServerGrants ===

impl<'p> ServerGrants<'p> {
    fn new(towards: &ServerView<'p, '_>) -> Self {
        let mut reaches = Self {
            all: Vec::new(),
            selectors: Vec::new(),
            of_selector: Vec::new(),
            named: HashMap::new(),
            others: Vec::new(),
        };
        let mut numbers = HashMap::new();
        for grant in &towards.policy.grants {
            let given = towards.is_towards(grant).and(towards.conditions(grant));
            let rules: Vec<_> = grant.rules.iter().filter(|value| value.rule.is_ok()).collect();
            if given.is_no() || rules.is_empty() {
                continue;
            }
            for target in grant.src.iter().filter(|target| !is_address(&target.selector)) {
                let number = *numbers
                    .entry(&target.selector)
                    .or_insert_with(|| reaches.add(towards, &target.selector));
                let reach = reaches.all.len();
                reaches.of_selector[number].push(reach);
            }
            let is_sure = given.is_yes();
            reaches.all.push(ServerGrant { is_sure, rules });
        }
        reaches
    }

    fn add(&mut self, towards: &ServerView<'p, '_>, selector: &'p Selector) -> usize {
        let number = self.selectors.len();
        self.selectors.push(selector);
        self.of_selector.push(Vec::new());
        match towards.selection.key(selector) {
            Some(key) => self.named.entry(key).or_default().push(number),
            None => self.others.push(number),
        }
        number
    }

    /// The selectors that may mean a caller of these names.
    fn candidates(&self, keys: Option<Vec<String>>) -> BTreeSet<usize> {
        let Some(keys) = keys else {
            return (0..self.selectors.len()).collect();
        };
        let named = keys.iter().filter_map(|key| self.named.get(key)).flatten();
        named.chain(&self.others).copied().collect()
    }

    /// The grants that these selectors select.
    fn of<'s>(&'s self, numbers: impl Iterator<Item = &'s usize>) -> BTreeSet<usize> {
        numbers.flat_map(|number| &self.of_selector[*number]).copied().collect()
    }
}

/// Whose an address is, the policy does not say: a device that has it is not looked at.
fn is_address(selector: &Selector) -> bool {
    matches!(
        selector,
        Selector::Addresses(_) | Selector::Host(_) | Selector::IpSet(_)
    )
}

fn classes(towards: &ServerView<'_, '_>, reaches: &ServerGrants<'_>, steps: &mut usize) -> Classes {
    let mut classes = Classes::new();
    for (name, caller) in callers(towards, &reaches.selectors) {
        let seen = towards.selection.see(&caller);
        let keys = towards.selection.keys(&seen);
        *steps += keys.as_ref().map_or(0, Vec::len);
        let candidates = reaches.candidates(keys);
        *steps += candidates.len();
        if *steps > MAX_STEPS {
            break;
        }
        let (mut sure, mut perhaps) = (Vec::new(), Vec::new());
        for number in candidates {
            match towards.selection.means(reaches.selectors[number], &seen) {
                Certainty::Yes => sure.push(number),
                Certainty::No => {}
                Certainty::Unknown(_) => perhaps.push(number),
            }
        }
        // The callers are sorted, so that it is the same each time.
        classes.entry((sure, perhaps)).or_insert(name);
    }
    classes
}

/// All users and tags that the policy names, one user of each domain that it names, and one user that it does not name.
fn callers(towards: &ServerView<'_, '_>, selectors: &[&Selector]) -> Vec<(String, Node)> {
    let mut users: BTreeSet<String> = BTreeSet::new();
    let mut tags: BTreeSet<&str> = towards.policy.tags.keys().map(String::as_str).collect();
    let members = towards.policy.groups.values().flat_map(|group| &group.items);
    users.extend(
        members
            .filter(|item| item.text.contains('@'))
            .map(|item| item.text.trim().to_owned()),
    );
    for selector in selectors {
        match selector {
            Selector::User(user) => {
                users.insert(user.clone());
            }
            Selector::Domain(domain) => {
                users.insert(format!("another-user@{domain}"));
            }
            Selector::Tag(tag) => {
                tags.insert(tag);
            }
            _ => {}
        }
    }
    let other = (
        "a user that the policy does not name".to_owned(),
        Node::of_user("another-user@invalid"),
    );
    let users = users.into_iter().map(|user| (user.clone(), Node::of_user(&user)));
    let tags = tags
        .into_iter()
        .map(|tag| (format!("a device with {tag}"), Node::tagged([tag])));
    users.chain(tags).chain([other]).collect()
}

/// Returns whether all were compared.
fn compare(reaches: &ServerGrants<'_>, classes: &Classes, steps: &mut usize, found: &mut Vec<Found>) -> bool {
    // By the places of the values: whether it is sure, and a caller.
    let mut told: BTreeMap<Vec<usize>, (Vec<&RuleValue>, bool, &str)> = BTreeMap::new();
    for ((sure, perhaps), name) in classes {
        let (surely, at_all) = (reaches.of(sure.iter()), reaches.of(sure.iter().chain(perhaps)));
        let rules = |numbers: &BTreeSet<usize>| numbers.iter().map(|number| &reaches.all[*number]).collect::<Vec<_>>();
        let (mut surely, at_all) = (rules(&surely), rules(&at_all));
        surely.retain(|reach| reach.is_sure);
        *steps += at_all.iter().map(|reach| 1 + reach.rules.len()).sum::<usize>();
        if *steps > MAX_STEPS {
            return false;
        }
        for (is_sure, tied) in [(true, tied(&surely)), (false, tied(&at_all))] {
            let places: Vec<usize> = tied.iter().map(|value| value.raw.at).collect();
            if !places.is_empty() {
                let known = told.entry(places).or_insert((tied, is_sure, name));
                if is_sure && !known.1 {
                    (known.1, known.2) = (true, name);
                }
            }
        }
    }
    found.extend(
        told.values()
            .filter_map(|(values, is_sure, name)| tell(values, *is_sure, name)),
    );
    true
}

/// The values that share the highest priority; none if one stands alone there.
fn tied<'p>(reaches: &[&ServerGrant<'p>]) -> Vec<&'p RuleValue> {
    let mut highest: Vec<(&Rule, &RuleValue)> = Vec::new();
    for value in reaches.iter().flat_map(|reach| reach.rules.iter().copied()) {
        let Ok(rule) = &value.rule else { continue };
        match highest.first().map(|(other, _)| rule.priority.cmp(&other.priority)) {
            Some(std::cmp::Ordering::Less) => {}
            Some(std::cmp::Ordering::Equal)
                if highest.len() >= MAX_TIED || highest.iter().any(|(other, _)| *other == rule) => {}
            Some(std::cmp::Ordering::Equal) => highest.push((rule, value)),
            Some(std::cmp::Ordering::Greater) | None => highest = vec![(rule, value)],
        }
    }
    if highest.len() < 2 {
        return Vec::new();
    }
    let mut values: Vec<_> = highest.into_iter().map(|(_, value)| value).collect();
    values.sort_by_key(|value| value.raw.at);
    values
}

/// In the server's words.
fn tell(values: &[&RuleValue], is_sure: bool, name: &str) -> Option<Found> {
    let texts = values.iter().map(|value| value.raw.text.as_str());
    let refusal = ApplicableRules::parse(texts)
        .ok()?
        .choose(&RuleSelector::default())
        .err()?;
    let Refusal::Ambiguous { .. } = &refusal else {
        return None;
    };
    let name = tka_core::shorten(name);
    let at = values.first()?.raw.at;
    Some(if is_sure {
        Found::error(at, Kind::EqualPriorities, format!("{name} would be refused: {refusal}"))
    } else {
        Found::warning(
            at,
            Kind::EqualPriorities,
            format!("{name} may be refused, which the policy alone does not decide: {refusal}"),
        )
    })
}
