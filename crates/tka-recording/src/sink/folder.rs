//! Recordings as files of a folder.
//!
//! A recording is `NAME.cast.part` while it is written, locked by the process that writes it, and `NAME.cast` when it is whole. Every flush is written through to
//! the disk before it counts. A process that is killed leaves a part, which [`Folder::recover`] makes a whole file of, up to its last whole line.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use jiff::Timestamp;
use serde::de::IgnoredAny;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::{Encoding, RecordingWriter, Sink, SinkError, SinkFuture};
use crate::name::RecordingName;

/// The end of the name of a file that is not whole.
pub(crate) const PART: &str = ".part";
/// For how long a part is left alone: it may have been made and not be locked yet.
const PART_GRACE: Duration = Duration::from_mins(1);
/// The last line of a recording whose server was killed.
const KILLED: &str = "the recording ends here: its server was stopped or lost its disk";

/// The file that holds when the recordings were last looked through.
const LOOKED_THROUGH: &str = ".looked-through";

/// How many threads may wait for the disk at a time. One that hangs must not take all that the process has.
const THREADS: usize = 64;
/// How many of those that read. They are others, so that reading holds up nothing that is recorded.
const READERS: usize = 8;

/// A folder of recordings. It must be there: one that is made where a volume should be mounted would be lost with its container.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
    threads: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

/// A recording in a folder.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct StoredRecording {
    /// Its name.
    pub name: RecordingName,
    /// Its file.
    pub path: PathBuf,
    /// Whether it is whole. Else it is being written, or was when its server was killed.
    pub is_whole: bool,
    /// Whether it is sealed.
    pub is_sealed: bool,
}

/// A file that is being written; none once something failed.
#[derive(Debug)]
struct Part {
    open: Option<Open>,
    threads: Arc<Semaphore>,
}

#[derive(Debug)]
struct Open {
    file: File,
    folder: PathBuf,
    part: PathBuf,
    whole: PathBuf,
    /// How many bytes are kept.
    length: u64,
}

// === impl Folder ===

impl Folder {
    /// The folder `path`.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            threads: Arc::new(Semaphore::new(THREADS)),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The places of those that read.
    pub(crate) fn readers(&self) -> &Arc<Semaphore> {
        &self.readers
    }

    /// Makes the folder, readable by this user alone, if it is not there.
    pub fn make(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// All recordings, in the order in which they began.
    pub fn list(&self) -> io::Result<Vec<StoredRecording>> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            kept.extend(StoredRecording::read(path));
        }
        kept.sort();
        Ok(kept)
    }

    /// Makes whole files of parts that no process writes any more, and says how many. A part that cannot be recovered is left for the next time, and told.
    pub fn recover(&self, now: SystemTime) -> io::Result<usize> {
        let mut count = 0;
        for kept in self.list()?.into_iter().filter(|kept| !kept.is_whole) {
            match recover(&kept, now) {
                Ok(is_recovered) => count += usize::from(is_recovered),
                Err(error) => tracing::warn!(recording = %kept.name, %error, "a recording cannot be recovered"),
            }
        }
        if count > 0 {
            sync(&self.path)?;
        }
        Ok(count)
    }

    /// When the recordings were last looked through, as [`Self::record_scan`] was told; none where that is not known.
    pub fn last_scan(&self) -> io::Result<Option<Timestamp>> {
        match fs::read_to_string(self.path.join(LOOKED_THROUGH)) {
            Ok(text) => Ok(text.trim().parse().ok()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The recordings are looked through at `now`. Replicas that share the folder share this too. A kill may leave half of it, which is not known then.
    pub fn record_scan(&self, now: Timestamp) -> io::Result<()> {
        let mut file = OpenOptions::new();
        let file = file.write(true).create(true).truncate(true).mode(0o600);
        writeln!(file.open(self.path.join(LOOKED_THROUGH))?, "{now}")
    }

    /// Removes whole recordings that began and were last written before `then`, and says how many. One that cannot be removed is left for the next time, and
    /// told. One that is gone was removed by another server.
    pub fn remove_before(&self, then: Timestamp) -> io::Result<usize> {
        let mut count = 0;
        for kept in self.list()?.into_iter().filter(|kept| kept.is_whole) {
            match kept.remove_before(then) {
                Ok(is_removed) => count += usize::from(is_removed),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(recording = %kept.name, %error, "an old recording cannot be removed"),
            }
        }
        Ok(count)
    }
}

impl Sink for Folder {
    fn begin(&self, name: &RecordingName, form: Encoding) -> SinkFuture<'_, Box<dyn RecordingWriter>> {
        let (folder, name, threads) = (self.path.clone(), name.clone(), Arc::clone(&self.threads));
        async move {
            let open = blocking(&threads, move || Open::new(folder, &name, form)).await?;
            let open = Some(open);
            let part: Box<dyn RecordingWriter> = Box::new(Part { open, threads });
            Ok(part)
        }
        .boxed()
    }
}

// === impl Part ===

impl RecordingWriter for Part {
    fn append(&mut self, bytes: Bytes) -> SinkFuture<'_, ()> {
        async move {
            // Whatever becomes of this, it is back only if the disk answered.
            let mut open = self.open.take().ok_or(SinkError::GivenUp)?;
            let (open, written) = blocking(&self.threads, move || {
                let written = open.append(&bytes);
                Ok((open, written))
            })
            .await?;
            self.open = Some(open);
            Ok(written?)
        }
        .boxed()
    }

    fn finish(self: Box<Self>) -> SinkFuture<'static, ()> {
        async move {
            let open = self.open.ok_or(SinkError::GivenUp)?;
            blocking(&self.threads, move || open.finish()).await
        }
        .boxed()
    }

    fn discard(self: Box<Self>) -> SinkFuture<'static, ()> {
        async move {
            let open = self.open.ok_or(SinkError::GivenUp)?;
            blocking(&self.threads, move || fs::remove_file(&open.part)).await
        }
        .boxed()
    }
}

// === impl Open ===

impl Open {
    fn new(folder: PathBuf, name: &RecordingName, form: Encoding) -> io::Result<Self> {
        let whole = folder.join(format!("{name}.{}", form.extension()));
        let part = folder.join(format!("{name}.{}{PART}", form.extension()));
        // Of one name there is one recording: neither a file nor a link that is there already is written to.
        let file = OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .mode(0o600)
            .open(&part)?;
        file.lock()?;
        sync(&folder)?;
        Ok(Self {
            file,
            folder,
            part,
            whole,
            length: 0,
        })
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Half a line must not stand before what is appended next.
            let length = self.length;
            self.file.set_len(length)?;
            self.file.seek(SeekFrom::Start(length))?;
            return Err(error);
        }
        self.length += u64::try_from(bytes.len()).unwrap_or_default();
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.part, &self.whole)?;
        sync(&self.folder)
    }
}

// === impl StoredRecording ===

impl StoredRecording {
    fn remove_before(&self, then: Timestamp) -> io::Result<bool> {
        if self.name.began() >= then || fs::metadata(&self.path)?.modified()? >= SystemTime::from(then) {
            return Ok(false);
        }
        fs::remove_file(&self.path)?;
        Ok(true)
    }

    fn read(path: PathBuf) -> Option<Self> {
        let file = path.file_name()?.to_str()?;
        let (file, is_whole) = file.strip_suffix(PART).map_or((file, true), |file| (file, false));
        let (name, is_sealed) = match file.strip_suffix(".age") {
            Some(file) => (file.strip_suffix(".cast")?, true),
            None => (file.strip_suffix(".cast")?, false),
        };
        let name = RecordingName::parse(name)?;
        Some(Self {
            name,
            path,
            is_whole,
            is_sealed,
        })
    }
}

fn recover(kept: &StoredRecording, now: SystemTime) -> io::Result<bool> {
    let mut file = OpenOptions::new().read(true).write(true).open(&kept.path)?;
    let changed = file.metadata()?.modified()?;
    if now.duration_since(changed).unwrap_or_default() < PART_GRACE {
        return Ok(false);
    }
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(false),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let Some(whole) = kept.path.to_str().and_then(|path| path.strip_suffix(PART)) else {
        return Ok(false);
    };
    // A process may have finished it between the listing and the lock.
    if fs::exists(whole)? || !fs::exists(&kept.path)? {
        return Ok(false);
    }
    let form = if kept.is_sealed {
        Encoding::Sealed
    } else {
        Encoding::Plain
    };
    let length = whole_flushes(&file, form.mark())?;
    if length == 0 {
        fs::remove_file(&kept.path)?;
        return Ok(true);
    }
    file.set_len(length)?;
    if !kept.is_sealed {
        file.seek(SeekFrom::Start(length))?;
        let time = last_time(&file, length)?;
        file.write_all(format!("[{time}, \"m\", \"{KILLED}\"]\n").as_bytes())?;
    }
    file.sync_all()?;
    fs::rename(&kept.path, whole)?;
    Ok(true)
}

/// How long the file is up to the end of the last `mark` in it.
pub(crate) fn whole_flushes(file: &File, mark: &str) -> io::Result<u64> {
    let overlap = u64::try_from(mark.len()).unwrap_or_default() - 1;
    let length = file.metadata()?.len();
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(4096);
        // A mark may begin in this block and end in the next.
        let mut block = vec![0; usize::try_from((end + overlap).min(length) - start).unwrap_or(0)];
        file.read_exact_at(&mut block, start)?;
        let found = block.windows(mark.len()).rposition(|bytes| bytes == mark.as_bytes());
        if let Some(at) = found {
            return Ok(start + u64::try_from(at + mark.len()).unwrap_or_default());
        }
        end = start;
    }
    Ok(0)
}

/// The time of the last event of a file whose last line is whole; that of the beginning where there is none.
fn last_time(file: &File, length: u64) -> io::Result<String> {
    let begin = length.saturating_sub(256 * 1024);
    let mut file = file;
    file.seek(SeekFrom::Start(begin))?;
    let mut tail = Vec::new();
    file.take(length - begin).read_to_end(&mut tail)?;
    file.seek(SeekFrom::Start(length))?;
    let mut lines = tail.trim_ascii_end().rsplit(|byte| *byte == b'\n');
    let time = lines.find_map(|line| {
        let event: (f64, IgnoredAny, IgnoredAny) = serde_json::from_slice(line).ok()?;
        Some(event.0)
    });
    Ok(format!("{:.6}", time.unwrap_or(0.000_001)))
}

/// What was made, renamed or removed in a folder is written through to the disk.
fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Does `work` on a thread that may wait. Its place is given back when it is done, and not when its caller has given up.
pub(crate) async fn blocking<T: Send + 'static>(
    threads: &Arc<Semaphore>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SinkError> {
    let place = Arc::clone(threads).acquire_owned().await;
    let place = place.map_err(|_| SinkError::GivenUp)?;
    let work = move || {
        let _place = place;
        work()
    };
    match spawn_blocking(work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(SinkError::GivenUp),
    }
}

#[cfg(test)]
mod tests;
