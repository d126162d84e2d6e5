//! Recordings in a folder.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::{self, StreamExt};
use futures::{FutureExt, TryStreamExt};

use super::{Content, Details, FIRST_LINE, Reader, first_line};
use crate::name::RecordingName;
use crate::sink::folder::{Folder, PART, blocking, whole_flushes};
use crate::sink::{Encoding, SinkFuture};

/// How much of a file is read at once, in bytes.
const PIECE: usize = 64 * 1024;

/// The file of a recording, open for reading.
struct RecordingFile {
    file: File,
    form: Encoding,
    is_open: bool,
    /// How long it is, up to the end of the last flush that is whole.
    length: u64,
}

impl Reader for Folder {
    fn names(&self) -> SinkFuture<'_, Vec<RecordingName>> {
        let folder = self.clone();
        let list = move || {
            let mut names: Vec<_> = folder.list()?.into_iter().map(|kept| kept.name).collect();
            names.reverse();
            // A part may have become whole between two looks at the folder.
            names.dedup();
            Ok(names)
        };
        blocking(self.readers(), list).boxed()
    }

    fn details(&self, name: &RecordingName) -> SinkFuture<'_, Option<Details>> {
        let (folder, name) = (self.path().to_owned(), name.clone());
        let read = move || open(&folder, &name)?.map(|opened| opened.details()).transpose();
        blocking(self.readers(), read).boxed()
    }

    fn content(&self, name: &RecordingName) -> SinkFuture<'_, Option<(Encoding, Content)>> {
        let (folder, name, readers) = (self.path().to_owned(), name.clone(), Arc::clone(self.readers()));
        async move {
            let opened = blocking(&readers, move || open(&folder, &name)).await?;
            Ok(opened.map(|opened| (opened.form, opened.content(readers))))
        }
        .boxed()
    }
}

/// Opens a recording, whichever of its files is there. One that becomes whole meanwhile is found at the second look.
fn open(folder: &Path, name: &RecordingName) -> io::Result<Option<RecordingFile>> {
    for (part, is_open) in [("", false), (PART, true), ("", false)] {
        for form in [Encoding::Plain, Encoding::Sealed] {
            let path = folder.join(format!("{name}.{}{part}", form.extension()));
            match open_file(&path) {
                Ok(file) => return RecordingFile::new(file, form, is_open).map(Some),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(None)
}

/// A link leads out of the folder, and a pipe is waited for.
fn open_file(path: &Path) -> io::Result<File> {
    if !fs::symlink_metadata(path)?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    File::open(path)
}

// === impl RecordingFile ===

impl RecordingFile {
    fn new(file: File, form: Encoding, is_open: bool) -> io::Result<Self> {
        let length = if is_open {
            whole_flushes(&file, form.mark())?
        } else {
            file.metadata()?.len()
        };
        Ok(Self {
            file,
            form,
            is_open,
            length,
        })
    }

    fn details(&self) -> io::Result<Details> {
        let first_line = match self.form {
            Encoding::Plain => self.first_line()?,
            Encoding::Sealed => None,
        };
        Ok(Details {
            form: self.form,
            is_open: Some(self.is_open),
            size: self.length,
            first_line,
        })
    }

    fn first_line(&self) -> io::Result<Option<String>> {
        let (mut start, mut piece) = (Vec::new(), [0; 4096]);
        let mut file = (&self.file).take(self.length.min(FIRST_LINE as u64));
        loop {
            let read = file.read(&mut piece)?;
            start.extend_from_slice(&piece[..read]);
            if read == 0 || piece[..read].contains(&b'\n') {
                return Ok(first_line(&start));
            }
        }
    }

    /// Each piece is read when the one before is taken.
    fn content(self, readers: Arc<tokio::sync::Semaphore>) -> Content {
        let (file, length) = (Arc::new(self.file), self.length);
        stream::try_unfold(0, move |at| {
            let (file, readers) = (Arc::clone(&file), Arc::clone(&readers));
            async move {
                let wanted = usize::try_from(length - at).unwrap_or(PIECE).min(PIECE);
                if wanted == 0 {
                    return Ok(None);
                }
                let read = move || {
                    let mut piece = vec![0; wanted];
                    // A file that was cut meanwhile must not pass for a whole one.
                    file.read_exact_at(&mut piece, at)?;
                    Ok(piece)
                };
                let piece = blocking(&readers, read).await?;
                Ok(Some((Bytes::from(piece), at + wanted as u64)))
            }
        })
        .into_stream()
        .boxed()
    }
}

#[cfg(test)]
mod tests;
