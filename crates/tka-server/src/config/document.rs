//! A YAML file as a tree in which each key and value knows its line.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::{Error, Localizer, Location, Spanned, UserMessageFormatter};

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
pub(super) struct NoSettings {
    pub(super) line: Option<u64>,
    pub(super) why: String,
}

/// Reads a file. An empty one is an empty configuration, and empty documents beside the configuration, as a last line `---` makes one, say nothing.
pub(super) fn read(text: &str) -> Result<Vec<KeyValue>, NoSettings> {
    let options = serde_saphyr::options! {
        // An excerpt of the file might show a secret that was put into it by mistake.
        with_snippet: false,
        // A label that says `no` or `y` is a text, as it is to the original.
        strict_booleans: true,
    };
    let documents: Vec<Node> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| NoSettings::from(&error))?;
    let mut documents = documents.into_iter().map(settings);
    let entries = documents.next().transpose()?.unwrap_or_default();
    let Some(other) = documents.next().transpose()? else {
        return Ok(entries);
    };
    Err(NoSettings {
        line: other.first().and_then(|entry| entry.line),
        why: "another YAML document begins, and one alone can be the configuration: put all settings into one".into(),
    })
}

/// What a document says.
fn settings(document: Node) -> Result<Vec<KeyValue>, NoSettings> {
    let is = match document {
        Node::Map(entries) => return Ok(entries),
        Node::Value(Value::Array(_)) => "a list",
        Node::Value(_) => "a single value",
    };
    Err(NoSettings {
        line: None,
        why: format!("it is not YAML of settings, each as `key: value`: it is {is}"),
    })
}

/// In the words of those who write the file: the library's own speak to programmers.
impl From<&Error> for NoSettings {
    fn from(error: &Error) -> Self {
        let said = || error.render_with_formatter(&UserMessageFormatter.with_localizer(&ColumnOnly));
        let why = match error {
            Error::DuplicateMappingKey { .. } => "the key is given twice in its section: leave one out".into(),
            Error::NullIntoString { .. } => "a key is empty: write each setting as `key: value`".into(),
            Error::UnknownAnchor { .. } => {
                "there is no anchor of that name: a text that begins with `*` is put into quotes".into()
            }
            Error::Budget { .. }
            | Error::AliasReplayCounterOverflow { .. }
            | Error::AliasReplayLimitExceeded { .. }
            | Error::AliasExpansionLimitExceeded { .. }
            | Error::AliasReplayStackDepthExceeded { .. } => {
                "it has more values, levels or aliases than a configuration can have".into()
            }
            Error::ExternalMessage { .. }
            | Error::Eof { .. }
            | Error::ContainerEndMismatch { .. }
            | Error::FoldedBlockScalarMustIndentContent { .. } => format!("it is not YAML: {}", said()),
            _ => format!("it cannot be read: {}", said()),
        };
        Self {
            line: error.location().map(|location| location.line()),
            why,
        }
    }
}

/// Says the column of an error alone: its line stands at the beginning.
struct ColumnOnly;

impl Localizer for ColumnOnly {
    fn attach_location<'a>(&self, base: Cow<'a, str>, location: Location) -> Cow<'a, str> {
        if location == Location::UNKNOWN {
            return base;
        }
        format!("{base} at column {}", location.column()).into()
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

    #[test]
    fn empty_documents_say_nothing() {
        for text in [
            "a: 1\n---\n",
            "a: 1\n---",
            "---\na: 1\n---\n---\n",
            "---\n# the first\n---\na: 1\n...\n",
            "~\n---\na: 1\n--- ~\n",
        ] {
            let entries = read(text).unwrap();
            assert_eq!((entries.len(), &*entries[0].name), (1, "a"), "{text:?}");
        }
        for text in ["---\n---\n", "--- ~\n--- null\n"] {
            assert!(read(text).unwrap().is_empty(), "{text:?}");
        }
        let two = read("a: 1\n---\n---\n\na: 2\n").unwrap_err();
        assert!(two.why.contains("another YAML document begins"), "{two:?}");
        assert_eq!(two.line, Some(5));
        assert!(read("a: 1\n---\n- 1\n").is_err());
    }

    #[test]
    fn errors_speak_to_those_who_write_the_file() {
        let deep = format!("a: {}1{}", "[".repeat(100), "]".repeat(100));
        let many = format!("a:\n{}", "- 1\n".repeat(300_000));
        let aliases = format!("a: &a [1]\nb:\n{}", "- *a\n".repeat(60_000));
        for (text, expected) in [
            ("a: 1\na: 2\n", "the key is given twice in its section"),
            ("a: {b: 1, b: 2}\n", "the key is given twice in its section"),
            ("~: 1\n", "a key is empty"),
            ("a: {: 1}\n", "a key is empty"),
            ("a: *b\n", "there is no anchor of that name"),
            (&deep, "more values, levels or aliases"),
            (&many, "more values, levels or aliases"),
            (&aliases, "more values, levels or aliases"),
            ("- 1\n", "each as `key: value`: it is a list"),
            ("text\n", "each as `key: value`: it is a single value"),
            ("a: [\n", "it is not YAML: "),
            ("a: 'b\n", "it is not YAML: "),
            ("a: b: c\n", "it is not YAML: "),
            ("[a]: 1\n", ""),
            ("a: !!binary x\n", ""),
            ("a: !b c\n<<: 1\n", ""),
            ("a: >\nb\n", ""),
        ] {
            let error = read(text).unwrap_err();
            let NoSettings { line, why } = &error;
            let start = &text[..text.len().min(20)];
            assert!(why.contains(expected), "{start:?}: {why}");
            for word in [
                "Options",
                "Option<",
                "Policy",
                "budget",
                "breach",
                "deserialize",
                "from_",
                "line ",
            ] {
                assert!(!why.contains(word), "{start:?}: {why}");
            }
            assert!(line.is_some() || why.contains("key: value"), "{start:?}: {why}");
        }
    }
}
