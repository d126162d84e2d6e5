//! The version is in `Cargo.toml`; the chart has it from there.

use std::{fs, io, path::Path};

/// Why the chart has another version.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The check failed.
    #[error("{FILE} has another version than Cargo.toml: run `cargo xtask crd` and commit the result")]
    Stale,
    /// A file could not be worked with.
    #[error("{what} {FILE}")]
    Io { what: &'static str, source: io::Error },
}

const FILE: &str = "charts/tka/Chart.yaml";
/// The chart's own version, and that of the image it runs.
const KEYS: [&str; 2] = ["version", "appVersion"];

/// Writes the version into the chart below `root`, or only says whether it is there.
pub(crate) fn bring_up_to_date(root: &Path, check: bool) -> Result<(), Error> {
    let io = |what| move |source| Error::Io { what, source };
    let path = root.join(FILE);
    let current = fs::read_to_string(&path).map_err(io("cannot read"))?;
    let new = with_version(&current, env!("CARGO_PKG_VERSION"));
    if new == current {
        return Ok(());
    }
    if check {
        return Err(Error::Stale);
    }
    fs::write(&path, new).map_err(io("cannot write"))?;
    eprintln!("xtask: wrote {}", path.display());
    Ok(())
}

fn with_version(chart: &str, version: &str) -> String {
    let line = |line: &str| match line.split_once(": ") {
        Some((key, _)) if KEYS.contains(&key) => format!("{key}: {version}\n"),
        _ => format!("{line}\n"),
    };
    chart.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_set_and_nothing_else() {
        let chart = "apiVersion: v2\nname: tka\nversion: 0.0.9\nappVersion: 0.0.8\nkubeVersion: \">=1.30.0-0\"\n";
        let new = "apiVersion: v2\nname: tka\nversion: 1.2.3\nappVersion: 1.2.3\nkubeVersion: \">=1.30.0-0\"\n";
        assert_eq!(with_version(chart, "1.2.3"), new);
        assert_eq!(with_version(new, "1.2.3"), new);
    }

    #[test]
    fn check_changes_nothing() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join(FILE);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "version: 0.0.0\n").unwrap();
        assert!(matches!(bring_up_to_date(root.path(), true), Err(Error::Stale)));
        assert_eq!(fs::read_to_string(&file).unwrap(), "version: 0.0.0\n");
        bring_up_to_date(root.path(), false).unwrap();
        bring_up_to_date(root.path(), true).unwrap();
    }
}
