//! Settings: defaults, then the configuration file, then the environment, then flags.

pub(crate) mod edit;
pub(crate) mod shown;
mod text;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::args::Global;
use crate::files::FileError;
use crate::proxy::Variables;
use crate::server::{HTTPS_PORT, InvalidServer, Server};
use crate::theme::Theme;

/// The settings of one run.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "a switch is a bool")]
pub(crate) struct Config {
    pub(crate) hostname: String,
    pub(crate) port: u16,
    pub(crate) tailnet: Option<String>,
    /// tailscaled's socket, where it is not at the usual place.
    pub(crate) socket: Option<PathBuf>,
    /// The tag of the nodes that servers are.
    pub(crate) tag: String,
    /// Whether contexts are put into the user's own kubeconfig too.
    pub(crate) merge: bool,
    /// Whether kubectl may sign in again when a session is over and somebody sits before the terminal.
    pub(crate) login: bool,
    pub(crate) theme: Theme,
    pub(crate) long: bool,
    pub(crate) quiet: bool,
    pub(crate) no_eval: bool,
    pub(crate) debug: bool,
    /// Longest time that a command waits for the server.
    pub(crate) timeout: Duration,
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// Whether the server is one that a file in the present folder names, which may be anybody's.
    pub(crate) is_anyones_server: bool,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the configuration file {} is not YAML: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },
    #[error("{origin}: expected {expected}, found {found}")]
    WrongType {
        origin: Origin,
        expected: String,
        found: String,
    },
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

/// The settings of one layer; a later layer's win.
#[derive(Debug, Default)]
struct Layer {
    hostname: Option<String>,
    port: Option<u16>,
    tailnet: Option<String>,
    socket: Option<String>,
    tag: Option<String>,
    merge: Option<bool>,
    login: Option<bool>,
    theme: Option<Theme>,
    long: Option<bool>,
    quiet: Option<bool>,
    debug: Option<bool>,
}

/// The sections of a configuration file that hold keys of ours. A server's file has others, which are none of our business.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Sections {
    debug: Value,
    tailscale: Value,
    kubeconfig: Value,
    credential: Value,
    output: Value,
}

/// A value with the place it was found in.
struct Found {
    value: Value,
    origin: Origin,
}

/// Every key, as it is written in a configuration file.
pub(crate) const KEYS: [&str; 11] = [
    "tailscale.hostname",
    "tailscale.port",
    "tailscale.tailnet",
    "tailscale.socket",
    "tailscale.tag",
    "kubeconfig.merge",
    "credential.login",
    "output.theme",
    "output.long",
    "output.quiet",
    "debug",
];

/// The server's name unless it is set: the original's.
const HOSTNAME: &str = "tka";
/// The tag of the nodes that servers are, unless it is set: that of the documentation's grants.
const TAG: &str = "tag:tka";
/// How long a command waits for the server: the original's limit.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);

// === impl Config ===

impl Config {
    /// Puts the layers together. `home` is where `~` is.
    pub(crate) fn load(flags: &Global, home: Option<&Path>, variables: Variables<'_>) -> Result<Self, ConfigError> {
        let file = find_file(flags, home)?;
        let from_file = match &file {
            Some((path, text)) => Layer::from_file(path, text)?,
            None => Layer::default(),
        };
        let named_here = file.as_ref().is_some_and(|(path, _)| is_anyones(path)) && from_file.hostname.is_some();
        let chosen = Layer::from(flags).or(Layer::from_variables(variables)?);
        let is_anyones_server = named_here && chosen.hostname.is_none();
        let settings = chosen.or(from_file);
        Ok(Self {
            is_anyones_server,
            hostname: settings.hostname.unwrap_or_else(|| HOSTNAME.to_owned()),
            port: settings.port.unwrap_or(HTTPS_PORT),
            tailnet: settings.tailnet,
            socket: settings.socket.map(PathBuf::from),
            tag: settings.tag.unwrap_or_else(|| TAG.to_owned()),
            merge: settings.merge.unwrap_or_default(),
            login: settings.login.unwrap_or_default(),
            theme: settings.theme.unwrap_or_default(),
            long: settings.long.unwrap_or_default(),
            quiet: settings.quiet.unwrap_or_default(),
            no_eval: flags.no_eval,
            debug: settings.debug.unwrap_or_default(),
            timeout: flags.timeout.unwrap_or(TIMEOUT),
            file: file.map(|(path, _)| path),
        })
    }

    /// The server that the settings name.
    pub(crate) fn server(&self) -> Result<Server, ConfigError> {
        Ok(Server::new(&self.hostname, self.port, self.tailnet.as_deref())?)
    }
}

/// The configuration file and what is in it.
fn find_file(flags: &Global, home: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    match &flags.config {
        Some(path) => Ok(Some((path.clone(), read(path)?))),
        None => first_of(&search_path(home)),
    }
}

fn search_path(home: Option<&Path>) -> Vec<PathBuf> {
    let folders = [
        Some(PathBuf::from(".")),
        home.map(|home| home.join(".config/tka")),
        Some("/etc/tka".into()),
    ];
    folders
        .into_iter()
        .flatten()
        .map(|folder| folder.join("config.yaml"))
        .collect()
}

fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// The first file of the search path that is there for us. A server's file that only the server may read is not, nor is some other
/// program's that has its configuration in the same folder under the same name.
fn first_of(paths: &[PathBuf]) -> Result<Option<(PathBuf, String)>, ConfigError> {
    for path in paths {
        match read(path) {
            Ok(text) if is_anyones(path) && !Sections::are_in(&text) => {}
            Ok(text) => return Ok(Some((path.clone(), text))),
            Err(ConfigError::Unreadable { source, .. }) if is_not_for_us(&source) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Whether it lies in whatever folder the command runs in.
fn is_anyones(path: &Path) -> bool {
    path.parent() == Some(Path::new("."))
}

fn is_not_for_us(error: &io::Error) -> bool {
    use io::ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | PermissionDenied | NotADirectory | IsADirectory)
}

// === impl Layer ===

impl Layer {
    fn from_file(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let sections = Sections::parse(text).map_err(|problem| ConfigError::Malformed {
            path: path.to_owned(),
            problem,
        })?;
        let layer = Self::from_source(|key| {
            let origin = |key| Origin::File {
                path: path.to_owned(),
                key,
            };
            match sections.get(key) {
                Ok(value) => Ok(Found {
                    value,
                    origin: origin(key),
                }),
                Err((section, value)) => Err(Found {
                    value,
                    origin: origin(section),
                }
                .wrong("a section of keys")),
            }
        })?;
        // kubectl runs in whatever folder, and what lies there has nobody signed in.
        Ok(Self {
            login: layer.login.filter(|_| !is_anyones(path)),
            ..layer
        })
    }

    fn from_variables(variables: Variables<'_>) -> Result<Self, ConfigError> {
        Self::from_source(|key| {
            let name = variable_of(key);
            let value = variables(&name)
                .filter(|text| !text.is_empty())
                .map_or(Value::Null, Value::String);
            Ok(Found {
                value,
                origin: Origin::Variable(name),
            })
        })
    }

    /// What one key is set to on the command line.
    fn from_argument(key: &'static str, value: &str) -> Result<Self, ConfigError> {
        Self::from_source(|other| {
            let value = if other == key {
                Value::String(value.to_owned())
            } else {
                Value::Null
            };
            let origin = Origin::Argument { key };
            Ok(Found { value, origin })
        })
    }

    /// Reads every key from `find`, which answers [`Value::Null`] for a key that is not set.
    fn from_source(find: impl Fn(&'static str) -> Result<Found, ConfigError>) -> Result<Self, ConfigError> {
        Ok(Self {
            hostname: find("tailscale.hostname")?.text()?,
            port: find("tailscale.port")?.port()?,
            tailnet: find("tailscale.tailnet")?.text()?,
            socket: find("tailscale.socket")?.text()?,
            tag: find("tailscale.tag")?.text()?,
            merge: find("kubeconfig.merge")?.switch()?,
            login: find("credential.login")?.switch()?,
            theme: find("output.theme")?.theme()?,
            long: find("output.long")?.switch()?,
            quiet: find("output.quiet")?.switch()?,
            debug: find("debug")?.switch()?,
        })
    }

    fn or(self, lower: Self) -> Self {
        Self {
            hostname: self.hostname.or(lower.hostname),
            port: self.port.or(lower.port),
            tailnet: self.tailnet.or(lower.tailnet),
            socket: self.socket.or(lower.socket),
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

/// A switch that is not on the command line says nothing; there is none that turns a setting off.
impl From<&Global> for Layer {
    fn from(flags: &Global) -> Self {
        Self {
            hostname: flags.server.clone(),
            port: flags.port,
            tailnet: None,
            socket: None,
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
    fn parse(text: &str) -> Result<Self, String> {
        let options = serde_saphyr::options! { with_snippet: false };
        let parsed: Result<Option<Self>, _> = serde_saphyr::from_str_with_options(text, options);
        Ok(parsed.map_err(|error| error.to_string())?.unwrap_or_default())
    }

    /// Whether a file has a key of ours in a section of its own; `debug` has anybody. One that is not YAML counts where it names the
    /// section that all of ours have, so that a slip of the pen is told.
    fn are_in(text: &str) -> bool {
        let Ok(sections) = Self::parse(text) else {
            return text.lines().any(|line| line.starts_with("tailscale:"));
        };
        let has = |key| matches!(sections.get(key), Ok(value) if !value.is_null());
        KEYS.into_iter().any(|key| key.contains('.') && has(key))
    }

    /// The value of a key, or the section that is not one.
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

// === impl Found ===

impl Found {
    fn text(self) -> Result<Option<String>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            _ => Err(self.wrong("a text")),
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
            _ => Err(self.wrong("a port from 1 to 65535")),
        }
    }

    fn theme(self) -> Result<Option<Theme>, ConfigError> {
        match self.value.as_str().map(Theme::named) {
            Some(Some(theme)) => Ok(Some(theme)),
            None if self.value.is_null() => Ok(None),
            _ => Err(self.wrong(&format!("one of {}", Theme::names()))),
        }
    }

    /// Reads the spellings that the original reads.
    fn switch(self) -> Result<Option<bool>, ConfigError> {
        match &self.value {
            Value::Null => Ok(None),
            Value::Bool(switch) => Ok(Some(*switch)),
            Value::String(text) if is_one_of(text, &["1", "t", "true"]) => Ok(Some(true)),
            Value::String(text) if is_one_of(text, &["0", "f", "false"]) => Ok(Some(false)),
            _ => Err(self.wrong("true or false")),
        }
    }

    fn wrong(self, expected: &str) -> ConfigError {
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
    /// Whether it is the command line that is wrong, and not a setting.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::UnknownKey(_)
                | Self::WrongType {
                    origin: Origin::Argument { .. },
                    ..
                }
        )
    }

    pub(crate) fn advice(&self) -> Vec<String> {
        let advice = match self {
            Self::Unreadable { .. } => "check that the file is there and that you may read it",
            Self::WrongType {
                origin: Origin::Variable(_),
                ..
            } => "correct the variable, or unset it",
            Self::WrongType {
                origin: Origin::Argument { .. },
                ..
            } => "nothing was changed; give another value",
            Self::UnknownKey(_) => return vec![format!("settings are {}", KEYS.join(", "))],
            Self::NoFile => "let --force create ~/.config/tka/config.yaml, or name a file with --config",
            Self::File(error) => return vec![error.advice(), "or name another file with --config".to_owned()],
            Self::Shape { .. } => "change it there by hand; nothing was changed",
            Self::Malformed { .. } | Self::WrongType { .. } => "correct the file, or name another one with --config",
            Self::Server(_) => {
                "give --server a name in your tailnet, a full name, an address or a URL, and --port a port"
            }
        };
        vec![advice.to_owned()]
    }
}

/// The variable that sets a key.
fn variable_of(key: &str) -> String {
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

    #[test]
    fn no_file_that_lies_about_lets_kubectl_sign_in() {
        let login = |path: &str| {
            Layer::from_file(Path::new(path), "credential: {login: true}")
                .unwrap()
                .login
        };
        assert_eq!(
            (login("./config.yaml"), login("/etc/tka/config.yaml")),
            (None, Some(true))
        );
        let config = load(
            "credential: {login: true}",
            &[("TKA_CREDENTIAL_LOGIN", "0")],
            &Global::default(),
        );
        assert!(!config.unwrap().login);
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
