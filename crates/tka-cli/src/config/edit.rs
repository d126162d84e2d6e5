//! Changing a configuration file: comments, order and what is not ours stay.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{ConfigError, Layer, find_file};
use crate::args::Global;

/// A key and its new value, of the type that the key has.
#[derive(Debug)]
pub(crate) struct Change {
    key: &'static str,
    value: Value,
}

/// The file that settings are written to: the one they were read from, or with `create` a new one.
pub(crate) fn target(flags: &Global, home: Option<&Path>, create: bool) -> Result<PathBuf, ConfigError> {
    match find_file(flags, home) {
        Ok(Some((path, _))) => Ok(path),
        Ok(None) if create => match home {
            Some(home) => Ok(home.join(".config/tka/config.yaml")),
            None => Err(ConfigError::NoFile),
        },
        Ok(None) => Err(ConfigError::NoFile),
        Err(ConfigError::Unreadable { path, source }) if create && source.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(error),
    }
}

/// Makes `changes` in the file at `path`, all or none, in one step.
pub(crate) fn apply(path: &Path, changes: &[Change]) -> Result<(), ConfigError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => {
            return Err(ConfigError::Unreadable {
                path: path.to_owned(),
                source,
            });
        }
    };
    let mut new = text.clone();
    for change in changes {
        new = change.made_in(&new, path)?;
    }
    // Nothing that we could not read again is written.
    Layer::from_file(path, &new)?;
    if new == text {
        return Ok(());
    }
    replace(path, &new).map_err(|source| ConfigError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Replaces a file in one step, with its permissions; one behind a symbolic link there, since dotfiles are often linked.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    fs::create_dir_all(folder)?;
    let mut file = tempfile::Builder::new().prefix(".config-").tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    if let Ok(metadata) = fs::metadata(&path) {
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path).map_err(|error| error.error)?;
    Ok(())
}

// === impl Change ===

impl Change {
    /// `key` to what `value` says, if it says something of the key's type.
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

    /// `text` with this change made. What the text means afterwards is looked at; where lines cannot be changed without more, the
    /// whole is written anew, unless that would lose comments.
    fn made_in(&self, text: &str, path: &Path) -> Result<String, ConfigError> {
        let malformed = |problem| ConfigError::Malformed {
            path: path.to_owned(),
            problem,
        };
        let wanted = self.made_in_value(parse(text).map_err(malformed)?);
        let edited = self.made_in_lines(text);
        if parse(&edited).is_ok_and(|meaning| meaning == wanted) {
            return Ok(edited);
        }
        if text.contains('#') {
            return Err(ConfigError::Shape {
                path: path.to_owned(),
                key: self.key,
            });
        }
        serde_saphyr::to_string(&wanted).map_err(|error| malformed(error.to_string()))
    }

    fn made_in_value(&self, mut document: Map<String, Value>) -> Map<String, Value> {
        match self.key.split_once('.') {
            None => drop(document.insert(self.key.to_owned(), self.value.clone())),
            Some((section, field)) => {
                let mut fields = match document.remove(section) {
                    Some(Value::Object(fields)) => fields,
                    _ => Map::new(),
                };
                fields.insert(field.to_owned(), self.value.clone());
                document.insert(section.to_owned(), Value::Object(fields));
            }
        }
        document
    }

    fn made_in_lines(&self, text: &str) -> String {
        let mut lines: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
        match self.key.split_once('.') {
            None => self.set_line(&mut lines, 0, "", self.key),
            Some((section, field)) => match lines.iter().position(|line| is_key(line, "", section)) {
                Some(at) => {
                    let indent = lines
                        .get(at + 1..)
                        .and_then(indent_of)
                        .unwrap_or_else(|| "  ".to_owned());
                    self.set_line(&mut lines, at + 1, &indent, field);
                }
                None => lines.extend([format!("{section}:"), format!("  {field}: {}", self.scalar())]),
            },
        }
        lines.join("\n") + "\n"
    }

    /// Sets `field` among the lines from `start` on that are indented with `indent`, or adds it before them.
    fn set_line(&self, lines: &mut Vec<String>, start: usize, indent: &str, field: &str) {
        let inside =
            |line: &&String| line.starts_with(indent) || line.trim().is_empty() || line.trim().starts_with('#');
        let length = lines.iter().skip(start).take_while(inside).count();
        let new = format!("{indent}{field}: {}", self.scalar());
        let mut block = lines.iter().enumerate().skip(start).take(length);
        match block.find(|(_, line)| is_key(line, indent, field)).map(|(at, _)| at) {
            Some(at) => lines[at] = new + &comment(&lines[at]),
            None => lines.insert(start, new),
        }
    }

    /// The value in YAML, on one line.
    fn scalar(&self) -> String {
        serde_saphyr::to_string(&self.value)
            .map(|text| text.trim_end().to_owned())
            .unwrap_or_default()
    }
}

fn parse(text: &str) -> Result<Map<String, Value>, String> {
    let options = serde_saphyr::options! { with_snippet: false };
    let document: Result<Option<_>, _> = serde_saphyr::from_str_with_options(text, options);
    Ok(document.map_err(|error| error.to_string())?.unwrap_or_default())
}

/// Whether `line` begins the value of `key` at that indentation.
fn is_key(line: &str, indent: &str, key: &str) -> bool {
    let rest = line.strip_prefix(indent).and_then(|line| line.strip_prefix(key));
    rest.and_then(|rest| rest.trim_start().strip_prefix(':'))
        .is_some_and(|value| value.is_empty() || value.starts_with(char::is_whitespace))
}

/// The indentation of the first of `lines` that says something; none when it has none.
fn indent_of(lines: &[String]) -> Option<String> {
    let line = lines
        .iter()
        .find(|line| !line.trim().is_empty() && !line.trim().starts_with('#'))?;
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    (!indent.is_empty()).then_some(indent)
}

/// The comment at the end of a line, with the space before it.
fn comment(line: &str) -> String {
    line.find(" #").map(|at| line[at..].to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str, key: &'static str, value: &str) -> String {
        let change = Change::new(key, value).unwrap();
        change
            .made_in(text, Path::new("config.yaml"))
            .unwrap_or_else(|error| format!("error: {error}"))
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
        insta::assert_snapshot!(set(text, "tailscale.hostname", "prod"), @r#"
        # Mine.
        otel: {endpoint: ""}

        tailscale: # the tailnet
            port: 8080 # not 443
            # The name.
            hostname: prod

        clusterInfo:
          labels: {1: one}
        debug: false
        "#);
        insta::assert_snapshot!(set(text, "tailscale.port", "443"), @r#"
        # Mine.
        otel: {endpoint: ""}

        tailscale: # the tailnet
            port: 443 # not 443
            # The name.
            hostname: cluster

        clusterInfo:
          labels: {1: one}
        debug: false
        "#);
        insta::assert_snapshot!(set(text, "tailscale.tailnet", "example.ts.net"), @r#"
        # Mine.
        otel: {endpoint: ""}

        tailscale: # the tailnet
            tailnet: example.ts.net
            port: 8080 # not 443
            # The name.
            hostname: cluster

        clusterInfo:
          labels: {1: one}
        debug: false
        "#);
        insta::assert_snapshot!(set(text, "output.quiet", "TRUE"), @r#"
        # Mine.
        otel: {endpoint: ""}

        tailscale: # the tailnet
            port: 8080 # not 443
            # The name.
            hostname: cluster

        clusterInfo:
          labels: {1: one}
        debug: false
        output:
          quiet: true
        "#);
        insta::assert_snapshot!(set(text, "debug", "1"), @r#"
        # Mine.
        otel: {endpoint: ""}

        tailscale: # the tailnet
            port: 8080 # not 443
            # The name.
            hostname: cluster

        clusterInfo:
          labels: {1: one}
        debug: true
        "#);
    }

    #[test]
    fn whatever_the_file_says_already() {
        assert_eq!(set("", "output.theme", "dark"), "output:\n  theme: dark\n");
        assert_eq!(set("# nothing yet", "debug", "true"), "debug: true\n# nothing yet\n");
        assert_eq!(set("output:\n", "output.theme", "dark"), "output:\n  theme: dark\n");
        let flow = set("output: {theme: dark, long: true}\n", "output.theme", "light");
        assert_eq!(flow, "output:\n  long: true\n  theme: light\n");
        assert_eq!(
            set("output: {theme: dark} # mine\n", "output.theme", "light"),
            "error: `output.theme` cannot be set in config.yaml without losing its comments"
        );
        assert!(set("{", "debug", "true").starts_with("error: the configuration file config.yaml is not YAML"));
    }

    #[test]
    fn texts_that_yaml_reads_as_something_else_are_quoted() {
        for name in ["on", "1e3", "null", "a: b", "#x", "0x10"] {
            let text = set("", "tailscale.hostname", name);
            let read = Layer::from_file(Path::new("x"), &text).unwrap();
            assert_eq!(read.hostname.as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused() {
        for (key, value) in [
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
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;

    /// Whatever is in somebody's file: a change to it is refused, or changes what it says and nothing else.
    #[test]
    fn config() {
        bolero::check!().for_each(|bytes: &[u8]| {
            let Ok(text) = std::str::from_utf8(bytes) else { return };
            let change = Change::new("tailscale.hostname", "tka-prod").unwrap();
            let Ok(edited) = change.made_in(text, Path::new("config.yaml")) else {
                return;
            };
            assert_eq!(parse(&edited), Ok(change.made_in_value(parse(text).unwrap())));
        });
    }
}
