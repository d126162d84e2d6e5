//! Small private files that come and go.

use std::path::Path;
use std::time::Duration;
use std::{fs, io};

pub(crate) use crate::sys::files::{replace as write, replace_unsynced as write_unsynced};

/// How long unused files are kept. Credentials last a day at most, by any sensible setting.
const STALE_AFTER: Duration = Duration::from_hours(24);

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The stems of all files in a folder that have this extension.
pub(crate) fn stems(folder: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let stems = entries.filter_map(|entry| Some(stem(&entry.path(), extension)?.to_owned()));
    stems.collect()
}

/// The stem of a file that has this extension.
pub(crate) fn stem<'a>(path: &'a Path, extension: &str) -> Option<&'a str> {
    let has_it = path.extension().is_some_and(|found| found == extension);
    path.file_stem()?.to_str().filter(|_| has_it)
}

/// Removes files that are older than any credential. Calls `on_remove` for each.
pub(crate) fn remove_stale(folder: &Path, on_remove: impl Fn(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let touched = entry.metadata().and_then(|metadata| metadata.modified());
        let age = touched.ok().and_then(|touched| touched.elapsed().ok());
        // Lock files are never written to, and may be locked.
        let is_lock = entry.path().extension().is_some_and(|extension| extension == "lock");
        if !is_lock && age.is_some_and(|age| age > STALE_AFTER) {
            on_remove(&entry.path());
            // Another process may have removed it.
            let _ = fs::remove_file(entry.path());
        }
    }
}
