//! The settings in effect, and their origins.

use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use super::Config;
use super::error::ConfigError;
use super::files::CWD_FILE;
use super::layer::{Layers, variable_name};
use super::table::{KEYS, Layer};
use crate::config::flags::Global;
use crate::net::proxy::Variables;
use crate::terminal::output::{RenderOptions, Report};
use crate::terminal::table::table;

/// The settings in effect. Programs read them in the shape of a configuration file.
#[derive(Debug)]
pub(crate) struct Settings {
    items: Vec<Setting>,
    /// The trusted configuration file, if there is one.
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    /// [`Value::Null`] if it is unset and has no default.
    pub(crate) value: Value,
    /// The origin of the value.
    pub(crate) from: String,
}

/// The key `name`, in any case.
pub(crate) fn key(name: &str) -> Result<&'static str, ConfigError> {
    let mut keys = KEYS.iter();
    keys.find(|key| key.eq_ignore_ascii_case(name))
        .copied()
        .ok_or_else(|| ConfigError::UnknownKey {
            key: name.to_owned(),
            keys: &KEYS,
        })
}

/// The server of commands, and where its name is from.
pub(crate) fn server(config: &Config, settings: &Settings) -> Result<Setting, ConfigError> {
    let hostname = settings.get("tailscale.hostname");
    Ok(Setting {
        key: "server",
        value: config.server()?.to_string().into(),
        from: hostname.map(|setting| setting.from.clone()).unwrap_or_default(),
    })
}

// === impl Settings ===

impl Settings {
    pub(crate) fn load(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let Layers {
            command_line,
            variables,
            cwd,
            trusted,
            file,
            ..
        } = Layers::load(flags, home, variables)?;
        let named = file.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let layers = [
            (command_line, "the command line".to_owned()),
            (variables, String::new()),
            (cwd, CWD_FILE.to_owned()),
            (trusted, named),
            (Layer::defaults(), "default".to_owned()),
        ];
        let items = KEYS.map(|key| setting(key, &layers)).into();
        Ok(Self { items, file })
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.items.iter().find(|setting| setting.key == key)
    }
}

fn setting(key: &'static str, layers: &[(Layer, String)]) -> Setting {
    let found = layers.iter().find_map(|(layer, from)| Some((layer.get(key)?, from)));
    let (value, from) = found.map_or((Value::Null, ""), |(value, from)| (value, from.as_str()));
    let from = if from.is_empty() && !value.is_null() {
        variable_name(key)
    } else {
        from.to_owned()
    };
    Setting { key, value, from }
}

impl Report for Settings {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let row = |setting: &Setting| [setting.key.to_owned(), setting.text(), setting.from.clone()];
        let rows: Vec<_> = self.items.iter().map(row).collect();
        table(["SETTING", "VALUE", "FROM"], &rows, options)
    }

    fn names(&self) -> Vec<String> {
        self.items.iter().map(|setting| setting.key.to_owned()).collect()
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = Map::new();
        for setting in self.items.iter().filter(|setting| !setting.value.is_null()) {
            match setting.key.split_once('.') {
                None => drop(document.insert(setting.key.to_owned(), setting.value.clone())),
                Some((section, field)) => {
                    let section = document.entry(section).or_insert_with(|| Value::Object(Map::new()));
                    if let Value::Object(fields) = section {
                        fields.insert(field.to_owned(), setting.value.clone());
                    }
                }
            }
        }
        document.serialize(serializer)
    }
}

// === impl Setting ===

impl Setting {
    /// The value as typed. Empty if it is unset.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

impl Report for Setting {
    fn human(&self, _: &RenderOptions<'_>) -> String {
        self.text() + "\n"
    }

    fn names(&self) -> Vec<String> {
        vec![self.key.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_place_in_a_layer() {
        let everything = Layer {
            tailnet: Some("example.ts.net".into()),
            socket: Some("/run/tailscaled.sock".into()),
            proxy: Some("http://127.0.0.1:1055".into()),
            identity: Some("/home/alice/key.txt".into()),
            ..Layer::defaults()
        };
        for key in KEYS {
            let value = everything.get(key);
            assert!(value.is_some(), "{key}");
            let (value, from) = (value.unwrap(), String::new());
            let text = Setting { key, value, from }.text();
            let layer = Layer::from_argument(key, &text).unwrap();
            assert!(layer.get(key).is_some(), "{key}={text}");
        }
    }

    #[test]
    fn each_says_where_it_comes_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, "tailscale: {hostname: cluster, port: 8080}").unwrap();
        let flags = Global {
            config: Some(path.clone()),
            long: true,
            ..Global::default()
        };
        let variables = |name: &str| (name == "TKA_TAILSCALE_PORT").then(|| "81".to_owned());
        let settings = Settings::load(&flags, None, &variables).unwrap();
        let shown = |key: &str| {
            let setting = settings.get(key).unwrap();
            (setting.text(), setting.from.clone())
        };
        let file = path.display().to_string();
        assert_eq!(shown("tailscale.hostname"), ("cluster".into(), file));
        assert_eq!(shown("tailscale.port"), ("81".into(), "TKA_TAILSCALE_PORT".into()));
        assert_eq!(shown("output.long"), ("true".into(), "the command line".into()));
        assert_eq!(shown("output.theme"), ("tokyo-night".into(), "default".into()));
        assert_eq!(shown("tailscale.tailnet"), (String::new(), String::new()));
    }

    #[test]
    fn keys_are_found_in_any_case() {
        assert_eq!(key("Output.Theme").unwrap(), "output.theme");
        assert!(matches!(key("output.colour"), Err(ConfigError::UnknownKey { .. })));
    }
}
