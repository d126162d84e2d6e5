//! What a YAML document says once kubectl has turned it into JSON: aliases followed, keys merged, of two equal keys the last.
//!
//! The rules are those of <https://github.com/yaml/go-yaml/blob/v2.4.3/decode.go> and of
//! <https://github.com/kubernetes-sigs/yaml/blob/v1.6.0/yaml.go>.

use std::collections::BTreeMap;

use crate::Unreadable;
use crate::scalar::{Scalar, resolve};
use crate::yaml::{Kind, Node};

/// A value, and the line where it is written.
#[derive(Debug)]
pub(crate) struct Value {
    pub(crate) line: usize,
    pub(crate) says: ValueKind,
}

#[derive(Debug)]
pub(crate) enum ValueKind {
    Scalar(Scalar),
    List(Vec<Value>),
    Map(BTreeMap<Key, Value>),
}

/// A key of a map. JSON has texts only; others stand for the text that they look like.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Key {
    Text(String),
    Other(String),
    /// What cannot be one in JSON.
    None,
}

/// Keeps kubectl's count of how much of a document is repeated by aliases.
#[derive(Default)]
struct Decoder {
    steps: u32,
    steps_in_aliases: u32,
    depth: u32,
}

/// What `root` says.
pub(crate) fn value(root: &Node) -> Result<Value, Unreadable> {
    let value = Decoder::default().decode(root)?;
    value.check_json()?;
    Ok(value)
}

// === impl Decoder ===

impl Decoder {
    fn decode(&mut self, node: &Node) -> Result<Value, Unreadable> {
        self.count(node)?;
        let says = match &node.kind {
            Kind::Alias { target, .. } => {
                self.depth += 1;
                let value = self.decode(target);
                self.depth -= 1;
                return value;
            }
            Kind::Scalar { text, is_plain } => ValueKind::Scalar(scalar(node, text, *is_plain)?),
            Kind::Sequence { items, .. } => {
                let items = items.iter().map(|item| self.decode(item));
                ValueKind::List(items.collect::<Result<_, _>>()?)
            }
            Kind::Mapping { .. } => {
                let mut map = BTreeMap::new();
                self.decode_entries(node, &mut map)?;
                ValueKind::Map(map)
            }
        };
        Ok(Value { line: node.line, says })
    }

    /// Of two equal keys the last counts, also where one of them is merged.
    fn decode_entries(&mut self, node: &Node, map: &mut BTreeMap<Key, Value>) -> Result<(), Unreadable> {
        let Kind::Mapping { entries, .. } = &node.kind else {
            return Err(not_merged(node));
        };
        for (key, value) in entries {
            if key.is_merge() {
                self.merge(value, map)?;
                continue;
            }
            let key = self.decode(key)?.into_key()?;
            let value = self.decode(value)?;
            map.insert(key, value);
        }
        Ok(())
    }

    fn merge(&mut self, node: &Node, map: &mut BTreeMap<Key, Value>) -> Result<(), Unreadable> {
        match &node.kind {
            // The first of several counts.
            Kind::Sequence { items, .. } => items.iter().rev().try_for_each(|item| self.merge_one(item, map)),
            _ => self.merge_one(node, map),
        }
    }

    fn merge_one(&mut self, node: &Node, map: &mut BTreeMap<Key, Value>) -> Result<(), Unreadable> {
        self.count(node)?;
        match &node.kind {
            Kind::Alias { target, .. } => {
                self.depth += 1;
                self.count(target)?;
                let merged = self.decode_entries(target, map);
                self.depth -= 1;
                merged
            }
            _ => self.decode_entries(node, map),
        }
    }

    /// Refuses a document that aliases make far longer than it is.
    fn count(&mut self, node: &Node) -> Result<(), Unreadable> {
        self.steps += 1;
        if self.depth > 0 {
            self.steps_in_aliases += 1;
        }
        let ratio = f64::from(self.steps_in_aliases) / f64::from(self.steps);
        if self.steps_in_aliases > 100 && self.steps > 1000 && ratio > allowed_ratio(self.steps) {
            return Err(Unreadable::new(node.line, "document contains excessive aliasing"));
        }
        Ok(())
    }
}

fn allowed_ratio(steps: u32) -> f64 {
    const LOW: u32 = 400_000;
    const HIGH: u32 = 4_000_000;
    match steps {
        0..=LOW => 0.99,
        HIGH.. => 0.10,
        _ => 0.99 - 0.89 * (f64::from(steps - LOW) / f64::from(HIGH - LOW)),
    }
}

fn scalar(node: &Node, text: &str, is_plain: bool) -> Result<Scalar, Unreadable> {
    resolve(text, node.tag(), is_plain).map_err(|problem| Unreadable::new(node.line, &problem))
}

fn not_merged(node: &Node) -> Unreadable {
    let problem = "map merge requires map or sequence of maps as the value";
    Unreadable::new(node.line, problem)
}

// === impl Value ===

impl Value {
    fn into_key(self) -> Result<Key, Unreadable> {
        match self.says {
            ValueKind::Scalar(Scalar::Text(text)) => Ok(Key::Text(text)),
            ValueKind::Scalar(Scalar::Null) => Ok(Key::None),
            // kubectl's YAML to JSON knows no key of that size.
            ValueKind::Scalar(Scalar::Int(number)) if number > i128::from(i64::MAX) => Ok(Key::None),
            ValueKind::Scalar(scalar) => Ok(Key::Other(format!("{scalar:?}"))),
            ValueKind::List(_) | ValueKind::Map(_) => Err(Unreadable::new(self.line, "a list or a map is no key")),
        }
    }

    /// Refuses what JSON has not, which kubectl makes of all it reads.
    fn check_json(&self) -> Result<(), Unreadable> {
        let wrong = |problem| Err(Unreadable::new(self.line, problem));
        match &self.says {
            ValueKind::Scalar(Scalar::Float(number)) if !number.is_finite() => {
                wrong("it has a number that is not finite")
            }
            ValueKind::Scalar(_) => Ok(()),
            ValueKind::List(items) => items.iter().try_for_each(Self::check_json),
            ValueKind::Map(map) if map.contains_key(&Key::None) => wrong("it has a key that is nothing"),
            ValueKind::Map(map) => map.values().try_for_each(Self::check_json),
        }
    }
}
