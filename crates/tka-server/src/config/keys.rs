//! The keys, as the type of the configuration has them: read from its schema, once.

use std::fmt::Write as _;
use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::sections::Config;

/// A setting: a key under which nothing nests that is a key itself.
#[derive(Clone, Debug)]
pub struct Key {
    /// As a file nests it: `tailscale.port`.
    pub name: String,
    /// What the schema says of it.
    pub schema: Value,
}

/// All keys, in alphabetical order.
#[derive(Debug)]
pub struct Keys {
    settings: Vec<Key>,
    sections: Vec<String>,
    schema: Value,
}

/// What a name in a file is.
#[derive(Clone, Copy, Debug)]
pub enum KeyKind {
    /// It nests others.
    Section(&'static str),
    /// It has a value.
    Setting(&'static Key),
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    Keys::of(settings.into_generator().into_root_schema_for::<Config>().to_value())
});

/// All keys.
#[must_use]
pub fn keys() -> &'static Keys {
    &KEYS
}

// === impl Keys ===

impl Keys {
    pub(super) fn of(schema: Value) -> Self {
        let mut keys = Self {
            settings: Vec::new(),
            sections: Vec::new(),
            schema: Value::Null,
        };
        keys.collect(&schema, "");
        keys.settings.sort_by(|a, b| a.name.cmp(&b.name));
        keys.schema = schema;
        keys
    }

    fn collect(&mut self, schema: &Value, prefix: &str) {
        for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
            let name = join(prefix, name);
            if inner["properties"].is_object() {
                self.collect(inner, &name);
                self.sections.push(name);
            } else {
                let schema = inner.clone();
                self.settings.push(Key { name, schema });
            }
        }
    }

    /// All settings.
    #[must_use]
    pub fn settings(&self) -> &[Key] {
        &self.settings
    }

    /// The schema that they are from, with its marks.
    #[must_use]
    pub fn schema(&self) -> &Value {
        &self.schema
    }

    /// All names that a file may have.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let settings = self.settings.iter().map(|key| key.name.as_str());
        settings.chain(self.sections.iter().map(String::as_str))
    }

    /// What is directly below `section`.
    pub(super) fn below(&self, section: &str) -> Vec<&str> {
        let name = |name: &'_ str| {
            let rest = name.strip_prefix(section)?.strip_prefix('.')?;
            (!rest.contains('.')).then_some(rest.len())
        };
        let below = self.names().filter_map(|full| Some(&full[full.len() - name(full)?..]));
        below.collect()
    }
}

impl Keys {
    /// What `name` is, in whatever case: the original reads its file so, and writes it in lower case.
    #[must_use]
    pub fn find(&'static self, name: &str) -> Option<KeyKind> {
        let mut settings = self.settings.iter();
        let setting = settings.find(|key| key.name.eq_ignore_ascii_case(name));
        let mut sections = self.sections.iter();
        let section = sections.find(|section| section.eq_ignore_ascii_case(name));
        let section = section.map(|section| KeyKind::Section(section));
        setting.map(KeyKind::Setting).or(section)
    }
}

// === impl Key ===

impl Key {
    fn is_marked(&self, mark: &str) -> bool {
        self.schema[mark] == true
    }

    /// Whether a change of it holds without a restart.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.is_marked("x-live")
    }

    /// Whether the server does not look at it.
    #[must_use]
    pub fn is_ignored(&self) -> bool {
        self.is_marked("x-inert")
    }

    /// Whether the Helm chart knows it itself.
    #[must_use]
    pub fn is_of_chart(&self) -> bool {
        self.is_marked("x-chart")
    }

    /// What it means.
    #[must_use]
    pub fn meaning(&self) -> String {
        self.schema["description"]
            .as_str()
            .unwrap_or_default()
            .replace('\n', " ")
    }

    /// Whether its values are numbers or switches; all others are text, be it text that looks like a number.
    pub(super) fn is_typed(&self) -> bool {
        ["integer", "boolean"].iter().any(|name| self.schema["type"] == **name)
    }

    /// Whether it may be there without a value: it holds labels, as a section holds settings, or is not looked at. An empty list is written `[]`.
    pub(super) fn may_be_empty(&self) -> bool {
        self.is_ignored() || self.schema["type"] == "object"
    }

    /// Whether it is a list that must not be there without an item: to take that for the default would lift what it restricts.
    pub(super) fn must_have_items(&self) -> bool {
        self.schema["minItems"].as_u64().is_some_and(|least| least > 0)
    }

    /// The variable of the environment that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("TKA_{}", self.name.to_ascii_uppercase().replace('.', "_"))
    }

    /// Which values it takes, where its type says that in a few words.
    pub(super) fn expected(&self) -> Option<String> {
        if let Some(words) = self.schema["enum"].as_array() {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            return Some(words.join(" or "));
        }
        match self.schema["type"].as_str()? {
            "boolean" => Some("true or false".into()),
            "string" => Some("a text".into()),
            "integer" => {
                let mut expected = "a whole number".to_owned();
                let (min, max) = (self.schema["minimum"].as_u64(), max_of(&self.schema));
                let _ = match (min, max) {
                    (Some(min), Some(max)) => write!(expected, " from {min} to {max}"),
                    (Some(min), None) => write!(expected, " from {min}"),
                    _ => Ok(()),
                };
                Some(expected)
            }
            _ => None,
        }
    }
}

/// The largest number that `schema` takes.
pub(super) fn max_of(schema: &Value) -> Option<u64> {
    let of_format = match schema["format"].as_str() {
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint16") => Some(u64::from(u16::MAX)),
        _ => None,
    };
    schema["maximum"].as_u64().or(of_format)
}

/// `name` below `prefix`.
pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() {
        return name.to_owned();
    }
    format!("{prefix}.{name}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_keys_differ_by_case_or_by_variable() {
        let names: Vec<_> = keys().names().map(str::to_ascii_lowercase).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        let variables: BTreeSet<_> = keys().settings().iter().map(Key::variable).collect();
        assert_eq!(variables.len(), keys().settings().len());
    }

    #[test]
    fn every_key_says_what_it_means() {
        for key in keys().settings() {
            assert!(key.meaning().len() > 20 && key.meaning().ends_with('.'), "{}", key.name);
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        let found = |name| match keys().find(name) {
            Some(KeyKind::Setting(key)) => key.name.as_str(),
            Some(KeyKind::Section(section)) => section,
            None => "",
        };
        assert_eq!(found("api.retryafterseconds"), "api.retryAfterSeconds");
        assert_eq!((found("CLUSTERINFO"), found("port")), ("clusterInfo", ""));
        assert_eq!(keys().below("server.rateLimit"), ["burst", "requestsPerSecond"]);
    }
}
