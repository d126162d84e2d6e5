//! What is wrong with a configuration: where, which key, why, and which key was meant.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Where a setting stands.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Location {
    /// In a file.
    File {
        /// What it is called.
        name: String,
        /// The line, from 1, as far as it is known.
        line: Option<u64>,
    },
    /// In a variable of the environment, of that name.
    Variable(String),
    /// Among the flags.
    Flags,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where.
    pub place: Location,
    /// With which key, as a file nests it; empty where it is about the whole.
    pub key: String,
    /// Why, and what to do.
    pub why: String,
}

/// All that is wrong: at least one thing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problems(pub Vec<Problem>);

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file that was asked for cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Keys are not known, or values are wrong.
    #[error("the configuration is wrong\n{0}")]
    Wrong(Problems),
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line: None } => f.write_str(name),
            Self::File { name, line: Some(line) } => write!(f, "{name}:{line}"),
            Self::Variable(name) => write!(f, "{name} in the environment"),
            Self::Flags => f.write_str("the flags"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, why) = (&self.place, &self.why);
        if self.key.is_empty() {
            return write!(f, "{place}: {why}");
        }
        write!(f, "{place}: {}: {why}", self.key)
    }
}

/// One a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.0.iter().map(Problem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}
