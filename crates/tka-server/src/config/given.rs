//! What the layers give: one value a key, each checked by itself, so that all that is wrong is found and not only the first.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tka_core::shorten;

use super::document::{KeyValue, Node};
use super::keys::{Key, KeyKind, join, keys};
use super::nearest::nearest;
use super::problem::{ConfigError, Location, Problem, Problems};
use super::sections::Config;

/// Settings, and what is wrong with what was given.
#[derive(Debug, Default)]
pub(super) struct ParsedSettings {
    settings: BTreeMap<&'static str, (Value, Location)>,
    problems: Vec<Problem>,
}

// === impl ParsedSettings ===

impl ParsedSettings {
    /// Takes a file's settings.
    pub(super) fn file(&mut self, name: &str, entries: Vec<KeyValue>) {
        self.section(name, "", entries);
    }

    fn section(&mut self, file: &str, section: &str, entries: Vec<KeyValue>) {
        for KeyValue { name, line, value } in entries {
            let place = Location::File {
                name: file.to_owned(),
                line,
            };
            let name = join(section, &name);
            match (keys().find(&name), value) {
                (None, _) => self.unknown(place, &name),
                (Some(KeyKind::Section(section)), Node::Map(entries)) => self.section(file, section, entries),
                // Its defaults.
                (Some(KeyKind::Section(_)), Node::Value(Value::Null)) => {}
                (Some(KeyKind::Section(section)), Node::Value(_)) => {
                    let below = keys().below(section).join(", ");
                    self.wrong(
                        place,
                        section,
                        format!("it takes no value, but settings below it: {below}"),
                    );
                }
                (Some(KeyKind::Setting(key)), value) => self.in_file(key, value.into_value(), place),
            }
        }
    }

    fn in_file(&mut self, key: &'static Key, value: Value, place: Location) {
        if let Some((_, Location::File { line, .. })) = self.settings.get(key.name.as_str()) {
            let line = line.map_or_else(String::new, |line| format!(", on line {line} before"));
            return self.wrong(place, &key.name, format!("it is given twice{line}: leave one out"));
        }
        if value.is_null() {
            if !key.may_be_empty() {
                // To take it for the default might lift what it was meant to limit.
                let why = "it is empty: give it a value, or leave it out for the default";
                self.wrong(place, &key.name, why.into());
            }
            return;
        }
        let value = match value {
            Value::String(text) if key.is_typed() => unquoted(&text),
            value => value,
        };
        self.take(key, value, place);
    }

    /// Takes a text for `key` from the environment or a flag. It is over what was given before.
    pub(super) fn text(&mut self, key: &'static Key, text: &str, place: Location) {
        let value = if key.is_typed() {
            unquoted(without_quotes(text.trim()))
        } else {
            text.into()
        };
        self.take(key, value, place);
    }

    fn take(&mut self, key: &'static Key, value: Value, place: Location) {
        match check(key, &value) {
            Ok(()) => drop(self.settings.insert(&key.name, (value, place))),
            Err(why) => self.wrong(place, &key.name, why),
        }
    }

    fn unknown(&mut self, place: Location, name: &str) {
        let meant = nearest(name).join(" or ");
        let why = if meant.is_empty() {
            "there is no such key: docs/configuration.md has them all".to_owned()
        } else {
            format!("there is no such key; did you mean {meant}?")
        };
        self.wrong(place, &shorten(name), why);
    }

    fn wrong(&mut self, place: Location, key: &str, why: String) {
        let key = key.to_owned();
        self.problems.push(Problem { place, key, why });
    }

    /// What is about `section`, right or wrong.
    pub(super) fn of_section(mut self, section: &str) -> Self {
        let is_of = |rest: &str| rest.is_empty() || rest.starts_with('.');
        let is_below = |key: &str| key.strip_prefix(section).is_some_and(is_of);
        self.settings.retain(|key, _| is_below(key));
        self.problems.retain(|problem| is_below(&problem.key));
        self
    }

    /// The configuration, and where each of its settings stands.
    pub(super) fn config(self) -> Result<(Config, BTreeMap<&'static str, Location>), ConfigError> {
        if !self.problems.is_empty() {
            return Err(ConfigError::Wrong(Problems(self.problems)));
        }
        let mut tree = Value::Object(Map::new());
        for (name, (value, _)) in &self.settings {
            insert(&mut tree, name, value.clone());
        }
        let config = serde_path_to_error::deserialize(tree).map_err(|error| {
            // Each setting was taken by itself, so that this is none of one alone.
            let (key, why) = (error.path().to_string(), error.inner().to_string());
            let place = self.settings.get(key.as_str()).map(|(_, place)| place.clone());
            let place = place.unwrap_or(Location::Flags);
            ConfigError::Wrong(Problems(vec![Problem { place, key, why }]))
        })?;
        let places = self.settings.into_iter().map(|(name, (_, place))| (name, place));
        Ok((config, places.collect()))
    }
}

/// Whether the type takes `value` for `key`, or why not and what it takes.
fn check(key: &Key, value: &Value) -> Result<(), String> {
    let mut tree = Value::Object(Map::new());
    insert(&mut tree, &key.name, value.clone());
    let Err(error) = serde_json::from_value::<Config>(tree) else {
        return Ok(());
    };
    let is_of_type = match value {
        Value::String(_) => !key.is_typed() && key.schema["enum"].is_null(),
        Value::Array(_) | Value::Object(_) => key.schema["type"] != "string",
        _ => false,
    };
    let Some(expected) = key.expected().filter(|_| !is_of_type) else {
        return Err(error.to_string());
    };
    let whole = whole(value).filter(|_| expected.starts_with("a whole number"));
    if let Some(number) = whole.filter(|number| check(key, &Value::from(*number)).is_ok()) {
        return Err(format!(
            "it takes {expected}, without a zero before it and without a fraction: write {number}"
        ));
    }
    let is = match value {
        Value::String(text) => format!("{:?}", shorten(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a section".to_owned(),
        value => value.to_string(),
    };
    let is_scalar = matches!(value, Value::Number(_) | Value::Bool(_));
    let advice = if is_scalar && expected == "a text" {
        // As a text it may be wrong too: a duration has a unit.
        check(key, &value.to_string().into())?;
        ": put it into quotes"
    } else {
        ""
    };
    Err(format!("it takes {expected}, and not {is}{advice}"))
}

/// The number that `0443`, which YAML takes for a fraction, or `443.0` may mean, in quotes or not.
fn whole(value: &Value) -> Option<u64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_f64() => number.to_string(),
        _ => return None,
    };
    let digits = text.strip_suffix(".0").unwrap_or(&text);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Puts `value` under `name`, whose parts are objects in `tree`.
pub(super) fn insert(tree: &mut Value, name: &str, value: Value) {
    let mut place = tree;
    for part in name.split('.') {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[part];
    }
    *place = value;
}

/// A number or a switch as the text says it, if that is all it says: neither ` 443` nor `0x1bb` nor `yes`.
fn unquoted(text: &str) -> Value {
    match text {
        "true" => Value::from(true),
        "false" => Value::from(false),
        _ => match text.parse::<u64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => Value::from(text),
        },
    }
}

/// A variable may be quoted as in a file.
fn without_quotes(text: &str) -> &str {
    let inner = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inner('"').or_else(|| inner('\'')).unwrap_or(text)
}
