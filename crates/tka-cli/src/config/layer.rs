//! Layers of settings, and how each is read.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::error::{ConfigError, Origin, PROXY_URL};
use super::files::{Files, FoundFile};
use super::table::{CwdPolicy, KEYS, TABLE};
use crate::config::flags::Global;
use crate::net::proxy::Variables;
use crate::net::server::HTTPS_PORT;
use crate::terminal::theme::Theme;

/// The settings of one layer. Earlier layers override later ones.
#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) hostname: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) tailnet: Option<String>,
    pub(super) socket: Option<String>,
    pub(super) proxy: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) merge: Option<bool>,
    pub(super) login: Option<bool>,
    pub(super) theme: Option<Theme>,
    pub(super) long: Option<bool>,
    pub(super) quiet: Option<bool>,
    pub(super) debug: Option<bool>,
}

/// The sections of a configuration file that have keys of the CLI. The server's sections are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sections {
    debug: Value,
    tailscale: Value,
    kubeconfig: Value,
    credential: Value,
    output: Value,
}

/// A value and its origin.
struct RawValue {
    value: Value,
    origin: Origin,
}

/// The default name of the server, as in the original.
pub(super) const HOSTNAME: &str = "tka";
/// The default tag of the servers' nodes, as in the documentation.
pub(super) const TAG: &str = "tag:tka";

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
            cwd.as_ref()
                .map(|file| Layer::from_untrusted_file(file, what))
                .unwrap_or_default()
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
        self.command_line.or(self.variables).or(self.cwd).or(self.trusted)
    }

    /// The keys that would have another value if the working directory's file were trusted.
    pub(super) fn ignored_keys(&self) -> Vec<&'static str> {
        let defaults = defaults();
        let is_changed = |key: &&str| {
            let above = [&self.command_line, &self.variables];
            let below = [&self.trusted, &defaults];
            let in_force = || below.iter().find_map(|layer| layer.get(key));
            let said = self.cwd_refused.get(key);
            said.is_some() && above.iter().all(|layer| layer.get(key).is_none()) && said != in_force()
        };
        KEYS.into_iter().filter(is_changed).collect()
    }
}

// === impl Layer ===

impl Layer {
    pub(super) fn from_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let sections = Sections::parse(text).map_err(|error| {
            let path = path.to_owned();
            match error.without_snippet() {
                serde_saphyr::Error::MultipleDocuments { .. } => ConfigError::Documents { path },
                error => ConfigError::Malformed {
                    path,
                    problem: error.to_string(),
                },
            }
        })?;
        Self::from_source(|key| {
            let origin = |key| Origin::File {
                path: path.to_owned(),
                key,
            };
            match sections.get(key) {
                Ok(value) => Ok(RawValue {
                    value,
                    origin: origin(key),
                }),
                Err((section, value)) => Err(RawValue {
                    value,
                    origin: origin(section),
                }
                .type_error("a section of keys")),
            }
        })
    }

    /// The keys of `policy` in the working directory's file. It may belong to another program: without a key of `tka` in its section it
    /// counts as empty, and values of a wrong type are skipped.
    pub(super) fn from_untrusted_file(file: &FoundFile, what: CwdPolicy) -> Self {
        let Some(sections) = Sections::parse(&file.text).ok().filter(Sections::has_tka_keys) else {
            return Self::default();
        };
        let said = TABLE.iter().filter(|(_, cwd)| *cwd == what);
        said.fold(Self::default(), |layer, (key, _)| {
            layer.or(Self::single_key(&file.path, key, &sections))
        })
    }

    /// The value of one key, if it can be read.
    fn single_key(path: &Path, key: &'static str, sections: &Sections) -> Self {
        let value = sections.get(key).unwrap_or_default();
        let layer = Self::from_source(|other| {
            let value = if other == key { value.clone() } else { Value::Null };
            let path = path.to_owned();
            let origin = Origin::File { path, key };
            Ok(RawValue { value, origin })
        });
        layer.unwrap_or_default()
    }

    pub(super) fn from_variables(variables: Variables<'_>) -> Result<Self, ConfigError> {
        Self::from_source(|key| {
            let name = variable_name(key);
            let value = variables(&name)
                .filter(|text| !text.is_empty())
                .map_or(Value::Null, Value::String);
            Ok(RawValue {
                value,
                origin: Origin::Variable(name),
            })
        })
    }

    /// The value of one key on the command line.
    pub(super) fn from_argument(key: &'static str, value: &str) -> Result<Self, ConfigError> {
        Self::from_source(|other| {
            let value = if other == key {
                Value::String(value.to_owned())
            } else {
                Value::Null
            };
            let origin = Origin::Argument { key };
            Ok(RawValue { value, origin })
        })
    }

    /// Reads every key from `find`, which returns [`Value::Null`] for an unset key.
    fn from_source(find: impl Fn(&'static str) -> Result<RawValue, ConfigError>) -> Result<Self, ConfigError> {
        Ok(Self {
            hostname: find("tailscale.hostname")?.text()?,
            port: find("tailscale.port")?.port()?,
            tailnet: find("tailscale.tailnet")?.text()?,
            socket: find("tailscale.socket")?.absolute_path()?,
            proxy: find("tailscale.proxy")?.proxy()?,
            tag: find("tailscale.tag")?.text()?,
            merge: find("kubeconfig.merge")?.boolean()?,
            login: find("credential.login")?.boolean()?,
            theme: find("output.theme")?.theme()?,
            long: find("output.long")?.boolean()?,
            quiet: find("output.quiet")?.boolean()?,
            debug: find("debug")?.boolean()?,
        })
    }

    /// The value of `key` in this layer.
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        let text = |text: &Option<String>| text.clone().map(Value::String);
        match key {
            "tailscale.hostname" => text(&self.hostname),
            "tailscale.port" => self.port.map(Value::from),
            "tailscale.tailnet" => text(&self.tailnet),
            "tailscale.socket" => text(&self.socket),
            "tailscale.proxy" => text(&self.proxy),
            "tailscale.tag" => text(&self.tag),
            "kubeconfig.merge" => self.merge.map(Value::Bool),
            "credential.login" => self.login.map(Value::Bool),
            "output.theme" => self.theme.map(|theme| Value::String(theme.name())),
            "output.long" => self.long.map(Value::Bool),
            "output.quiet" => self.quiet.map(Value::Bool),
            "debug" => self.debug.map(Value::Bool),
            _ => None,
        }
    }

    fn or(self, lower: Self) -> Self {
        Self {
            hostname: self.hostname.or(lower.hostname),
            port: self.port.or(lower.port),
            tailnet: self.tailnet.or(lower.tailnet),
            socket: self.socket.or(lower.socket),
            proxy: self.proxy.or(lower.proxy),
            tag: self.tag.or(lower.tag),
            merge: self.merge.or(lower.merge),
            login: self.login.or(lower.login),
            theme: self.theme.or(lower.theme),
            long: self.long.or(lower.long),
            quiet: self.quiet.or(lower.quiet),
            debug: self.debug.or(lower.debug),
        }
    }
}

/// Absent switches set nothing; no flag turns a setting off.
impl From<&Global> for Layer {
    fn from(flags: &Global) -> Self {
        Self {
            hostname: flags.server.clone(),
            port: flags.port,
            tailnet: None,
            socket: None,
            proxy: None,
            tag: None,
            merge: None,
            login: None,
            theme: flags.theme,
            long: flags.long.then_some(true),
            quiet: flags.quiet.then_some(true),
            debug: flags.debug.then_some(true),
        }
    }
}

// === impl Sections ===

impl Sections {
    fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Option<Self> = serde_saphyr::from_str_with_options(text, options)?;
        Ok(parsed.unwrap_or_default())
    }

    /// Whether a section has a key of `tka`. Other programs use `debug` too.
    fn has_tka_keys(&self) -> bool {
        let has = |key| matches!(self.get(key), Ok(value) if !value.is_null());
        KEYS.into_iter().any(|key| key.contains('.') && has(key))
    }

    /// The value of a key, or the value in the place of its section.
    fn get(&self, key: &'static str) -> Result<Value, (&'static str, Value)> {
        let Some((name, field)) = key.split_once('.') else {
            return Ok(self.debug.clone());
        };
        let section = match name {
            "output" => &self.output,
            "kubeconfig" => &self.kubeconfig,
            "credential" => &self.credential,
            _ => &self.tailscale,
        };
        match section {
            Value::Null => Ok(Value::Null),
            Value::Object(fields) => Ok(fields.get(field).cloned().unwrap_or_default()),
            other => Err((name, other.clone())),
        }
    }
}

// === impl RawValue ===

impl RawValue {
    fn text(self) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            _ => Err(self.type_error("a text")),
        }
    }

    /// A relative path would mean another file in each folder.
    fn absolute_path(self) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(path) if path.is_empty() => Ok(None),
            Value::String(path) if Path::new(path).is_absolute() => Ok(Some(path.clone())),
            _ => Err(self.type_error("an absolute path")),
        }
    }

    fn proxy(self) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(url) if url.is_empty() => Ok(None),
            Value::String(url) if crate::net::proxy::is_url(url) => Ok(Some(url.clone())),
            // The value may contain a password, and users copy errors into tickets.
            Value::String(_) => Err(ConfigError::Proxy { origin: self.origin }),
            _ => Err(self.type_error(PROXY_URL)),
        }
    }

    fn port(self) -> Result<Option<u16>, ConfigError> {
        let port = match &self.value {
            Value::Null => return Ok(None),
            Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match port {
            Some(port) if port > 0 => Ok(Some(port)),
            _ => Err(self.type_error("a port from 1 to 65535")),
        }
    }

    fn theme(self) -> Result<Option<Theme>, ConfigError> {
        match self.value.as_str().map(Theme::named) {
            Some(Some(theme)) => Ok(Some(theme)),
            None if self.value.is_null() => Ok(None),
            _ => Err(self.type_error(&format!("one of {}", Theme::names()))),
        }
    }

    /// Reads the spellings that the original reads.
    fn boolean(self) -> Result<Option<bool>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::Bool(switch) => Ok(Some(*switch)),
            Value::String(text) if is_one_of(text, &["1", "t", "true"]) => Ok(Some(true)),
            Value::String(text) if is_one_of(text, &["0", "f", "false"]) => Ok(Some(false)),
            _ => Err(self.type_error("true or false")),
        }
    }

    fn type_error(self, expected: &str) -> ConfigError {
        let found = match self.value {
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "a section of keys".to_owned(),
            scalar => scalar.to_string(),
        };
        ConfigError::WrongType {
            origin: self.origin,
            expected: expected.to_owned(),
            found,
        }
    }
}

fn is_one_of(text: &str, spellings: &[&str]) -> bool {
    spellings.iter().any(|spelling| text.eq_ignore_ascii_case(spelling))
}

pub(super) fn defaults() -> Layer {
    Layer {
        hostname: Some(HOSTNAME.to_owned()),
        port: Some(HTTPS_PORT),
        tailnet: None,
        socket: None,
        proxy: None,
        tag: Some(TAG.to_owned()),
        merge: Some(false),
        login: Some(false),
        theme: Some(Theme::default()),
        long: Some(false),
        quiet: Some(false),
        debug: Some(false),
    }
}

/// The environment variable of a key.
pub(super) fn variable_name(key: &str) -> String {
    format!("TKA_{}", key.to_ascii_uppercase().replace('.', "_"))
}
