//! Layers of settings, and how each is read.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::error::{ConfigError, Origin};
use super::files::{Files, FoundFile};
use super::keys::FileKeys;
use super::table::{CwdPolicy, KEYS, Layer, TABLE};
use super::value::RawValue;
use crate::config::flags::Global;
use crate::net::proxy::Variables;

/// All layers of settings.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) command_line: Layer,
    pub(super) variables: Layer,
    /// The keys of the working directory's file that count.
    pub(super) cwd: Layer,
    /// The keys of that file that do not count.
    pub(super) cwd_refused: Layer,
    pub(super) trusted: Layer,
    /// The path of the trusted file.
    pub(super) file: Option<PathBuf>,
}

// === impl Layers ===

impl Layers {
    pub(super) fn load(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let Files { trusted, cwd } = Files::find(flags, home, variables)?;
        let layer_of_cwd = |what| {
            let layer = cwd.as_ref().map(|file| Layer::from_untrusted_file(file, what));
            layer.unwrap_or_default()
        };
        Ok(Self {
            command_line: Layer::from(flags),
            variables: Layer::from_variables(variables)?,
            cwd: layer_of_cwd(CwdPolicy::Allowed),
            cwd_refused: layer_of_cwd(CwdPolicy::Refused),
            trusted: match &trusted {
                Some(FoundFile { path, text }) => Layer::from_file(path, text)?,
                None => Layer::default(),
            },
            file: trusted.map(|file| file.path),
        })
    }

    pub(super) fn merged(self) -> Layer {
        self.command_line
            .or(self.variables)
            .or(self.cwd)
            .or(self.trusted)
            .or(Layer::defaults())
    }

    /// Whether a layer above the defaults has the name of the server.
    pub(super) fn have_hostname(&self) -> bool {
        let above = [&self.command_line, &self.variables, &self.trusted];
        above.iter().any(|layer| layer.hostname.is_some())
    }

    /// The keys that would have another value if the working directory's file were trusted.
    pub(super) fn ignored_keys(&self) -> Vec<&'static str> {
        let defaults = Layer::defaults();
        let is_changed = |key: &&str| {
            let above = [&self.command_line, &self.variables];
            let below = [&self.trusted, &defaults];
            let in_force = || below.iter().find_map(|layer| layer.get(key));
            let refused = self.cwd_refused.get(key);
            refused.is_some() && above.iter().all(|layer| layer.get(key).is_none()) && refused != in_force()
        };
        KEYS.into_iter().filter(is_changed).collect()
    }
}

// === impl Layer ===

impl Layer {
    pub(super) fn from_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let keys = FileKeys::read(path, text)?;
        let layer = Self::from_source(|key| {
            let (path, line) = (path.to_owned(), None);
            let (name, value) = (key.to_owned(), keys.get(key));
            let origin = Origin::File { path, key: name, line };
            Ok(RawValue { value, origin })
        });
        let layer = layer.map_err(|error| error.located(text, |key| keys.path_to(key)))?;
        match keys.into_flaws().next() {
            Some(flaw) => Err(flaw.into_error(path, text)),
            None => Ok(layer),
        }
    }

    /// The keys in the working directory's file of which `what` holds. The file may belong to another program. Without a key of `tka`
    /// in its section it counts as empty, and values of a wrong type are skipped.
    pub(super) fn from_untrusted_file(file: &FoundFile, what: CwdPolicy) -> Self {
        let keys = FileKeys::read(&file.path, &file.text).ok();
        let Some(keys) = keys.filter(FileKeys::has_tka_keys) else {
            return Self::default();
        };
        let rows = TABLE.iter().filter(|(_, cwd)| *cwd == what);
        rows.fold(Self::default(), |layer, (key, _)| {
            layer.or(Self::single_key(&file.path, key, &keys))
        })
    }

    /// The value of one key, if it can be read.
    fn single_key(path: &Path, key: &'static str, keys: &FileKeys) -> Self {
        let layer = Self::from_source(|other| {
            let value = if other == key { keys.get(key) } else { Value::Null };
            let (path, line) = (path.to_owned(), None);
            let key = key.to_owned();
            let origin = Origin::File { path, key, line };
            Ok(RawValue { value, origin })
        });
        layer.unwrap_or_default()
    }

    pub(super) fn from_variables(variables: Variables<'_>) -> Result<Self, ConfigError> {
        Self::from_source(|key| {
            let name = variable_name(key);
            let set = variables(&name).filter(|text| !text.is_empty());
            let value = set.map_or(Value::Null, Value::String);
            let origin = Origin::Variable(name);
            Ok(RawValue { value, origin })
        })
    }

    /// The value of one key on the command line.
    pub(super) fn from_argument(key: &'static str, value: &str) -> Result<Self, ConfigError> {
        Self::from_source(|other| {
            let given = (other == key).then(|| value.to_owned());
            let value = given.map_or(Value::Null, Value::String);
            let origin = Origin::Argument { key };
            Ok(RawValue { value, origin })
        })
    }
}

/// The environment variable of a key.
pub(super) fn variable_name(key: &str) -> String {
    format!("TKA_{}", key.to_ascii_uppercase().replace('.', "_"))
}
