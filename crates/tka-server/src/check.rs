//! `tka-server config check`: all that is wrong with a configuration file, and whether its parts fit together.

use std::io::{self, Read};
use std::path::Path;

use thiserror::Error;
use tka_operator::error::with_causes;

use crate::cluster::{ClusterError, settled};
use crate::config::{ConfigError, Loaded, Location, Problem, Problems, Source};

/// More than any configuration has, in bytes: Kubernetes takes no larger ConfigMap.
const LONGEST: u64 = 1024 * 1024;

/// Why a file is no configuration to serve with.
#[derive(Debug, Error)]
pub(crate) enum CheckError {
    /// There is none.
    #[error("there is no config.yaml in ., ~/.config/tka or /etc/tka: name the file to check, or - for standard input")]
    NoFile,
    /// Standard input cannot be read.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// The file cannot be read.
    #[error(transparent)]
    Unreadable(ConfigError),
    /// It is wrong.
    #[error("{}", summary(.0.0.len()))]
    Wrong(Problems),
}

fn summary(count: usize) -> String {
    match count {
        1 => "the configuration has a problem".to_owned(),
        count => format!("the configuration has {count} problems"),
    }
}

/// Checks the file that `source` names. Says on standard error what is wrong, and answers what to say where nothing is.
pub(crate) fn run(source: &Source) -> Result<String, CheckError> {
    let checked = read(source).and_then(|(name, bytes)| check(source, &name, bytes));
    if let Err(CheckError::Wrong(problems)) = &checked {
        eprintln!("{problems}");
    }
    checked
}

fn read(source: &Source) -> Result<(String, Vec<u8>), CheckError> {
    if source.path.as_deref() == Some(Path::new("-")) {
        let mut bytes = Vec::new();
        let taken = io::stdin().lock().take(LONGEST + 1).read_to_end(&mut bytes);
        taken.map_err(CheckError::Input)?;
        return Ok(("standard input".to_owned(), bytes));
    }
    match source.read() {
        Ok((Some(file), bytes)) => Ok((file.display().to_string(), bytes)),
        Ok((None, _)) => Err(CheckError::NoFile),
        Err(error) => Err(CheckError::Unreadable(error)),
    }
}

/// By value: what is to be said of a file called `name`.
fn check(source: &Source, name: &str, bytes: Vec<u8>) -> Result<String, CheckError> {
    if bytes.len() as u64 > LONGEST {
        let why = "it is larger than 1 MiB, which is no configuration";
        return Err(wrong(name, None, "", why.into()));
    }
    let loaded = match source.resolve_layers(Some(name.into()), bytes, |_| None) {
        Ok(loaded) => loaded,
        Err(ConfigError::Wrong(problems)) => return Err(CheckError::Wrong(problems)),
        Err(error) => return Err(CheckError::Unreadable(error)),
    };
    match settled(&loaded.config.cluster_info) {
        Ok(_) => Ok(format!("{name}: ok\n")),
        // A flag or a variable may give it.
        Err(error @ ClusterError::Missing) => Ok(format!("{name}: ok, but {error}\n")),
        Err(error) => {
            let key = error.key();
            Err(wrong(name, line(&loaded, key), key, with_causes(&error)))
        }
    }
}

fn line(loaded: &Loaded, key: &str) -> Option<u64> {
    match loaded.places.get(key) {
        Some(Location::File { line, .. }) => *line,
        _ => None,
    }
}

fn wrong(name: &str, line: Option<u64>, key: &str, why: String) -> CheckError {
    let (name, key) = (name.to_owned(), key.to_owned());
    let place = Location::File { name, line };
    CheckError::Wrong(Problems(vec![Problem { place, key, why }]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<String, String> {
        let checked = check(&Source::default(), "f", text.into());
        checked.map_err(|error| match error {
            CheckError::Wrong(problems) => problems.to_string(),
            error => error.to_string(),
        })
    }

    #[test]
    fn good_file_is_ok_and_what_may_come_from_elsewhere_is_said() {
        assert_eq!(checked("clusterInfo: {apiEndpoint: 'https://k'}").unwrap(), "f: ok\n");
        let original = checked(include_str!("config/testdata/original.yaml")).unwrap();
        assert!(
            original.starts_with("f: ok, but clusterInfo.apiEndpoint is not set"),
            "{original}"
        );
    }

    #[test]
    fn parts_that_do_not_fit_together_are_wrong_on_their_line() {
        let both = "clusterInfo:\n  configMapRef: {enabled: true}\n  apiEndpoint: https://k\n";
        let said = checked(both).unwrap_err();
        assert!(
            said.starts_with("f:3: clusterInfo.apiEndpoint: ") && said.contains("choose one"),
            "{said}"
        );
        let url = checked("clusterInfo:\n  apiEndpoint: https://user:hunter2@k\n").unwrap_err();
        assert!(url.starts_with("f:2: ") && !url.contains("hunter2"), "{url}");
        for endpoint in ["https://k", "''"] {
            let text = format!("clusterInfo:\n  apiEndpoint: {endpoint}\n  caData: Tk9ORQ\n");
            let ca = checked(&text).unwrap_err();
            assert!(
                ca.starts_with("f:3: clusterInfo.caData: ") && !ca.contains("Tk9ORQ"),
                "{ca}"
            );
        }
        let recordings = checked("gateway:\n  recording:\n    s3: {prefix: p}\n").unwrap_err();
        assert!(
            recordings.starts_with("f:3: gateway.recording.s3.prefix: "),
            "{recordings}"
        );
    }

    #[test]
    fn all_problems_are_said() {
        let said = checked("operator: {machine: true}\nport: 1\n").unwrap_err();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(checked(&"#".repeat(2 << 20)).unwrap_err().contains("larger than 1 MiB"));
    }
}
