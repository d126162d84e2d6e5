//! A YAML file as a tree in which each key and value knows its line.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Error, Spanned};

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    /// Settings below it, in their order.
    Map(Vec<KeyValue>),
    /// Anything else; null where there is nothing.
    Value(Value),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct KeyValue {
    pub(super) name: String,
    /// The line of the key, from 1.
    pub(super) line: Option<u64>,
    pub(super) value: Node,
}

/// Why a text is no tree of settings.
#[derive(Debug)]
pub(super) struct NotYaml {
    pub(super) line: Option<u64>,
    pub(super) why: String,
}

/// Reads a file. An empty one is an empty configuration.
pub(super) fn read(text: &str) -> Result<Vec<KeyValue>, NotYaml> {
    let options = serde_saphyr::options! {
        // An excerpt of the file might show a secret that was put into it by mistake.
        with_snippet: false,
        // A label that says `no` or `y` is a text, as it is to the original.
        strict_booleans: true,
    };
    let node: Option<Node> =
        serde_saphyr::from_str_with_options(text, options).map_err(|error| NotYaml::from(&error))?;
    match node {
        Some(Node::Map(entries)) => Ok(entries),
        None | Some(Node::Value(Value::Null)) => Ok(Vec::new()),
        Some(Node::Value(_)) => Err(NotYaml {
            line: None,
            why: "it holds one value where settings are expected, each as `key: value`".into(),
        }),
    }
}

impl From<&Error> for NotYaml {
    fn from(error: &Error) -> Self {
        Self {
            line: error.location().map(|location| location.line()),
            why: error.to_string(),
        }
    }
}

// === impl Node ===

impl Node {
    /// The same without lines.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Map(entries) => entries
                .into_iter()
                .map(|entry| (entry.name, entry.value.into_value()))
                .collect(),
            Self::Value(value) => value,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings, each as `key: value`")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    /// JSON has no infinity; as text it is no number to any key.
    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        let number = serde_json::Number::from_f64(value);
        Ok(Node::Value(
            number.map_or_else(|| value.to_string().into(), Value::Number),
        ))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Value(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Value(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Value(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Node>()? {
            items.push(item.into_value());
        }
        Ok(Node::Value(items.into()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<Spanned<String>>()? {
            let line = name.referenced.line();
            entries.push(KeyValue {
                name: name.value,
                line: (line > 0).then_some(line),
                value: map.next_value()?,
            });
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_know_their_lines() {
        let text = "# a comment\na: 1\n\nb:\n  c: [x, {y: z}]\n  d:\n";
        let entries = read(text).unwrap();
        let lines = |entries: &[KeyValue]| {
            let lines = entries.iter().map(|entry| (entry.name.clone(), entry.line));
            lines.collect::<Vec<_>>()
        };
        assert_eq!(lines(&entries), [("a".into(), Some(2)), ("b".into(), Some(4))]);
        let Node::Map(inner) = &entries[1].value else {
            panic!("{entries:?}")
        };
        assert_eq!(lines(inner), [("c".into(), Some(5)), ("d".into(), Some(6))]);
        assert_eq!(
            inner[0].value.clone().into_value(),
            serde_json::json!(["x", {"y": "z"}])
        );
    }

    #[test]
    fn words_are_no_switches() {
        let value = |text| read(text).unwrap().remove(0).value.into_value();
        assert_eq!(["a: y", "a: no", "a: on"].map(value), ["y", "no", "on"]);
        assert_eq!(["a: true", "a: False"].map(value), [true, false]);
    }

    #[test]
    fn what_is_no_yaml_has_a_line() {
        assert_eq!(read("a: 1\nb: [\n").unwrap_err().line, Some(2));
        assert_eq!(read("a: 1\na: 2\n").unwrap_err().line, Some(2), "given twice");
        assert!(read("- 1").is_err() && read("text").is_err());
        for empty in ["", "# nothing\n", "~", "---\n"] {
            assert!(read(empty).unwrap().is_empty(), "{empty:?}");
        }
    }
}
