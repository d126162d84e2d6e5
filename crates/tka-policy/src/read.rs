//! From text to [`Policy`].

use std::collections::{HashMap, HashSet};

use jsonc_parser::ast::{Object, Value};
use jsonc_parser::common::Ranged;

use crate::dialect::Dialect;
use crate::finding::{Found, Kind};
use crate::hujson::{self, SyntaxError, compact, field, kind, string};
use crate::names;
use crate::net::Range;
use crate::policy::{Capabilities, Grant, Item, List, OversightValue, Policy, Raw, RuleValue, Target};
use crate::selector::Selector;

/// What a field must be.
const STRINGS: &str = "a list of strings";
const OBJECT: &str = "an object";

/// Reads on, and remembers what is wrong.
struct Reader<'t> {
    text: &'t str,
    capabilities: &'t Capabilities,
    policy: Policy,
}

impl Policy {
    /// Reads a policy. What has another shape than it must have is left out, and is among its findings.
    pub fn parse(text: &str, dialect: Dialect, capabilities: &Capabilities) -> Result<Self, SyntaxError> {
        let value = hujson::parse(text)?;
        let policy = Self {
            dialect,
            ..Self::default()
        };
        let mut reader = Reader {
            text,
            capabilities,
            policy,
        };
        reader.duplicates(&value);
        match &value {
            Value::Object(document) => reader.document(document),
            other => reader.shape(other, "the policy", OBJECT),
        }
        let mut policy = reader.policy;
        names::check(&mut policy);
        Ok(policy)
    }
}

impl Reader<'_> {
    fn found(&mut self, at: usize, kind: Kind, message: String) {
        self.policy.found.push(Found::error(at, kind, message));
    }

    fn shape(&mut self, value: &Value<'_>, what: &str, expected: &str) {
        let message = format!("{what} is {}, and must be {expected}", kind(value));
        self.found(value.start(), Kind::Shape, message);
    }

    /// Both control servers refuse a policy with a field that is there twice (<https://github.com/tailscale/tailscale/issues/2807>).
    fn duplicates(&mut self, value: &Value<'_>) {
        match value {
            Value::Array(array) => array.elements.iter().for_each(|element| self.duplicates(element)),
            Value::Object(object) => {
                let mut seen = HashSet::new();
                for member in &object.properties {
                    let name = member.name.as_str();
                    if !seen.insert(name) {
                        let message = format!(
                            "the field {:?} is there twice: the control server refuses such a policy",
                            tka_core::shorten(name)
                        );
                        self.found(member.range.start, Kind::DuplicateKey, message);
                    }
                    self.duplicates(&member.value);
                }
            }
            _ => {}
        }
    }

    fn document(&mut self, document: &Object<'_>) {
        let dialect = self.policy.dialect;
        self.known(document, |name| dialect.has_section(name), "section");
        self.policy.groups = self.lists_of(document, "groups");
        self.policy.ip_sets = self.lists_of(document, "ipsets");
        self.policy.tags = self.lists_of(document, "tagOwners");
        if let Some(hosts) = self.object(document, "hosts") {
            self.hosts(hosts);
        }
        let postures = self.texts_of(document, "defaultSrcPosture");
        for (at, grant) in self.elements(document, "grants") {
            self.grant(at, grant, &postures);
        }
        for (at, entry) in self.elements(document, "nodeAttrs") {
            self.node_attribute(at, entry);
        }
    }

    /// Tells of fields that the control server does not know. headscale refuses the policy then.
    fn known(&mut self, object: &Object<'_>, is_known: impl Fn(&str) -> bool, what: &str) {
        let dialect = self.policy.dialect;
        for member in &object.properties {
            let name = member.name.as_str();
            if is_known(name) {
                continue;
            }
            let shown = tka_core::shorten(name);
            let (at, kind) = (member.range.start, Kind::UnknownField);
            self.policy.found.push(match dialect {
                Dialect::Headscale => Found::error(
                    at,
                    kind,
                    format!("unknown field: {shown:?}: headscale refuses the policy"),
                ),
                Dialect::Tailscale => Found::warning(at, kind, format!("Tailscale documents no {what} {shown:?}")),
            });
        }
    }

    fn object<'v, 'a>(&mut self, object: &'v Object<'a>, name: &str) -> Option<&'v Object<'a>> {
        match field(object, name)?.1 {
            Value::Object(found) => Some(found),
            Value::NullKeyword(_) => None,
            other => {
                self.shape(other, &format!("`{name}`"), OBJECT);
                None
            }
        }
    }

    /// The objects in the list of that name.
    fn elements<'v, 'a>(&mut self, object: &'v Object<'a>, name: &str) -> Vec<(usize, &'v Object<'a>)> {
        let mut objects = Vec::new();
        match field(object, name) {
            None | Some((_, Value::NullKeyword(_))) => {}
            Some((_, Value::Array(list))) => {
                for element in &list.elements {
                    match element {
                        Value::Object(found) => objects.push((found.range.start, found)),
                        other => self.shape(other, &format!("an element of `{name}`"), OBJECT),
                    }
                }
            }
            Some((_, other)) => self.shape(other, &format!("`{name}`"), "a list of objects"),
        }
        objects
    }

    fn texts(&mut self, value: &Value<'_>, what: &str) -> Vec<Item> {
        let Value::Array(list) = value else {
            self.shape(value, what, STRINGS);
            return Vec::new();
        };
        let mut items = Vec::with_capacity(list.elements.len());
        for element in &list.elements {
            match string(element) {
                Some(text) => items.push(Item {
                    at: element.start(),
                    text: text.to_owned(),
                }),
                None => self.shape(element, &format!("an element of {what}"), "a string"),
            }
        }
        items
    }

    fn texts_of(&mut self, object: &Object<'_>, name: &str) -> Vec<Item> {
        match field(object, name) {
            None | Some((_, Value::NullKeyword(_))) => Vec::new(),
            Some((_, value)) => self.texts(value, &format!("`{name}`")),
        }
    }

    fn lists_of(&mut self, document: &Object<'_>, section: &str) -> HashMap<String, List> {
        let Some(object) = self.object(document, section) else {
            return HashMap::new();
        };
        let mut lists = HashMap::with_capacity(object.properties.len());
        for member in &object.properties {
            let name = member.name.as_str();
            let items = self.texts(&member.value, &format!("{:?} of `{section}`", tka_core::shorten(name)));
            let at = member.range.start;
            lists.insert(name.to_owned(), List { at, items });
        }
        lists
    }

    fn hosts(&mut self, hosts: &Object<'_>) {
        for member in &hosts.properties {
            let name = member.name.as_str();
            let what = format!("{:?} of `hosts`", tka_core::shorten(name));
            match string(&member.value).map(Range::parse) {
                Some(Some(range)) => {
                    self.policy.hosts.insert(name.to_owned(), range);
                }
                Some(None) => {
                    let message =
                        format!("{what} is no address and no prefix: write one such as 100.64.0.7 or 10.0.0.0/8");
                    self.found(member.value.start(), Kind::Shape, message);
                }
                None => self.shape(&member.value, &what, "a string"),
            }
        }
    }

    fn targets(&mut self, object: &Object<'_>, name: &str) -> Vec<Target> {
        let dialect = self.policy.dialect;
        let texts = self.texts_of(object, name);
        let target = |item: Item| Target {
            at: item.at,
            selector: Selector::parse(&item.text, dialect),
        };
        texts.into_iter().map(target).collect()
    }

    fn grant(&mut self, at: usize, grant: &Object<'_>, defaults: &[Item]) {
        let dialect = self.policy.dialect;
        self.known(grant, |name| dialect.has_grant_field(name), "field of a grant");
        let mut postures = self.texts_of(grant, "srcPosture");
        if postures.is_empty() && field(grant, "srcPosture").is_none() {
            postures = defaults.to_vec();
        }
        let (rules, oversight) = self.values(grant);
        let read = Grant {
            at,
            src: self.targets(grant, "src"),
            dst: self.targets(grant, "dst"),
            via: !self.texts_of(grant, "via").is_empty(),
            postures: postures.into_iter().map(|posture| posture.text).collect(),
            rules,
            oversight,
        };
        names::check_grant(
            &mut self.policy,
            &read,
            field(grant, "app").is_some(),
            field(grant, "ip").is_some(),
        );
        if !read.rules.is_empty() || !read.oversight.is_empty() {
            self.policy.grants.push(read);
        }
    }

    fn node_attribute(&mut self, at: usize, entry: &Object<'_>) {
        let dialect = self.policy.dialect;
        self.known(
            entry,
            |name| dialect.has_node_attribute_field(name),
            "field of a node attribute",
        );
        let (rules, oversight) = self.values(entry);
        if !rules.is_empty() || !oversight.is_empty() {
            self.policy.misplaced.push(Grant {
                at,
                rules,
                oversight,
                ..Grant::default()
            });
        }
    }

    /// The values of both capabilities below `app`.
    fn values(&mut self, object: &Object<'_>) -> (Vec<RuleValue>, Vec<OversightValue>) {
        let Some(app) = self.object(object, "app") else {
            return (Vec::new(), Vec::new());
        };
        let Capabilities { rules, oversight } = self.capabilities;
        let rules = self.raw(app, rules).into_iter().map(RuleValue::new);
        let rules = rules.collect();
        let oversight = self.raw(app, oversight).into_iter().map(OversightValue::new);
        (rules, oversight.collect())
    }

    fn raw(&mut self, app: &Object<'_>, capability: &str) -> Vec<Raw> {
        // Names of capabilities are no field names: their case counts.
        let mut members = app.properties.iter().rev();
        let Some(member) = members.find(|member| member.name.as_str() == capability) else {
            return Vec::new();
        };
        match &member.value {
            Value::Array(list) => list.elements.iter().map(|value| self.value(value)).collect(),
            Value::NullKeyword(_) => Vec::new(),
            other => {
                self.shape(other, &format!("`{capability}`"), "a list of values");
                Vec::new()
            }
        }
    }

    fn value(&self, value: &Value<'_>) -> Raw {
        let members = match value {
            Value::Object(object) => object.properties.as_slice(),
            _ => &[],
        };
        let fields = members.iter().map(|member| Item {
            at: member.range.start,
            text: member.name.as_str().to_owned(),
        });
        Raw {
            at: value.start(),
            text: compact(self.text, value),
            fields: fields.collect(),
        }
    }
}
