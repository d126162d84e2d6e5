//! Settings: defaults, then the configuration file, then the environment, then flags.
//!
//! The `config.yaml` of the working directory may only set how results look; see [`files`] and [`TABLE`].

pub(crate) mod edit;
pub(crate) mod effective;
mod files;
pub(crate) mod flags;
mod yaml_edit;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::config::flags::Global;
use crate::net::proxy::Variables;
use crate::net::server::{HTTPS_PORT, InvalidServer, Server};
use crate::sys::files::FileError;
use crate::terminal::output::OutputMode;
use crate::terminal::theme::Theme;
use files::{CWD_FILE, Files, FoundFile};

/// The settings of one run.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a switch is a bool")]
pub(crate) struct Config {
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) tailnet: Option<String>,
    /// tailscaled's socket, if it is not at the default path.
    pub(crate) socket: Option<PathBuf>,
    /// The URL of the proxy that a user chose. It overrides those of the environment.
    pub(crate) proxy: Option<String>,
    /// The tag of the servers' nodes.
    pub(crate) tag: String,
    /// Whether to merge contexts into the user's own kubeconfig.
    pub(crate) merge: bool,
    /// Whether kubectl may sign in again when a session is over and a user is at the terminal.
    pub(crate) login: bool,
    pub(crate) theme: Theme,
    pub(crate) long: bool,
    pub(crate) quiet: bool,
    pub(crate) no_eval: bool,
    pub(crate) debug: bool,
    /// The longest time that a command waits for the server.
    pub(crate) timeout: Duration,
    /// The trusted configuration file, if there is one.
    pub(crate) file: Option<PathBuf>,
    /// The keys that the working directory's file would have changed, but may not.
    ignored_keys: Vec<&'static str>,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the configuration file {} is not UTF-8", path.display())]
    NotText { path: PathBuf },
    #[error("the configuration file {} has several YAML documents, and settings are read from one", path.display())]
    Documents { path: PathBuf },
    #[error("the environment variable {name} holds a relative path: {}", path.display())]
    Relative { name: &'static str, path: PathBuf },
    #[error("the configuration file {} is not YAML: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },
    #[error("{origin}: expected {expected}, found {found}")]
    WrongType {
        origin: Origin,
        expected: String,
        found: String,
    },
    #[error("{origin}: expected {PROXY_URL}")]
    Proxy { origin: Origin },
    #[error("there is no setting `{0}`")]
    UnknownKey(String),
    #[error("there is no configuration file to write to")]
    NoFile,
    /// A configuration file that cannot be changed.
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{key}` cannot be set in {} without changing what else it says", path.display())]
    Shape { path: PathBuf, key: &'static str },
    #[error("the server's address cannot be used")]
    Server(#[from] InvalidServer),
}

/// Where a setting was found.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    File { path: PathBuf, key: &'static str },
    Variable(String),
    Argument { key: &'static str },
}

/// The settings of one layer. Earlier layers override later ones.
#[derive(Clone, Debug, Default)]
struct Layer {
    hostname: Option<String>,
    port: Option<u16>,
    tailnet: Option<String>,
    socket: Option<String>,
    proxy: Option<String>,
    tag: Option<String>,
    merge: Option<bool>,
    login: Option<bool>,
    theme: Option<Theme>,
    long: Option<bool>,
    quiet: Option<bool>,
    debug: Option<bool>,
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

/// Whether the `config.yaml` of the working directory may set a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CwdPolicy {
    /// It may: the key only changes how results look.
    Allowed,
    /// It may not: the key selects a server, or what is written, run or printed.
    Refused,
}

/// Every key of configuration files, and whether the working directory's file may set it.
const TABLE: [(&str, CwdPolicy); 12] = [
    ("tailscale.hostname", CwdPolicy::Refused),
    ("tailscale.port", CwdPolicy::Refused),
    ("tailscale.tailnet", CwdPolicy::Refused),
    ("tailscale.socket", CwdPolicy::Refused),
    ("tailscale.proxy", CwdPolicy::Refused),
    ("tailscale.tag", CwdPolicy::Refused),
    ("kubeconfig.merge", CwdPolicy::Refused),
    ("credential.login", CwdPolicy::Refused),
    ("output.theme", CwdPolicy::Allowed),
    ("output.long", CwdPolicy::Allowed),
    ("output.quiet", CwdPolicy::Refused),
    ("debug", CwdPolicy::Refused),
];

/// Every key of configuration files.
pub(crate) const KEYS: [&str; TABLE.len()] = {
    let mut keys = [""; TABLE.len()];
    let mut at = 0;
    while at < TABLE.len() {
        keys[at] = TABLE[at].0;
        at += 1;
    }
    keys
};

/// The value of `tailscale.proxy`.
const PROXY_URL: &str = "the URL of a proxy, such as http://127.0.0.1:1055";
/// The default name of the server, as in the original.
const HOSTNAME: &str = "tka";
/// The default tag of the servers' nodes, as in the documentation.
const TAG: &str = "tag:tka";
/// How long a command waits for the server, as in the original.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

// === impl Config ===

impl Config {
    /// The settings for results.
    pub(crate) fn output_mode(&self) -> OutputMode {
        OutputMode {
            quiet: self.quiet,
            long: self.long,
            theme: self.theme,
        }
    }

    /// Loads all layers. `home` is the home folder.
    pub(crate) fn load(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let layers = Layers::load(flags, home, variables)?;
        let ignored_keys = layers.ignored_keys();
        let file = layers.file.clone();
        let settings = layers.merged();
        Ok(Self {
            ignored_keys,
            hostname: settings.hostname.unwrap_or_else(|| HOSTNAME.to_owned()),
            port: settings.port.unwrap_or(HTTPS_PORT),
            tailnet: settings.tailnet,
            socket: settings.socket.map(PathBuf::from),
            proxy: settings.proxy,
            tag: settings.tag.unwrap_or_else(|| TAG.to_owned()),
            merge: settings.merge.unwrap_or_default(),
            login: settings.login.unwrap_or_default(),
            theme: settings.theme.unwrap_or_default(),
            long: settings.long.unwrap_or_default(),
            quiet: settings.quiet.unwrap_or_default(),
            no_eval: flags.no_eval,
            debug: settings.debug.unwrap_or_default(),
            timeout: flags.timeout.unwrap_or(TIMEOUT),
            file,
        })
    }

    /// The server that the settings name.
    pub(crate) fn server(&self) -> Result<Server, ConfigError> {
        Ok(Server::new(&self.hostname, self.port, self.tailnet.as_deref())?)
    }

    pub(crate) fn route(&self) -> Route {
        Route {
            proxy: self.proxy.clone(),
            socket: self.socket.clone(),
        }
    }

    /// A note about the ignored keys of the working directory's file, if there are any.
    pub(crate) fn ignored_keys_note(&self) -> Option<String> {
        let keys = self.ignored_keys.join(", ");
        (!keys.is_empty()).then(|| {
            format!(
                "{CWD_FILE} does not set {keys}, because files of the working directory may come from others; if it is yours, name \
                 it with --config or in {}",
                files::VARIABLE
            )
        })
    }
}

/// The route of requests to servers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    /// The proxy that a user chose.
    pub(crate) proxy: Option<String>,
    /// tailscaled's socket, if it is not at the default path.
    pub(crate) socket: Option<PathBuf>,
}

/// The route, for commands that need no other settings. Settings that cannot be read count as unset.
pub(crate) fn route(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Route {
    const ROUTE_VARIABLES: [&str; 3] = [files::VARIABLE, "TKA_TAILSCALE_PROXY", "TKA_TAILSCALE_SOCKET"];
    let only = |name: &str| variables(name).filter(|_| ROUTE_VARIABLES.contains(&name));
    let layers = Layers::load(flags, home, &only);
    let Layer { proxy, socket, .. } = layers.map(Layers::merged).unwrap_or_default();
    Route {
        proxy,
        socket: socket.map(PathBuf::from),
    }
}

/// All layers of settings.
#[derive(Debug)]
struct Layers {
    command_line: Layer,
    variables: Layer,
    /// The keys of the working directory's file that count.
    cwd: Layer,
    /// The keys of that file that do not count.
    cwd_refused: Layer,
    trusted: Layer,
    /// The path of the trusted file.
    file: Option<PathBuf>,
}

// === impl Layers ===

impl Layers {
    fn load(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Result<Self, ConfigError> {
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

    fn merged(self) -> Layer {
        self.command_line.or(self.variables).or(self.cwd).or(self.trusted)
    }

    /// The keys that would have another value if the working directory's file were trusted.
    fn ignored_keys(&self) -> Vec<&'static str> {
        let defaults = effective::defaults();
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
    fn from_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
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
    fn from_untrusted_file(file: &FoundFile, what: CwdPolicy) -> Self {
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

    fn from_variables(variables: Variables<'_>) -> Result<Self, ConfigError> {
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
    fn from_argument(key: &'static str, value: &str) -> Result<Self, ConfigError> {
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

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, key } => write!(f, "`{key}` in {}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Argument { key } => write!(f, "`{key}`"),
        }
    }
}

// === impl ConfigError ===

impl ConfigError {
    /// Whether the command line is wrong, and not a setting.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownKey(_)
                | Self::WrongType {
                    origin: Origin::Argument { .. },
                    ..
                }
                | Self::Proxy {
                    origin: Origin::Argument { .. }
                }
        )
    }

    pub(crate) fn advice(&self) -> Vec<String> {
        let advice = match self {
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                "name another file with --config"
            }
            Self::Unreadable { .. } => "check that the file is there and that you may read it",
            Self::NotText { .. } => "save it as UTF-8, or name another file with --config",
            Self::Documents { .. } => "keep the settings in a file of one document, or name another file with --config",
            Self::Relative { .. } => "give the whole path, which means the same file in every folder",
            Self::WrongType {
                origin: Origin::Variable(_),
                ..
            }
            | Self::Proxy {
                origin: Origin::Variable(_),
            } => "correct the variable, or unset it",
            Self::WrongType {
                origin: Origin::Argument { .. },
                ..
            }
            | Self::Proxy {
                origin: Origin::Argument { .. },
            } => "nothing was changed; give another value",
            Self::UnknownKey(_) => return vec![format!("settings are {}", KEYS.join(", "))],
            Self::NoFile => "let --force create ~/.config/tka/config.yaml, or name a file with --config",
            Self::File(error) => return vec![error.advice(), "or name another file with --config".to_owned()],
            Self::Shape { .. } => "change it there by hand; nothing was changed",
            Self::Malformed { .. } | Self::WrongType { .. } | Self::Proxy { .. } => {
                "correct the file, or name another one with --config"
            }
            Self::Server(_) => {
                "give --server a name in your tailnet, a full name, an address or a URL, and --port a port"
            }
        };
        vec![advice.to_owned()]
    }
}

/// The environment variable of a key.
fn variable_name(key: &str) -> String {
    format!("TKA_{}", key.to_ascii_uppercase().replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVERS_FILE: &str = "
otel: {endpoint: \"\", insecure: true}
tailscale: {hostname: cluster, port: 8080, stateDir: /var/lib/tka, tailnet: example.ts.net, capName: specht-labs.de/cap/tka}
server: {readTimeout: 10s}
clusterInfo: {labels: {1: one, yes: no}, configMapRef: {enabled: true}}
api: {retryAfterSeconds: 1}
";

    fn load(file: &str, variables: &[(&str, &str)], flags: &Global) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, file).unwrap();
        let flags = Global {
            config: Some(path),
            ..flags.clone()
        };
        let lookup = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        Config::load(&flags, None, &lookup)
    }

    fn problem(file: &str, variables: &[(&str, &str)]) -> String {
        let error = load(file, variables, &Global::default()).unwrap_err().to_string();
        match error.find("config.yaml") {
            Some(at) if error.starts_with('`') => {
                format!("{} in {}", error.split(" in ").next().unwrap_or_default(), &error[at..])
            }
            _ => error,
        }
    }

    #[test]
    fn nothing_configured_is_the_contracts_defaults() {
        let config = load("", &[], &Global::default()).unwrap();
        assert_eq!(config.server().unwrap().to_string(), "https://tka");
        assert_eq!(
            (config.theme, config.long, config.quiet),
            (Theme::TokyoNight, false, false)
        );
        assert_eq!(config.timeout, Duration::from_secs(30));
    }

    #[test]
    fn each_layer_wins_over_the_one_below() {
        let server = |variables: &[_], flags: &Global| {
            load(SERVERS_FILE, variables, flags)
                .unwrap()
                .server()
                .unwrap()
                .to_string()
        };
        let none = Global::default();
        assert_eq!(server(&[], &none), "http://cluster.example.ts.net:8080");
        let variables = [("TKA_TAILSCALE_HOSTNAME", "env"), ("TKA_TAILSCALE_PORT", "443")];
        assert_eq!(server(&variables, &none), "https://env.example.ts.net");
        let flags = Global {
            server: Some("flag".into()),
            port: Some(81),
            ..none
        };
        assert_eq!(server(&variables, &flags), "http://flag.example.ts.net:81");
    }

    #[test]
    fn switches_are_read_as_the_original_reads_them() {
        let config = load(
            "output: {quiet: true, long: \"1\"}\ndebug: false",
            &[("TKA_DEBUG", "T")],
            &Global::default(),
        );
        let config = config.unwrap();
        assert!(config.quiet && config.long && config.debug);
        let config = load(
            "output: {quiet: true}",
            &[("TKA_OUTPUT_QUIET", "0")],
            &Global::default(),
        )
        .unwrap();
        assert!(!config.quiet);
    }

    #[test]
    fn an_empty_variable_or_key_is_not_set() {
        let config = load(
            "tailscale: {hostname: \"\", tailnet: }",
            &[("TKA_TAILSCALE_PORT", "")],
            &Global::default(),
        );
        assert_eq!(config.unwrap().server().unwrap().to_string(), "https://tka");
        assert!(load("# nothing\n", &[], &Global::default()).is_ok());
        assert!(load("output:\n", &[], &Global::default()).is_ok());
    }

    #[test]
    fn a_wrong_type_names_place_and_expectation() {
        for (file, expected) in [
            (
                "tailscale: {port: many}",
                "`tailscale.port` in config.yaml: expected a port from 1 to 65535, found \"many\"",
            ),
            (
                "tailscale: {port: 70000}",
                "`tailscale.port` in config.yaml: expected a port from 1 to 65535, found 70000",
            ),
            (
                "tailscale: {port: 0}",
                "`tailscale.port` in config.yaml: expected a port from 1 to 65535, found 0",
            ),
            (
                "tailscale: {hostname: [a]}",
                "`tailscale.hostname` in config.yaml: expected a text, found a list",
            ),
            (
                "tailscale: {tailnet: 5}",
                "`tailscale.tailnet` in config.yaml: expected a text, found 5",
            ),
            (
                "tailscale: tka",
                "`tailscale` in config.yaml: expected a section of keys, found \"tka\"",
            ),
            (
                "output: {quiet: maybe}",
                "`output.quiet` in config.yaml: expected true or false, found \"maybe\"",
            ),
            (
                "debug: {}",
                "`debug` in config.yaml: expected true or false, found a section of keys",
            ),
            (
                "output: {theme: pink}",
                "`output.theme` in config.yaml: expected one of tokyo-night, ascii, dark, dracula, light, markdown, notty, \
                 found \"pink\"",
            ),
        ] {
            assert_eq!(problem(file, &[]), expected);
        }
        assert_eq!(
            problem("", &[("TKA_TAILSCALE_PORT", "x")]),
            "the environment variable TKA_TAILSCALE_PORT: expected a port from 1 to 65535, found \"x\""
        );
    }

    #[test]
    fn what_is_not_yaml_says_where() {
        for text in ["tailscale: {port: 1", "- a\n- b\n", "tailscale: {{ .Values.x }}"] {
            let message = problem(text, &[]);
            assert!(message.contains("config.yaml is not YAML: "), "{message}");
            assert!(message.contains("line 1"), "{message}");
        }
    }

    #[test]
    fn a_named_file_must_be_there() {
        let flags = Global {
            config: Some("/nonexistent/tka.yaml".into()),
            ..Global::default()
        };
        assert!(matches!(
            Config::load(&flags, None, &|_| None),
            Err(ConfigError::Unreadable { .. })
        ));
    }

    /// What the working directory's file sets, and what it would set.
    fn cwd(text: &str) -> (Vec<&'static str>, Vec<&'static str>) {
        let file = FoundFile {
            path: CWD_FILE.into(),
            text: text.to_owned(),
        };
        let of = |what| {
            let layer = Layer::from_untrusted_file(&file, what);
            KEYS.into_iter().filter(|key| layer.get(key).is_some()).collect()
        };
        (of(CwdPolicy::Allowed), of(CwdPolicy::Refused))
    }

    /// cases.md 5: nothing in the working directory chooses a server, merges, silences, or names a socket, a proxy or a plugin.
    #[test]
    fn working_directory_sets_how_results_look_and_no_more() {
        let hostile = "
tailscale: {hostname: evil, port: 81, tailnet: evil.ts.net, socket: /tmp/s, proxy: http://evil:1, tag: tag:evil}
kubeconfig: {merge: true}
credential: {login: true}
output: {theme: ascii, long: true, quiet: true}
debug: true
";
        let may_set = ["output.theme", "output.long"];
        let refused: Vec<_> = KEYS.into_iter().filter(|key| !may_set.contains(key)).collect();
        assert_eq!(cwd(hostile), (may_set.to_vec(), refused));
    }

    #[test]
    fn another_programs_file_says_nothing() {
        for text in [
            "title: My page\noutput: dist\ndebug: true\n",
            "kubeconfig: /etc/rancher/k3s/k3s.yaml\n",
            "- a\n",
            "{{ not YAML",
            "tailscale: {",
            "tailscale: {port: many}",
            "output: {theme: pink, long: maybe}",
            "",
        ] {
            assert_eq!(cwd(text), (vec![], vec![]), "{text}");
        }
        assert_eq!(cwd("output: {theme: pink, long: true}").0, ["output.long"]);
    }

    #[test]
    fn ignored_keys_are_those_that_would_change_something() {
        let ignored_keys = |cwd: &str, trusted: &str, variables: &[(&str, &str)], flags: &Global| {
            let file = |text: &str| FoundFile {
                path: CWD_FILE.into(),
                text: text.to_owned(),
            };
            let lookup = |name: &str| {
                let mut found = variables.iter().filter(|(key, _)| *key == name);
                found.next().map(|(_, value)| (*value).to_owned())
            };
            let layers = Layers {
                command_line: Layer::from(flags),
                variables: Layer::from_variables(&lookup).unwrap(),
                cwd: Layer::from_untrusted_file(&file(cwd), CwdPolicy::Allowed),
                cwd_refused: Layer::from_untrusted_file(&file(cwd), CwdPolicy::Refused),
                trusted: Layer::from_file(Path::new("x"), trusted).unwrap(),
                file: None,
            };
            layers.ignored_keys()
        };
        let none = Global::default();
        let evil = "tailscale: {hostname: evil}";
        assert_eq!(ignored_keys(evil, "", &[], &none), ["tailscale.hostname"]);
        assert_eq!(ignored_keys(evil, "tailscale: {hostname: good}", &[], &none).len(), 1);
        assert!(
            ignored_keys(evil, evil, &[], &none).is_empty(),
            "it says what is in force"
        );
        assert!(ignored_keys("tailscale: {hostname: tka, port: 443}", "", &[], &none).is_empty());
        assert!(ignored_keys("output: {theme: ascii, quiet: false}", "", &[], &none).is_empty());
        assert!(ignored_keys(evil, "", &[("TKA_TAILSCALE_HOSTNAME", "x")], &none).is_empty());
        let typed = Global {
            server: Some("x".into()),
            ..Global::default()
        };
        assert!(ignored_keys(evil, "", &[], &typed).is_empty());
    }

    /// What is named counts for every key, wherever it lies.
    #[test]
    fn named_file_counts_for_every_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.yaml");
        std::fs::write(&path, "credential: {login: true}\nkubeconfig: {merge: true}").unwrap();
        let named = |name: &str| (name == "TKA_CONFIG").then(|| path.display().to_string());
        let config = Config::load(&Global::default(), None, &named).unwrap();
        assert!(config.login && config.merge);
        let config = load(
            "credential: {login: true}",
            &[("TKA_CREDENTIAL_LOGIN", "0")],
            &Global::default(),
        );
        assert!(!config.unwrap().login);
    }

    #[test]
    fn relative_paths_and_proxies_that_are_none_are_refused() {
        let said = problem("tailscale: {socket: tailscaled.sock}", &[]);
        assert!(
            said.ends_with("expected an absolute path, found \"tailscaled.sock\""),
            "{said}"
        );
        let said = problem("tailscale: {proxy: \"gopher://user:hunter2@host\"}", &[]);
        assert!(said.contains("tailscale.proxy") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn the_first_file_of_the_search_path_is_read() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join(".config/tka");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.yaml"), "tailscale: {hostname: from-home}").unwrap();
        let config = Config::load(&Global::default(), Some(home.path()), &|_| None).unwrap();
        assert_eq!(config.hostname, "from-home");
        assert_eq!(config.file, Some(folder.join("config.yaml")));
    }
}
