//! What a configuration file says, by key. The server reads the same file, and as the original did: in whatever case, and with dots or sections.

use std::path::Path;

use serde_json::{Map, Value};

use super::document;
use super::error::{ConfigError, Origin};
use super::table::KEYS;
use super::value::RawValue;

/// Keys of the server's in a section of ours, which may be in the same file. docs/configuration.md has them.
const OF_SERVER: [&str; 3] = ["tailscale.capName", "tailscale.maxUnverified", "tailscale.stateDir"];
/// How many letters a section may be off to be taken for a misspelt one of ours. All others may be the server's.
const MISSPELT: usize = 2;

/// The keys of one file that are settings of the CLI.
#[derive(Debug, Default)]
pub(super) struct FileKeys {
    found: Vec<Entry>,
    /// How the file writes each section of ours that it has.
    sections: Vec<(String, Vec<String>)>,
    flaws: Vec<Flaw>,
}

/// A key with its value.
#[derive(Debug)]
struct Entry {
    key: &'static str,
    /// The keys of the file that lead to it, as they are written there.
    written: Vec<String>,
    value: Value,
}

/// What is wrong with a file's keys. No reading is guessed: the wrong one could select another server.
#[derive(Debug)]
pub(super) enum Flaw {
    /// There is no such key in a section of ours.
    Unknown(Vec<String>),
    /// The key is there in two forms, the second of which is written so.
    Twice(&'static str, Vec<String>),
    /// There is a value where keys are expected.
    ExpectedSection(Vec<String>, Value),
}

// === impl FileKeys ===

impl FileKeys {
    /// The keys of the file at `path` with this `text`.
    ///
    /// # Errors
    ///
    /// Where it is no YAML with keys. What is wrong with single keys is among the [flaws](Self::flaws).
    pub(super) fn read(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let tree: Map<String, Value> = document::parse(path, text)?.unwrap_or_default();
        let mut keys = Self::default();
        keys.collect("", &[], tree);
        Ok(keys)
    }

    fn collect(&mut self, prefix: &str, above: &[String], tree: Map<String, Value>) {
        for (name, value) in tree {
            let full = if prefix.is_empty() {
                name.clone()
            } else {
                format!("{prefix}.{name}")
            };
            let written: Vec<_> = above.iter().cloned().chain([name]).collect();
            if let Some(key) = KEYS.into_iter().find(|key| key.eq_ignore_ascii_case(&full)) {
                self.add_setting(key, written, value);
            } else if is_section(&full) {
                self.add_section(&full, written, value);
            } else if is_ours(&full) && !OF_SERVER.iter().any(|key| key.eq_ignore_ascii_case(&full)) {
                self.flaws.push(Flaw::Unknown(written));
            }
        }
    }

    fn add_setting(&mut self, key: &'static str, written: Vec<String>, value: Value) {
        if self.entry(key).is_some() {
            return self.flaws.push(Flaw::Twice(key, written));
        }
        self.found.push(Entry { key, written, value });
    }

    fn add_section(&mut self, full: &str, written: Vec<String>, value: Value) {
        match value {
            Value::Object(tree) => {
                self.sections.push((full.to_ascii_lowercase(), written.clone()));
                self.collect(full, &written, tree);
            }
            Value::Null => self.sections.push((full.to_ascii_lowercase(), written)),
            value => self.flaws.push(Flaw::ExpectedSection(written, value)),
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        self.found.iter().find(|entry| entry.key == key)
    }

    /// The value of a key; null where the file does not set it.
    pub(super) fn get(&self, key: &str) -> Value {
        self.entry(key).map(|entry| entry.value.clone()).unwrap_or_default()
    }

    /// What is wrong.
    pub(super) fn into_flaws(self) -> impl Iterator<Item = Flaw> {
        self.flaws.into_iter()
    }

    /// The keys that lead to `key` in the file as it is written, or would.
    pub(super) fn path_to(&self, key: &str) -> Vec<String> {
        if let Some(entry) = self.entry(key) {
            return entry.written.clone();
        }
        let mut sections = self.sections.iter();
        let of_section = key.split_once('.').and_then(|(section, name)| {
            let (_, written) = sections.find(|(found, _)| found == section)?;
            Some(written.iter().cloned().chain([name.to_owned()]).collect())
        });
        of_section.unwrap_or_else(|| key.split('.').map(ToOwned::to_owned).collect())
    }

    /// Whether it has a key of `tka` beside `debug`, which other programs have, too.
    pub(super) fn has_tka_keys(&self) -> bool {
        self.found
            .iter()
            .any(|entry| entry.key.contains('.') && !entry.value.is_null())
    }
}

// === impl Flaw ===

impl Flaw {
    /// The error of it in the file at `path` with this `text`.
    pub(super) fn into_error(self, path: &Path, text: &str) -> ConfigError {
        let line = |written: &[String]| {
            let keys: Vec<_> = written.iter().map(String::as_str).collect();
            tka_kubeconfig::written(text, &keys).map_or(1, |written| written.line)
        };
        let path = path.to_owned();
        match self {
            Self::Unknown(written) => ConfigError::UnknownInFile {
                path,
                line: line(&written),
                key: written.join("."),
                keys: &KEYS,
            },
            Self::Twice(key, written) => ConfigError::Twice {
                path,
                line: line(&written),
                key,
            },
            Self::ExpectedSection(written, value) => {
                let (line, key) = (Some(line(&written)), written.join("."));
                let origin = Origin::File { path, key, line };
                RawValue { value, origin }.type_error("a section of keys")
            }
        }
    }
}

/// Whether keys of ours are below `name`.
fn is_section(name: &str) -> bool {
    sections().any(|section| section.eq_ignore_ascii_case(name))
}

/// Whether a key that is no setting is in a section of ours, or in one that is misspelt.
fn is_ours(name: &str) -> bool {
    if let Some((section, _)) = name.split_once('.') {
        return is_section(section);
    }
    let name = name.to_ascii_lowercase();
    sections().any(|section| strsim::damerau_levenshtein(section, &name) <= MISSPELT)
}

fn sections() -> impl Iterator<Item = &'static str> {
    KEYS.into_iter().filter_map(|key| Some(key.split_once('.')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> FileKeys {
        FileKeys::read(Path::new("x"), text).unwrap()
    }

    /// The server takes all of these for the same.
    #[test]
    fn keys_are_found_in_any_case_and_form() {
        for text in [
            "tailscale: {hostname: x}",
            "Tailscale: {HostName: x}",
            "tailscale.hostname: x",
            "TAILSCALE.hostname: x",
        ] {
            let keys = read(text);
            assert_eq!(keys.get("tailscale.hostname"), "x", "{text}");
            assert!(keys.has_tka_keys(), "{text}");
            assert_eq!(keys.into_flaws().count(), 0, "{text}");
        }
    }

    #[test]
    fn misspelt_keys_are_flaws() {
        for text in [
            "tailscale: {hostnam: x}",
            "tailscale.hostnam: x",
            "tailscal: {hostname: x}",
            "outptu: {theme: dark}",
            "output: {colour: dark}",
            "kubeconfig: {merge: {x: y}, merged: true}",
            "tailscale: x",
            "tailscale: [x]",
            "tailscale: {hostname: x}\ntailscale.hostname: y",
            "tailscale: {hostname: x, Hostname: y}",
        ] {
            assert_eq!(read(text).into_flaws().count(), 1, "{text}");
        }
        for text in [
            "tailscale:\noutput: {}\n",
            "tailscale: {stateDir: x, CAPNAME: y}",
            "server: {rateLimit: 1}\nspring: {application: x}",
        ] {
            assert_eq!(read(text).into_flaws().count(), 0, "{text}");
        }
    }

    #[test]
    fn a_new_key_goes_where_its_section_is() {
        for (text, path) in [
            ("Tailscale: {Port: 1}", &["Tailscale", "hostname"][..]),
            ("Tailscale: {HOSTNAME: x}", &["Tailscale", "HOSTNAME"]),
            ("tailscale.HOSTNAME: x", &["tailscale.HOSTNAME"]),
            ("Tailscale:\n", &["Tailscale", "hostname"]),
            ("", &["tailscale", "hostname"]),
        ] {
            assert_eq!(read(text).path_to("tailscale.hostname"), path, "{text}");
        }
    }

    /// The server's file, which may be the same.
    #[test]
    fn keys_of_the_server_are_no_flaws() {
        let schema: Value = serde_json::from_str(include_str!("../../../../docs/configuration.schema.json")).unwrap();
        let properties = |value: &Value| value["properties"].as_object().unwrap().clone();
        for (section, inner) in properties(&schema) {
            assert!(
                is_section(&section) || KEYS.contains(&&*section) || !is_ours(&section),
                "{section}"
            );
            if !is_section(&section) || !inner["properties"].is_object() {
                continue;
            }
            for name in properties(&inner).keys().map(|name| format!("{section}.{name}")) {
                assert!(KEYS.contains(&&*name) || OF_SERVER.contains(&&*name), "{name}");
            }
        }
    }
}
