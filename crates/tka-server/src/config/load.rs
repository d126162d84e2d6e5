//! Layers of the configuration: a file, the environment over it, flags on top.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tka_kubeconfig::NotUtf8;

use super::contradictions::contradictions;
use super::document::{self, NoSettings};
use super::given::ParsedSettings;
use super::keys::{KeyKind, keys};
use super::problem::{ConfigError, Location, Problem, Problems};
use super::sections::{Config, Health};

/// One setting from a flag: a key and the text given for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The key, as a file nests it: `tailscale.port`.
    pub key: &'static str,
    /// The text.
    pub text: String,
}

/// Where the configuration is read from, at the start and again.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file that was asked for.
    pub path: Option<PathBuf>,
    /// The person's folder, where a file is looked for otherwise.
    pub home: Option<PathBuf>,
    /// Over all else.
    pub flags: Vec<Setting>,
}

/// A configuration that was read.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// What that file says, to see whether it changed.
    pub bytes: Vec<u8>,
    /// Where what is set stands.
    pub places: BTreeMap<&'static str, Location>,
}

// === impl Source ===

impl Source {
    /// The file: without one that was asked for the first `config.yaml` in `.`, `~/.config/tka` and `/etc/tka`. Having none is fine.
    #[must_use]
    pub fn file(&self) -> Option<PathBuf> {
        let own = self.home.as_deref().map(|home| home.join(".config/tka"));
        let folders = [Some(PathBuf::from(".")), own, Some("/etc/tka".into())];
        let mut files = folders.into_iter().flatten().map(|folder| folder.join("config.yaml"));
        self.path.clone().or_else(|| files.find(|path| path.is_file()))
    }

    /// What the file says; nothing without one.
    pub fn read(&self) -> Result<(Option<PathBuf>, Vec<u8>), ConfigError> {
        let file = self.file();
        let bytes = file.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok((file, bytes))
    }

    /// Reads the configuration: the file, over it the environment, over that the flags.
    pub fn load(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
        let (file, bytes) = self.read()?;
        self.resolve_layers(file, bytes, environment)
    }

    /// The same, of a file that says `bytes`.
    pub fn resolve_layers(
        &self,
        file: Option<PathBuf>,
        bytes: Vec<u8>,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Loaded, ConfigError> {
        let (config, places) = self.given(file.as_deref(), &bytes, environment)?.config()?;
        let problems = contradictions(&config, &places);
        if !problems.is_empty() {
            return Err(ConfigError::Wrong(Problems(problems)));
        }
        Ok(Loaded {
            config,
            file,
            bytes,
            places,
        })
    }

    /// Where a server that runs by this is asked about its health. It keeps its settings when the file turns wrong, so that all others are passed over.
    pub fn health(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Health, ConfigError> {
        let (file, bytes) = self.read()?;
        let given = self.given(file.as_deref(), &bytes, environment)?;
        Ok(given.of_section("health").config()?.0.health)
    }

    /// What all layers say.
    pub(super) fn given(
        &self,
        file: Option<&Path>,
        bytes: &[u8],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<ParsedSettings, ConfigError> {
        let mut given = ParsedSettings::default();
        if let Some(file) = file {
            let name = file.display().to_string();
            let entries = parse(&name, bytes).map_err(|problem| ConfigError::Wrong(Problems(vec![problem])))?;
            given.file(&name, entries);
        }
        for key in keys().settings() {
            let variable = key.variable();
            let text = environment(&variable).filter(|text| !text.is_empty() || key.must_have_items());
            if let Some(text) = text {
                given.text(key, &text, Location::Variable(variable));
            }
        }
        for setting in &self.flags {
            if let Some(KeyKind::Setting(key)) = keys().find(setting.key) {
                given.text(key, &setting.text, Location::Flags);
            }
        }
        Ok(given)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    std::fs::read(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

fn parse(name: &str, bytes: &[u8]) -> Result<Vec<document::KeyValue>, Problem> {
    let settings = decode(bytes).and_then(document::read);
    settings.map_err(|NoSettings { line, why }| Problem {
        place: Location::File {
            name: name.to_owned(),
            line,
        },
        key: String::new(),
        why,
    })
}

/// What a file says, if it is UTF-8; or which line is not.
fn decode(bytes: &[u8]) -> Result<&str, NoSettings> {
    let wrong = |line, why: &str| NoSettings { line, why: why.into() };
    let not_utf8 = "it is not UTF-8: save it as UTF-8";
    // UTF-16 without a mark has a NUL in each unit of plain text, and that is UTF-8 as well. What is a line in it is another question.
    if matches!(bytes, [0, ..] | [_, 0, ..]) {
        return Err(wrong(None, not_utf8));
    }
    let text = tka_kubeconfig::utf8(bytes).map_err(|error| match error {
        NotUtf8::Utf16 => wrong(None, not_utf8),
        NotUtf8::Bytes { line } => wrong(u64::try_from(line).ok(), not_utf8),
    })?;
    let Some(at) = text.find('\0') else {
        return Ok(text);
    };
    let line = text[..at].matches('\n').count() + 1;
    let has_nul = "it has a NUL byte, which YAML does not allow: remove it";
    Err(wrong(u64::try_from(line).ok(), has_nul))
}

#[cfg(test)]
pub(in crate::config) mod tests;
