//! Which files hold records: the one that they are written to, and those beside it that were rotated away.

use std::collections::HashSet;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;
use rustix::fs::OFlags;
use tka_api::audit::Record;

use super::SearchError;
use super::backwards::LONGEST;

/// How many rotated files are searched at the most, the latest first.
const FILES: usize = 400;
/// How programs call what they have packed.
const PACKED: [&str; 6] = [".gz", ".zst", ".xz", ".bz2", ".lz4", ".Z"];

/// A file of records.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) file: File,
    /// Its device and inode.
    pub(super) identity: (u64, u64),
    pub(super) size: u64,
    /// Whether it was last written to before what is asked for.
    pub(super) is_too_old: bool,
    modified: SystemTime,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct LogFiles {
    /// Those that can be searched, the latest first.
    pub(super) logs: Vec<Log>,
    /// The names of those that may hold what is asked for and cannot be.
    pub(super) not_searched: Vec<String>,
}

/// What the name of a file beside the audit log says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sibling {
    Plain,
    Packed,
}

// === impl LogFiles ===

impl LogFiles {
    /// Opens the files at and beside `path`, of which those matter that were written to at `oldest` or later.
    pub(super) fn open(path: &Path, oldest: Option<Timestamp>) -> Result<Self, SearchError> {
        let failed = |source| SearchError::Io {
            path: path.to_owned(),
            source,
        };
        let oldest = oldest.map(SystemTime::from);
        let is_too_old = |modified: SystemTime| oldest.is_some_and(|oldest| modified < oldest);
        let mut all = Self::default();
        // It may be a link, as an administrator may have it.
        match open(path, OFlags::empty()) {
            Ok(Some(log)) => all.logs.push(log),
            Ok(None) => return Err(SearchError::NotPlain(path.to_owned())),
            // It was renamed a moment ago, and nothing was written since.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let mut siblings = siblings(path).map_err(failed)?;
        siblings.sort_by(|(_, _, a), (_, _, b)| b.cmp(a));
        let mut rotated = Vec::new();
        for (sibling, found, modified) in siblings {
            let opened = match sibling {
                Sibling::Plain if rotated.len() < FILES => open(&found, OFlags::NOFOLLOW).ok().flatten(),
                Sibling::Plain | Sibling::Packed => None,
            };
            match opened {
                Some(mut log) => {
                    log.is_too_old = is_too_old(log.modified);
                    rotated.push(log);
                }
                None if is_too_old(modified) => {}
                None => all.not_searched.push(name(&found)),
            }
        }
        all.logs.extend(rotated);
        // A file that was renamed a moment ago was opened by both names.
        let mut seen = HashSet::new();
        all.logs.retain(|log| seen.insert(log.identity));
        Ok(all)
    }

    /// The time of the oldest record, as far as the beginning of a file shows one.
    pub(super) fn reaches(&self) -> io::Result<Option<Timestamp>> {
        for log in self.logs.iter().rev() {
            if let Some(time) = first_time(&log.file)? {
                return Ok(Some(time));
            }
        }
        Ok(None)
    }
}

/// The file at `path`; none where that is no plain file. It is never waited for.
fn open(path: &Path, more: OFlags) -> io::Result<Option<Log>> {
    let flags = i32::try_from((OFlags::NONBLOCK | OFlags::NOCTTY | more).bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let metadata: Metadata = file.metadata()?;
    Ok(metadata.is_file().then_some(Log {
        identity: (metadata.dev(), metadata.ino()),
        size: metadata.len(),
        is_too_old: false,
        modified: metadata.modified()?,
        file,
    }))
}

/// The files beside the one at `path` that were rotated away, by their names, and when they were last written to.
fn siblings(path: &Path) -> io::Result<Vec<(Sibling, PathBuf, SystemTime)>> {
    let (folder, own) = (path.parent().unwrap_or(Path::new("")), name(path));
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(sibling) = sibling(&own, &name(&entry.path())) else {
            continue;
        };
        // One that is gone meanwhile was removed.
        let Ok(metadata) = entry.metadata() else { continue };
        found.push((sibling, entry.path(), metadata.modified()?));
    }
    Ok(found)
}

/// Whether `name` is that of a file that was rotated away from the one called `own`: `audit.log.1`, `audit.log-20260102`, `audit-2026-01-02T15-04-05.log`,
/// and the same packed.
fn sibling(own: &str, name: &str) -> Option<Sibling> {
    let (plain, form) = match PACKED.iter().find_map(|end| name.strip_suffix(end)) {
        Some(plain) => (plain, Sibling::Packed),
        None => (name, Sibling::Plain),
    };
    let behind = plain.strip_prefix(own).and_then(|rest| rest.strip_prefix(['.', '-']));
    let within = || {
        let (stem, extension) = own.rsplit_once('.')?;
        let rest = plain.strip_prefix(stem)?.strip_suffix(extension)?.strip_suffix('.')?;
        rest.strip_prefix(['.', '-'])
    };
    behind.or_else(within).is_some_and(is_number_or_date).then_some(form)
}

fn is_number_or_date(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | ':' | '.' | '+' | 'T' | 'Z');
    text.starts_with(|c: char| c.is_ascii_digit()) && text.chars().all(is_part)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The time of the first record in the beginning of a file.
fn first_time(mut file: &File) -> io::Result<Option<Timestamp>> {
    let mut beginning = Vec::new();
    // Searches read at places of their own.
    io::Seek::rewind(&mut file)?;
    file.take(LONGEST as u64).read_to_end(&mut beginning)?;
    let mut lines = beginning.split(|byte| *byte == b'\n');
    Ok(lines
        .find_map(|line| serde_json::from_slice::<Record>(line).ok())
        .map(|record| record.time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_are_known_by_their_names() {
        for (name, expected) in [
            ("audit.log.1", Some(Sibling::Plain)),
            ("audit.log-20260102", Some(Sibling::Plain)),
            ("audit.log.2026-01-02T15:04:05Z", Some(Sibling::Plain)),
            ("audit-2026-01-02T15-04-05.000.log", Some(Sibling::Plain)),
            ("audit.log.2.gz", Some(Sibling::Packed)),
            ("audit-20260102.log.zst", Some(Sibling::Packed)),
            ("audit.log", None),
            ("audit.log.gz", None),
            ("audit.log.bak", None),
            ("audit.log.1.swp", None),
            ("audit.log.", None),
            ("audit.log..1", None),
            ("other.log.1", None),
            ("audit.logs.1", None),
            ("audit-x1.log", None),
            ("xaudit.log.1", None),
        ] {
            assert_eq!(sibling("audit.log", name), expected, "{name}");
        }
        assert_eq!(sibling("records", "records.1"), Some(Sibling::Plain));
        assert_eq!(sibling("records", "records"), None);
    }
}
