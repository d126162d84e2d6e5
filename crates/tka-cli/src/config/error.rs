//! Why settings cannot be used.

use std::path::PathBuf;
use std::{fmt, io};

use crate::net::server::InvalidServer;
use crate::sys::files::FileError;

/// The value of `tailscale.proxy`.
pub(super) const PROXY_URL: &str = "the URL of a proxy, such as http://127.0.0.1:1055";
/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("the configuration file {} is not UTF-8", path.display())]
    NotText { path: PathBuf, source: io::Error },
    #[error("the configuration file {} has several YAML documents, but settings must be in one", path.display())]
    Documents { path: PathBuf },
    #[error("the environment variable {name} holds a relative path: {}", path.display())]
    Relative { name: &'static str, path: PathBuf },
    #[error("the configuration file {} cannot be used: {problem}", path.display())]
    Unusable { path: PathBuf, problem: String },
    #[error("the configuration file {} is not YAML: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },
    #[error("{origin}: expected {expected}, found {found}")]
    WrongType {
        origin: Origin,
        expected: String,
        found: String,
    },
    /// What was found may hold a password, and users copy errors into tickets.
    #[error("{origin}: expected {expected}")]
    WrongAddress { origin: Origin, expected: &'static str },
    #[error("{}, line {line}: there is no setting `{key}`", path.display())]
    UnknownInFile {
        path: PathBuf,
        line: usize,
        key: String,
        keys: &'static [&'static str],
    },
    #[error("{}, line {line}: `{key}` is there twice", path.display())]
    Twice {
        path: PathBuf,
        line: usize,
        key: &'static str,
    },
    #[error("there is no setting `{key}`")]
    UnknownKey { key: String, keys: &'static [&'static str] },
    #[error("there is no configuration file")]
    NoFile,
    #[error("there is no home folder for the configuration file")]
    NoHome,
    /// A configuration file that cannot be changed.
    #[error(transparent)]
    File(#[from] FileError),
    #[error("`{key}` cannot be set in {} without changing other content", path.display())]
    Shape { path: PathBuf, key: &'static str },
    #[error("the server's address cannot be used")]
    Server(#[from] InvalidServer),
}

/// Where a setting was found.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    File {
        path: PathBuf,
        key: String,
        /// None where no line is known.
        line: Option<usize>,
    },
    Variable(String),
    Argument {
        key: &'static str,
    },
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, key, line: None } => write!(f, "`{key}` in {}", path.display()),
            Self::File {
                path,
                key,
                line: Some(line),
            } => write!(f, "`{key}` in {}, line {line}", path.display()),
            Self::Variable(name) => write!(f, "the environment variable {name}"),
            Self::Argument { key } => write!(f, "`{key}`"),
        }
    }
}

// === impl ConfigError ===

impl ConfigError {
    /// Whether the command line is wrong, and not a setting.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(self, Self::UnknownKey { .. }) || matches!(self.origin(), Some(Origin::Argument { .. }))
    }

    /// The error with the line of the value in `text`, the file's, and a number as it is written there: a reader makes 443.0 of 0443.
    pub(super) fn located(mut self, text: &str, path_to: impl Fn(&str) -> Vec<String>) -> Self {
        let (origin, found) = match &mut self {
            Self::WrongType { origin, found, .. } => (origin, Some(found)),
            Self::WrongAddress { origin, .. } => (origin, None),
            _ => return self,
        };
        let Origin::File { key, line, .. } = origin else {
            return self;
        };
        let path = path_to(key);
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        if let Some(written) = tka_kubeconfig::written(text, &path) {
            *line = Some(written.line);
            if let Some(number) = found.filter(|found| found.parse::<f64>().is_ok()) {
                written.text.clone_into(number);
            }
        }
        self
    }

    /// Where the value is that cannot be used.
    fn origin(&self) -> Option<&Origin> {
        match self {
            Self::WrongType { origin, .. } | Self::WrongAddress { origin, .. } => Some(origin),
            _ => None,
        }
    }

    pub(crate) fn advice(&self) -> Vec<String> {
        let advice = match self {
            _ if matches!(self.origin(), Some(Origin::Variable(_))) => "correct the variable, or unset it",
            _ if matches!(self.origin(), Some(Origin::Argument { .. })) => "nothing was changed; give another value",
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                "name another file with --config"
            }
            Self::Unreadable { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "check its name; `tka config KEY VALUE --force` creates it"
            }
            Self::Unreadable { .. } => "check that you may read it",
            Self::NotText { .. } => "save it as UTF-8, or name another file with --config",
            Self::Documents { .. } => "keep only one document in the file, or name another file with --config",
            Self::Relative { .. } => "give the absolute path, which names the same file in every folder",
            Self::UnknownInFile { keys, .. } => {
                let settings = format!("settings are {}", keys.join(", "));
                return vec!["correct the key, or remove it".to_owned(), settings];
            }
            Self::Twice { .. } => "leave one of them out",
            Self::UnknownKey { keys, .. } => return vec![format!("settings are {}", keys.join(", "))],
            Self::NoFile => "`tka config KEY VALUE` creates ~/.config/tka/config.yaml",
            Self::NoHome => "set HOME, or name a file with --config",
            Self::File(error) => return vec![error.advice(), "or name another file with --config".to_owned()],
            Self::Shape { .. } => "nothing was changed; edit the file by hand",
            Self::Malformed { .. } | Self::Unusable { .. } | Self::WrongType { .. } | Self::WrongAddress { .. } => {
                "correct the file, or name another one with --config"
            }
            Self::Server(_) => {
                "give --server a name in your tailnet, a full name, an address or a URL, and --port a port"
            }
        };
        vec![advice.to_owned()]
    }
}
