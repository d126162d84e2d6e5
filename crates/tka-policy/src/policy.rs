//! A tailnet policy, as far as it decides about TKA.

use std::collections::HashMap;

use tka_core::oversight::{self, OversightError};
use tka_core::rule::RuleError;
use tka_core::{Identity, Oversight, Rule};

use crate::dialect::Dialect;
use crate::finding::Found;
use crate::net::Range;
use crate::selector::Selector;

/// The capability whose values are rules, unless a server is configured with another.
pub const CAPABILITY: &str = "specht-labs.de/cap/tka";

/// A policy that was read. What is wrong with its shape is among its findings, and left out of it.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Which control server reads it.
    pub dialect: Dialect,
    /// The members of each group.
    pub(crate) groups: HashMap<String, List>,
    /// The addresses of each host.
    pub(crate) hosts: HashMap<String, Range>,
    /// The elements of each IP set.
    pub(crate) ip_sets: HashMap<String, List>,
    /// The owners of each tag.
    pub(crate) tags: HashMap<String, List>,
    /// The grants that have values of either capability.
    pub(crate) grants: Vec<Grant>,
    /// Values where no server reads them.
    pub(crate) misplaced: Vec<Grant>,
    /// What is wrong with its shape and its names.
    pub(crate) found: Vec<Found>,
}

/// The names of both capabilities.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Capabilities {
    /// The one whose values are rules.
    pub rules: String,
    /// The one whose values are oversight.
    pub oversight: String,
}

/// A list of texts, and where it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct List {
    pub(crate) at: usize,
    pub(crate) items: Vec<Item>,
}

/// A text, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) at: usize,
    pub(crate) text: String,
}

/// A selector, and where it is.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) at: usize,
    pub(crate) selector: Selector,
}

/// A grant with values of either capability.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant {
    pub(crate) at: usize,
    pub(crate) src: Vec<Target>,
    pub(crate) dst: Vec<Target>,
    /// Whether it is for what goes through certain nodes.
    pub(crate) via: bool,
    /// The postures that a device must have, by name.
    pub(crate) postures: Vec<String>,
    pub(crate) rules: Vec<RuleValue>,
    pub(crate) oversight: Vec<OversightValue>,
}

/// A value of a capability as the server gets it, and where it and its fields are.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    pub(crate) at: usize,
    pub(crate) text: String,
    pub(crate) fields: Vec<Item>,
}

/// A value of the capability with rules.
#[derive(Clone, Debug)]
pub(crate) struct RuleValue {
    pub(crate) raw: Raw,
    pub(crate) rule: Result<Rule, RuleError>,
}

/// A value of the capability of oversight.
#[derive(Clone, Debug)]
pub(crate) struct OversightValue {
    pub(crate) raw: Raw,
    /// Why it gives nothing.
    pub(crate) refused: Option<OversightError>,
}

// === impl Capabilities ===

impl Capabilities {
    /// Those of a server that is configured with this capability for rules.
    #[must_use]
    pub fn of(rules: &str) -> Self {
        Self {
            rules: rules.to_owned(),
            oversight: oversight::capability(rules),
        }
    }
}

impl Default for Capabilities {
    fn default() -> Self {
        Self::of(CAPABILITY)
    }
}

// === impl Raw ===

impl Raw {
    /// Where the thing is that an error speaks of: its first word in backticks is a field. The value itself if there is no such field.
    pub(crate) fn place_of(&self, error: &str) -> usize {
        let named = error.split('`').nth(1).unwrap_or_default();
        let name = named.split(['.', ':', '[']).next().unwrap_or_default();
        // A field that is there twice is wrong at its second place.
        let field = self.fields.iter().rev().find(|field| field.text == name);
        field.map_or(self.at, |field| field.at)
    }
}

// === impl RuleValue, OversightValue ===

impl RuleValue {
    pub(crate) fn new(raw: Raw) -> Self {
        let rule = Rule::parse(&raw.text);
        Self { raw, rule }
    }

    /// Where one of its fields is; the value itself if it does not have it.
    pub(crate) fn field(&self, name: &str) -> usize {
        let field = self.raw.fields.iter().find(|field| field.text == name);
        field.map_or(self.raw.at, |field| field.at)
    }
}

impl OversightValue {
    pub(crate) fn new(raw: Raw) -> Self {
        // Whose it is decides what it gives, and not whether it can be read.
        let (_, refused) = Oversight::parse(&Identity::user(0, ""), [raw.text.as_str()]);
        let refused = refused.into_iter().next();
        Self { raw, refused }
    }
}
