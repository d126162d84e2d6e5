//! Files that two processes may write at once, and files that only their owner may read.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Attempt, Error, Result};

/// How much of a log an error shows.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 15;

/// Creates a folder and its parents, for its owner's eyes only.
pub(crate) fn create_private_dir(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .attempt(|| format!("cannot create the folder {}", path.display()))
}

/// Replaces a file in one step, so that no reader ever sees half of it.
pub(crate) fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    replace(path, contents.as_ref(), 0o644)
}

/// [`write()`], readable by its owner only: for keys and tokens.
pub(crate) fn write_private(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    replace(path, contents.as_ref(), 0o600)
}

/// [`write()`], for a program.
pub(crate) fn write_executable(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    replace(path, contents.as_ref(), 0o755)
}

fn replace(path: &Path, contents: &[u8], mode: u32) -> Result<()> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let unique = format!("tmp-{}-{}", process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    let temporary = path.with_extension(unique);
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(contents)?;
        fs::rename(&temporary, path)
    };
    write().attempt(|| format!("cannot write {}", path.display()))
}

pub(crate) fn read_to_string(path: &Path) -> Result<String> {
    fs::read_to_string(path).attempt(|| format!("cannot read {}", path.display()))
}

/// The JSON document in a file, or nothing if there is no such file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    serde_json::from_str(&read_to_string(path)?)
        .map(Some)
        .map_err(|source| damaged(path, source))
}

pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(|source| damaged(path, source))?;
    text.push('\n');
    write_private(path, text)
}

fn damaged(path: &Path, source: serde_json::Error) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        source,
    }
}

/// Removes a file or a folder with all that is in it; fine if it is not there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() && !path.is_symlink() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).attempt(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Waits for and holds a lock between processes and threads until dropped.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "holding it is its use")] File);

impl Lock {
    pub(crate) fn acquire(path: &Path) -> Result<Self> {
        let lock = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            file.lock()?;
            Ok(Self(file))
        };
        lock().attempt(|| format!("cannot lock {}", path.display()))
    }
}

/// The last lines of a log, from byte `from` on.
pub(crate) fn tail(path: &Path, from: u64) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(from.max(length.saturating_sub(TAIL_BYTES))))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    match read() {
        Ok(text) if text.trim().is_empty() => "  (nothing)".to_owned(),
        Ok(text) => last_lines(&text),
        Err(error) => format!("  ({error})"),
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    let kept = lines.iter().skip(lines.len().saturating_sub(TAIL_LINES));
    kept.map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines_since_the_start() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        fs::write(&log, "before\nafter\nlast\n").unwrap();
        assert_eq!(tail(&log, 7), "  after\n  last");
        assert_eq!(tail(&log, 18), "  (nothing)");
        let many = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join("\n");
        fs::write(&log, many).unwrap();
        assert_eq!(tail(&log, 0).lines().count(), TAIL_LINES);
        assert!(tail(&log, 0).ends_with("  99"));
    }

    #[test]
    fn a_file_is_replaced_whole_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        write_private(&path, "one").unwrap();
        write_private(&path, "two").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn removing_what_is_not_there_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        remove(&dir.path().join("nothing")).unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        remove(&dir.path().join("a")).unwrap();
        assert!(!dir.path().join("a").exists());
    }
}
