//! Searches the records in the file that they are written to, and in those that were rotated away, newest first.
//!
//! What one search costs is bounded: in bytes that are read, in time, and in bytes that are found. It says where the next one begins. Nothing of a file is
//! held but a block and a line.

mod backwards;
mod files;
mod position;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;
use tka_api::audit::Record;

use self::backwards::{Backwards, Line};
use self::files::{Log, LogFiles};
pub use self::position::LogPosition;

/// How much is read for one answer. A file of a gigabyte takes sixteen.
const READ: u64 = 64 * 1024 * 1024;
/// For how long.
const TIME: Duration = Duration::from_secs(3);
/// How much of what is found is in one answer.
const FOUND: usize = 512 * 1024;
/// Records are written in the order in which they are decided, but for what waits for a moment and for a clock that is set. A record is too old if it is older
/// than what is asked for by more than this.
const OUT_OF_ORDER: SignedDuration = SignedDuration::from_hours(1);
/// So many records in a row that are too old end a search. A clock that was wrong for a while hides nothing that was written before.
const TOO_OLD: u32 = 1000;

/// Which records.
pub struct AuditQuery {
    /// Whether a record is meant, but for its time.
    pub means: Box<dyn Fn(&Record) -> bool + Send>,
    /// From then on.
    pub since: Option<Timestamp>,
    /// Before then.
    pub until: Option<Timestamp>,
    /// Where an earlier search ended.
    pub before: Option<LogPosition>,
    /// How many at the most.
    pub limit: usize,
}

/// What was found, and in what.
#[derive(Debug, Default)]
pub struct Found {
    /// The records, newest first.
    pub records: Vec<Record>,
    /// Where the search is to go on, if there may be more.
    pub next: Option<LogPosition>,
    /// The time of the oldest record that can be searched.
    pub reaches: Option<Timestamp>,
    /// Files whose records may be meant and cannot be searched.
    pub not_searched: Vec<String>,
    /// How many lines were read that are no record.
    pub no_records: u64,
}

/// Why records cannot be searched.
#[derive(Debug, Error)]
pub enum SearchError {
    /// They go to standard output.
    #[error("audit records are written to standard output, and cannot be searched there")]
    NoFile,
    /// They go to a pipe or a device.
    #[error("audit records cannot be searched where they are written: {} is no plain file", .0.display())]
    NotPlain(PathBuf),
    /// The file that the search was to go on in is gone, or was cut.
    #[error("the file in which the search was to go on is gone")]
    Moved,
    /// The system says no.
    #[error("the audit records in {} cannot be read", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Answers `question` from the file at `path` and its rotated siblings.
pub(super) fn search(path: &Path, question: &AuditQuery) -> Result<Found, SearchError> {
    within(path, question, READ, Instant::now() + TIME)
}

fn within(path: &Path, question: &AuditQuery, read: u64, end: Instant) -> Result<Found, SearchError> {
    let failed = |source| SearchError::Io {
        path: path.to_owned(),
        source,
    };
    let oldest = question
        .since
        .map(|since| since.saturating_sub(OUT_OF_ORDER).unwrap_or(Timestamp::MIN));
    let files = LogFiles::open(path, oldest)?;
    let mut search = Search {
        question,
        oldest,
        too_old: 0,
        found: Found {
            reaches: files.reaches().map_err(failed)?,
            ..Found::default()
        },
        bytes: 0,
        left: read,
        end,
    };
    search.files(&files).map_err(|error| match error {
        Stop::Moved => SearchError::Moved,
        Stop::Io(source) => failed(source),
    })?;
    search.found.not_searched = files.not_searched;
    Ok(search.found)
}

/// A search that runs.
struct Search<'q> {
    question: &'q AuditQuery,
    /// Older records are too old.
    oldest: Option<Timestamp>,
    /// How many in a row were too old.
    too_old: u32,
    found: Found,
    /// How large the records are that were found.
    bytes: usize,
    /// How much may still be read.
    left: u64,
    end: Instant,
}

/// Why a search fails.
enum Stop {
    Moved,
    Io(io::Error),
}

// === impl Search ===

impl Search<'_> {
    fn files(&mut self, files: &LogFiles) -> Result<(), Stop> {
        let before = self.question.before;
        let first = match before {
            None => 0,
            Some(place) => {
                let is_there = |log: &Log| log.identity == place.file && place.offset <= log.size;
                files.logs.iter().position(is_there).ok_or(Stop::Moved)?
            }
        };
        for (number, log) in files.logs.iter().enumerate().skip(first) {
            let begins = before
                .filter(|_| number == first)
                .map_or(log.size, |place| place.offset);
            if log.is_too_old && begins == log.size {
                continue;
            }
            if !self.file(log, begins).map_err(Stop::Io)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Searches a file from `begins` to its beginning. Says whether older files are to be searched too.
    fn file(&mut self, log: &Log, begins: u64) -> io::Result<bool> {
        let mut lines = Backwards::new(&log.file, begins)?;
        loop {
            let before = lines.read();
            let line = lines.next_line(self.left)?;
            self.left = self.left.saturating_sub(lines.read() - before);
            let goes_on = match line {
                None => return Ok(true),
                Some(Line::Whole(line)) => self.line(&line),
                Some(Line::TooLong) => {
                    self.found.no_records += 1;
                    true
                }
                Some(Line::Unread) => true,
            };
            if !goes_on {
                return Ok(false);
            }
            if self.is_full() {
                self.found.next = Some(LogPosition {
                    file: log.identity,
                    offset: lines.position(),
                });
                return Ok(false);
            }
        }
    }

    fn is_full(&self) -> bool {
        let is_found = self.found.records.len() >= self.question.limit || self.bytes >= FOUND;
        is_found || self.left == 0 || Instant::now() >= self.end
    }

    /// Looks at a line. Says whether older ones are to be looked at.
    fn line(&mut self, line: &[u8]) -> bool {
        // Readers of JSON lines pass over an empty line: the server ends so what was cut off.
        if line.is_empty() {
            return true;
        }
        let Ok(record) = serde_json::from_slice::<Record>(line) else {
            self.found.no_records += 1;
            return true;
        };
        if self.oldest.is_some_and(|oldest| record.time < oldest) {
            self.too_old += 1;
            return self.too_old < TOO_OLD;
        }
        self.too_old = 0;
        let question = self.question;
        let is_in_time = question.since.is_none_or(|since| record.time >= since)
            && question.until.is_none_or(|until| record.time < until);
        if is_in_time && (question.means)(&record) {
            self.bytes += line.len();
            self.found.records.push(record);
        }
        true
    }
}

#[cfg(test)]
mod tests;
