//! The table of runs: a file of a line a run, which only grows.

use std::{
    fmt,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use super::tier::Counts;

/// What the first line says, for a person.
const HEAD: &str = "commit\tbegan\tload\tseconds\tpassed\tfailed\tignored\tfailures";
/// Stands for no failure.
const NONE: &str = "-";

/// The file.
#[derive(Debug)]
pub(super) struct Table {
    path: PathBuf,
    rows: Vec<Row>,
}

/// One run of the suite.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Row {
    /// What was tested.
    pub(super) commit: String,
    /// When it began.
    pub(super) began: Timestamp,
    /// Whether all cores were kept busy meanwhile.
    pub(super) is_loaded: bool,
    /// How long it took.
    pub(super) seconds: u64,
    /// How many tests came to what.
    pub(super) counts: Counts,
    /// What failed: tests by name, and tiers that did not end well.
    pub(super) failures: Vec<String>,
}

/// Why the table is of no use.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It cannot be read or written.
    #[error("cannot use the table {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is none of ours.
    #[error("line {line} of {} is no run: correct or remove it", path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
    },
}

// === impl Table ===

impl Table {
    /// Reads it; one that is not there is empty.
    pub(super) fn read(path: PathBuf) -> Result<Self, Error> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(source) => return Err(Error::File { path, source }),
        };
        let mut rows = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| *line != HEAD) {
            let row = Row::of_line(line).ok_or_else(|| Error::Line {
                path: path.clone(),
                line: index + 1,
            })?;
            rows.push(row);
        }
        Ok(Self { path, rows })
    }

    /// The runs of a commit, the earliest first.
    pub(super) fn of(&self, commit: &str) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.commit == commit)
    }

    /// Appends a run, whole or not at all as far as the file system can.
    pub(super) fn append(&mut self, row: Row) -> Result<(), Error> {
        let is_new = !self.path.exists();
        let head = if is_new { format!("{HEAD}\n") } else { String::new() };
        write(&self.path, &format!("{head}{row}\n")).map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })?;
        self.rows.push(row);
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

// === impl Row ===

impl Row {
    fn of_line(line: &str) -> Option<Self> {
        let fields: Vec<_> = line.split('\t').collect();
        let &[commit, began, load, seconds, passed, failed, ignored, failures] = fields.as_slice() else {
            return None;
        };
        Some(Self {
            commit: commit.to_owned(),
            began: began.parse().ok()?,
            is_loaded: match load {
                "busy" => true,
                "idle" => false,
                _ => return None,
            },
            seconds: seconds.parse().ok()?,
            counts: Counts {
                passed: passed.parse().ok()?,
                failed: failed.parse().ok()?,
                ignored: ignored.parse().ok()?,
            },
            failures: match failures {
                NONE => Vec::new(),
                names => names.split(", ").map(ToOwned::to_owned).collect(),
            },
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let load = if self.is_loaded { "busy" } else { "idle" };
        let Counts {
            passed,
            failed,
            ignored,
        } = self.counts;
        let failures = if self.failures.is_empty() {
            NONE.to_owned()
        } else {
            self.failures.join(", ")
        };
        let (commit, began, seconds) = (&self.commit, self.began, self.seconds);
        write!(
            f,
            "{commit}\t{began}\t{load}\t{seconds}\t{passed}\t{failed}\t{ignored}\t{failures}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(commit: &str, failures: &[&str]) -> Row {
        Row {
            commit: commit.into(),
            began: Timestamp::UNIX_EPOCH,
            is_loaded: !failures.is_empty(),
            seconds: 400,
            counts: Counts {
                passed: 990,
                failed: failures.len() as u64,
                ignored: 2,
            },
            failures: failures.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn runs_are_kept_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/runs.tsv");
        let rows = [
            row("a", &[]),
            row("b", &["rule::reads", "expiry::ends"]),
            row("a", &["x"]),
        ];
        for row in &rows {
            Table::read(path.clone()).unwrap().append(row.clone()).unwrap();
        }
        let table = Table::read(path.clone()).unwrap();
        assert_eq!(table.rows, rows);
        assert_eq!(table.of("a").count(), 2);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().next(), Some(HEAD));
    }

    #[test]
    fn line_that_is_no_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.tsv");
        fs::write(&path, format!("{HEAD}\n{}\nhalf\n", row("a", &[]))).unwrap();
        assert!(matches!(Table::read(path), Err(Error::Line { line: 3, .. })));
    }
}
