//! Changes a configuration file. Comments, order and other keys stay.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use serde_json::Value;

use super::error::ConfigError;
use super::files::{self, Files};
use super::keys::FileKeys;
use super::table::Layer;
use crate::config::flags::Global;
use crate::net::proxy::Variables;
use crate::sys::environment::home;
use crate::sys::files::{self as disk, FileError, LockedFile};
use tka_kubeconfig::{Refused, Unreadable};

/// The most symbolic links in a path, as on Linux.
const MAX_LINKS: usize = 40;
/// How long to wait for another `tka config`.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// A key and its new value, of the key's type.
#[derive(Debug)]
pub(crate) struct Change {
    key: &'static str,
    value: Value,
}

/// The file to write settings to: the trusted one, or else the user's own, which need not exist yet. A file that the user names and that
/// does not exist may be misspelt: `create` says that it is not. The working directory's file only if the user names it.
pub(crate) fn target(
    flags: &Global,
    home: Option<&Path>,
    variables: Variables<'_>,
    create: bool,
) -> Result<PathBuf, ConfigError> {
    match Files::find(flags, home, variables) {
        Ok(Files {
            trusted: Some(file), ..
        }) => Ok(file.path),
        Ok(_) => files::own(home).ok_or(ConfigError::NoHome),
        // Dotfiles are often linked before they are there.
        Err(ConfigError::File(FileError::Dangling { path, .. })) if files::own(home).as_ref() == Some(&path) => {
            Ok(path)
        }
        Err(ConfigError::Unreadable { path, source }) if create && source.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(error),
    }
}

/// Applies all `changes` to the file at `path`, or none. A symbolic link is followed, since dotfiles are often linked.
pub(crate) fn apply(path: &Path, changes: &[Change]) -> Result<(), ConfigError> {
    let failed = |source| FileError::not_written(path, source);
    let real = behind_links(path).map_err(failed)?;
    let home = home();
    let is_in_home = home.as_ref().is_some_and(|home| path.starts_with(home));
    if is_in_home && disk::leads_out(&real, home.as_deref()) {
        return Err(failed(io::Error::other(
            "it leads out of the home folder, to what is not its owner's",
        ))
        .into());
    }
    disk::make_folder(real.parent().unwrap_or(Path::new("")), disk::PRIVATE).map_err(failed)?;
    let file = LockedFile::open(&real, LOCK_TIMEOUT)?;
    let mut new = file.text().to_owned();
    for change in changes {
        new = change.apply_to(&new, path)?;
    }
    // The result must be readable before it is written.
    Layer::from_file(path, &new)?;
    Ok(file.replace(&new)?)
}

/// Resolves links, even if the target does not exist yet.
fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            return Ok(path);
        };
        path = path.parent().unwrap_or(Path::new("")).join(target);
    }
    Err(io::Error::other("its links lead in a circle"))
}

// === impl Change ===

impl Change {
    /// Sets `key` to `value`, if `value` has the key's type.
    pub(crate) fn new(key: &'static str, value: &str) -> Result<Self, ConfigError> {
        let typed = Layer::from_argument(key, value)?.get(key);
        Ok(Self {
            key,
            value: typed.unwrap_or_else(|| Value::String(String::new())),
        })
    }

    pub(crate) fn key(&self) -> &'static str {
        self.key
    }

    /// `text` with this change, and no other.
    fn apply_to(&self, text: &str, path: &Path) -> Result<String, ConfigError> {
        // A file that cannot be read is refused below, in words that fit a change.
        let written = FileKeys::read(path, text).unwrap_or_default().path_to(self.key);
        let keys: Vec<_> = written.iter().map(String::as_str).collect();
        tka_kubeconfig::set(text, &keys, &self.scalar()).map_err(|refused| {
            let (path, key) = (path.to_owned(), self.key);
            match refused {
                Refused::SideEffects => ConfigError::Shape { path, key },
                Refused::Documents { .. } => ConfigError::Documents { path },
                Refused::Unreadable(Unreadable { line, problem }) => match problem.strip_prefix("it is not YAML: ") {
                    // The error says that itself.
                    Some(problem) => ConfigError::Malformed {
                        path,
                        problem: format!("line {line}: {problem}"),
                    },
                    None => ConfigError::Unusable {
                        path,
                        problem: format!("line {line}: {problem}"),
                    },
                },
                refused => ConfigError::Unusable {
                    path,
                    problem: refused.to_string(),
                },
            }
        })
    }

    /// The value as YAML on one line.
    fn scalar(&self) -> String {
        let text = serde_saphyr::to_string(&self.value).unwrap_or_default();
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &'static str, value: &str) -> String {
        let changed = Change::new(key, value)
            .unwrap()
            .apply_to(text, Path::new("config.yaml"));
        changed.unwrap_or_else(|error| format!("error: {error}"))
    }

    #[test]
    fn comments_order_and_foreign_keys_stay() {
        let text = "\
# Mine.
otel: {endpoint: \"\"}

tailscale: # the tailnet
    port: 8080 # not 443
    # The name.
    hostname: cluster

clusterInfo:
  labels: {1: one}
debug: false
";
        let tailnet = "tailnet\n    tailnet: example.ts.net\n";
        for (key, value, old, new) in [
            ("tailscale.hostname", "prod", "hostname: cluster", "hostname: prod"),
            ("tailscale.port", "443", "port: 8080", "port: 443"),
            ("tailscale.tailnet", "example.ts.net", "tailnet\n", tailnet),
            ("output.quiet", "TRUE", "false\n", "false\noutput:\n  quiet: true\n"),
            ("debug", "1", "debug: false", "debug: true"),
        ] {
            assert_eq!(set(text, key, value), text.replace(old, new), "{key}");
        }
    }

    #[test]
    fn whatever_the_file_says_already() {
        assert_eq!(set("", "output.theme", "dark"), "output:\n  theme: dark\n");
        assert_eq!(set("# nothing yet", "debug", "true"), "debug: true\n# nothing yet\n");
        assert_eq!(set("output:\n", "output.theme", "dark"), "output:\n  theme: dark\n");
        let in_braces = set("output: {theme: dark} # mine\n", "output.theme", "light");
        assert_eq!(in_braces, "output: {theme: light} # mine\n");
        let anchored = set("output: &o {theme: dark}\nmine: *o\n", "output.theme", "light");
        let why = "`output.theme` cannot be set in config.yaml without changing other content";
        assert_eq!(anchored, format!("error: {why}"));
        assert!(set("{", "debug", "true").starts_with("error: the configuration file config.yaml is not YAML"));
    }

    #[test]
    fn keys_are_changed_as_the_file_writes_them() {
        for (text, new) in [
            ("Tailscale: {Hostname: x}\n", "Tailscale: {Hostname: new}\n"),
            ("tailscale.hostname: x\n", "tailscale.hostname: new\n"),
            ("Tailscale:\n  Port: 81\n", "Tailscale:\n  hostname: new\n  Port: 81\n"),
        ] {
            assert_eq!(set(text, "tailscale.hostname", "new"), new);
        }
    }

    #[test]
    fn texts_that_yaml_reads_as_something_else_are_quoted() {
        for name in ["on", "1e3", "null", "0x10"] {
            let text = set("", "tailscale.hostname", name);
            let read = Layer::from_file(Path::new("x"), &text).unwrap();
            assert_eq!(read.hostname.as_deref(), Some(name), "{text}");
        }
        for path in ["/a: b", "/a #x", "/a\\n'\""] {
            let text = set("", "recordings.identity", path);
            let read = Layer::from_file(Path::new("x"), &text).unwrap();
            assert_eq!(read.identity.as_deref(), Some(path), "{text}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused() {
        for (key, value) in [
            ("tailscale.hostname", "a b"),
            ("tailscale.hostname", "a\u{fffd}"),
            ("tailscale.tailnet", "a b"),
            ("tailscale.tailnet", "https://example.ts.net"),
            ("tailscale.tag", "tka"),
            ("tailscale.tag", "tag:"),
            ("tailscale.tag", "tag:a b"),
            ("tailscale.port", "0"),
            ("output.long", "maybe"),
            ("output.theme", "pink"),
        ] {
            assert!(Change::new(key, value).unwrap_err().is_usage(), "{key}={value}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_stay() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("dotfiles.yaml"), folder.path().join("config.yaml"));
        fs::write(&real, "debug: false\n").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&real, &link).unwrap();
        apply(&link, &[Change::new("debug", "true").unwrap()]).unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "debug: true\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);

        let (there, link) = (folder.path().join("dot/there.yaml"), folder.path().join("new.yaml"));
        symlink("dot/there.yaml", &link).unwrap();
        apply(&link, &[Change::new("debug", "true").unwrap()]).unwrap();
        assert_eq!(fs::read_to_string(&there).unwrap(), "debug: true\n");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        let circle = folder.path().join("circle.yaml");
        symlink(&circle, &circle).unwrap();
        assert!(apply(&circle, &[Change::new("debug", "true").unwrap()]).is_err());
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use serde_json::Map;

    /// A change to any file is refused, or changes only its key.
    #[test]
    fn config() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let change = Change::new("tailscale.hostname", "tka-prod").unwrap();
            let (Ok(edited), Ok(mut meaning)) = (change.apply_to(text, Path::new("config.yaml")), parse(text)) else {
                return;
            };
            let section = meaning.entry("tailscale").or_insert(Value::Null);
            if section.is_null() {
                *section = Value::Object(Map::new());
            }
            section["hostname"] = "tka-prod".into();
            assert_eq!(parse(&edited), Ok(meaning));
        });
    }

    /// Parses independently of the editor.
    fn parse(text: &str) -> Result<Map<String, Value>, String> {
        let options = serde_saphyr::options! { with_snippet: false };
        let document: Result<Option<_>, _> = serde_saphyr::from_str_with_options(text, options);
        Ok(document.map_err(|error| error.to_string())?.unwrap_or_default())
    }
}
