//! Writes a recording to a file, as it is.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::RecordingError;
use super::play::Content;
use crate::sys::files::TempFile;

/// Where standard output is meant.
const STDOUT: &str = "-";

/// Where a recording is written.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Stdout,
    File(PathBuf),
}

// === impl Target ===

impl Target {
    /// What the user named. None means a file named after the recording, in the working directory.
    pub(crate) fn named(file: Option<&Path>) -> Option<Self> {
        file.map(|file| match file.to_str() {
            Some(STDOUT) => Self::Stdout,
            _ => Self::File(file.to_owned()),
        })
    }

    /// Fails where a file is there that must stay. Without this the whole recording would be fetched first.
    pub(crate) fn check(&self, force: bool) -> Result<(), RecordingError> {
        match self {
            Self::File(path) if !force && path.symlink_metadata().is_ok() => Err(RecordingError::Exists(path.clone())),
            Self::File(_) | Self::Stdout => Ok(()),
        }
    }
}

/// Writes the recording `id`. A file is there when it is whole, readable by this user alone.
pub(crate) fn export(id: &str, mut reader: Content, target: &Target, force: bool) -> Result<(), RecordingError> {
    target.check(force)?;
    match target {
        Target::Stdout => copy(id, &mut reader, &mut io::stdout().lock(), RecordingError::Print),
        Target::File(path) => {
            let failed = |source| RecordingError::Write {
                path: path.clone(),
                source,
            };
            let mut file = TempFile::new(path).map_err(failed)?;
            copy(id, &mut reader, &mut file, failed)?;
            file.finish(force).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => RecordingError::Exists(path.clone()),
                _ => failed(error),
            })
        }
    }
}

fn copy(
    id: &str,
    from: &mut impl Read,
    to: &mut impl Write,
    failed: impl Fn(io::Error) -> RecordingError,
) -> Result<(), RecordingError> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let length = from
            .read(&mut piece)
            .map_err(|source| RecordingError::unread(id, source))?;
        if length == 0 {
            return to.flush().map_err(failed);
        }
        to.write_all(&piece[..length]).map_err(&failed)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn download(reader: impl Read + Send + 'static) -> Content {
        Box::new(reader)
    }

    #[test]
    fn file_is_whole_or_not_there_and_none_is_written_over_unasked() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.cast");
        let target = Target::File(path.clone());
        let broken = export("a", download((&b"half"[..]).chain(Broken)), &target, false);
        assert!(matches!(broken, Err(RecordingError::Cut { .. })));
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        export("a", download(&b"one\n"[..]), &target, false).unwrap();
        let again = export("a", download(&b"two\n"[..]), &target, false);
        assert!(matches!(again, Err(RecordingError::Exists(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        export("a", download(&b"two\n"[..]), &target, true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "two\n");
    }

    #[test]
    fn a_dash_is_standard_output() {
        assert_eq!(Target::named(Some(Path::new("-"))), Some(Target::Stdout));
        assert_eq!(Target::named(None), None);
    }
}
