//! Writes audit records, a line each, in a thread of its own: a slow disk or a reader that sleeps delays no other request.

use std::fs::{File, OpenOptions, metadata};
use std::io::{self, Write, stdout};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// How many records may wait to be written. Whoever needs one written hears at once when there is no room.
const QUEUE: usize = 1024;
/// How long what is left may take to be written when the server stops.
const LAST_RECORDS: Duration = Duration::from_secs(5);

/// Why a record was not written.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The audit log cannot be opened.
    #[error("the audit log {} cannot be opened", path.display())]
    Open {
        /// Its path.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It cannot be written to.
    #[error("the audit record cannot be written")]
    Write(#[source] io::Error),
    /// More records wait than there is room for.
    #[error("too many audit records wait to be written")]
    Full,
    /// The thread that writes has ended.
    #[error("no audit records are written any more")]
    Ended,
}

/// Where lines are left to be written.
#[derive(Clone, Debug)]
pub(super) struct Queue(mpsc::Sender<Message>);

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Message>,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug)]
enum Message {
    /// A line to write, and whom to tell what came of it.
    Line(Vec<u8>, Option<oneshot::Sender<io::Result<()>>>),
    Stop,
}

enum Sink {
    Stdout,
    File(LogFile),
}

/// A file that another may rename away at any time: what is written next then goes to a new one.
struct LogFile {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
    /// Whether the last line may have been cut off.
    torn: bool,
}

/// Starts writing to the file at `path`, or to standard output when there is none.
pub(super) fn start(path: Option<&Path>) -> Result<(Queue, Writer), AuditError> {
    let sink = match path {
        None => Sink::Stdout,
        Some(path) => Sink::File(LogFile::open(path).map_err(|source| AuditError::Open {
            path: path.to_owned(),
            source,
        })?),
    };
    let (queue, messages) = mpsc::channel(QUEUE);
    let (end, ended) = oneshot::channel();
    let write = move || {
        write_all(sink, messages);
        // Nobody waits for it unless the server stops.
        let _ = end.send(());
    };
    thread::Builder::new()
        .name("audit".into())
        .spawn(write)
        .map_err(AuditError::Write)?;
    Ok((Queue(queue.clone()), Writer { queue, ended }))
}

fn write_all(mut sink: Sink, mut messages: mpsc::Receiver<Message>) {
    while let Some(Message::Line(line, asked)) = messages.blocking_recv() {
        let written = sink.write(&line);
        if let Err(error) = &written {
            lost(&line, error);
        }
        if let Some(asked) = asked {
            // Whoever asked may have hung up.
            let _ = asked.send(written);
        }
    }
}

/// The log is the last place where a record can go that has no other.
fn lost(line: &[u8], error: &(dyn std::error::Error + 'static)) {
    let record = String::from_utf8_lossy(line);
    tracing::error!(record = record.trim_end(), error, "an audit record was not written");
}

// === impl Queue ===

impl Queue {
    /// Writes `line`, and returns when it is written.
    pub(super) async fn write(&self, line: Vec<u8>) -> Result<(), AuditError> {
        let (ask, answer) = oneshot::channel();
        self.0
            .try_send(Message::Line(line, Some(ask)))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AuditError::Full,
                mpsc::error::TrySendError::Closed(_) => AuditError::Ended,
            })?;
        answer.await.map_err(|_| AuditError::Ended)?.map_err(AuditError::Write)
    }

    /// Leaves `line` to be written. If that fails it goes to the log.
    pub(super) fn leave(&self, line: Vec<u8>) {
        self.send(line, None);
    }

    /// Leaves `line` to be written, and returns when it is, or went to the log.
    pub(super) async fn keep(&self, line: Vec<u8>) {
        let (ask, answer) = oneshot::channel();
        self.send(line, Some(ask));
        // Whether it was written is told by whoever wrote.
        let _ = answer.await;
    }

    fn send(&self, line: Vec<u8>, asked: Option<oneshot::Sender<io::Result<()>>>) {
        match self.0.try_send(Message::Line(line, asked)) {
            Err(mpsc::error::TrySendError::Full(Message::Line(line, _))) => lost(&line, &AuditError::Full),
            Err(mpsc::error::TrySendError::Closed(Message::Line(line, _))) => lost(&line, &AuditError::Ended),
            Ok(()) | Err(_) => {}
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Returns when all that was left to be written is written, or it takes too long.
    pub async fn finish(self) {
        let Self { queue, ended } = self;
        let all_written = async {
            if queue.send(Message::Stop).await.is_ok() {
                let _ = ended.await;
            }
        };
        if tokio::time::timeout(LAST_RECORDS, all_written).await.is_err() {
            tracing::error!("the last audit records may not have been written");
        }
    }
}

// === impl Sink ===

impl Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = stdout().lock();
                stdout.write_all(line)?;
                stdout.flush()
            }
            Self::File(file) => file.write(line),
        }
    }
}

// === impl LogFile ===

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self {
            path: path.to_owned(),
            identity: (metadata.dev(), metadata.ino()),
            file,
            torn: false,
        })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if !metadata(&self.path).is_ok_and(|at_path| (at_path.dev(), at_path.ino()) == self.identity) {
            *self = Self::open(&self.path)?;
        }
        if self.torn {
            self.file.write_all(b"\n")?;
        }
        // Until it is known to be whole.
        self.torn = true;
        self.file.write_all(line)?;
        self.torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn what_was_left_is_written_in_order_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        fs::write(&path, "before\n").unwrap();
        let (queue, writer) = start(Some(&path)).unwrap();
        for line in 0..500 {
            queue.leave(format!("{line}\n").into_bytes());
        }
        writer.finish().await;
        let text = fs::read_to_string(&path).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "before");
        assert!(rest.lines().map(|line| line.parse::<u32>().unwrap()).eq(0..500));
        assert!(matches!(queue.write(b"x\n".to_vec()).await, Err(AuditError::Ended)));
    }

    #[tokio::test]
    async fn file_that_was_rotated_away_is_followed_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let (path, old) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
        let (queue, _writer) = start(Some(&path)).unwrap();
        queue.write(b"1\n".to_vec()).await.unwrap();
        fs::rename(&path, &old).unwrap();
        queue.write(b"2\n".to_vec()).await.unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "1\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[tokio::test]
    async fn line_that_cannot_be_written_is_an_error_until_it_can() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("logs");
        fs::create_dir(&logs).unwrap();
        let path = logs.join("audit.log");
        let (queue, _writer) = start(Some(&path)).unwrap();
        fs::remove_dir_all(&logs).unwrap();
        assert!(matches!(queue.write(b"1\n".to_vec()).await, Err(AuditError::Write(_))));
        fs::create_dir(&logs).unwrap();
        queue.write(b"2\n".to_vec()).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        assert!(matches!(start(Some(folder.path())), Err(AuditError::Open { .. })));
    }

    #[tokio::test]
    async fn full_queue_is_an_error_at_once() {
        let (queue, _kept) = mpsc::channel(1);
        let queue = Queue(queue);
        queue.leave(b"1\n".to_vec());
        assert!(matches!(queue.write(b"2\n".to_vec()).await, Err(AuditError::Full)));
        queue.leave(b"3\n".to_vec());
    }
}
