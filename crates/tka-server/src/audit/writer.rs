//! Writes audit records, a line each, in a thread of its own: a slow disk or a reader that sleeps delays no other request.

use std::fs::{File, OpenOptions, metadata};
use std::io::{self, Write, stdout};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tka_operator::error::with_causes;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

/// How many records may wait to be written. A task that needs one written is told at once when there is no room.
const QUEUE: usize = 1024;
/// How long what is left may take to be written when the server stops.
const LAST_RECORDS: Duration = Duration::from_secs(5);
/// How long it may take to find out whether records can be written again.
const CHECK: Duration = Duration::from_secs(2);

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
pub(super) struct Queue {
    messages: mpsc::Sender<Message>,
    state: State,
}

/// Room for one line, kept from when it is known that there will be one. However many end at once, each has its own.
#[derive(Debug)]
pub struct QueueSlot {
    permit: mpsc::OwnedPermit<Message>,
    queue: Queue,
}

/// Whether the last record was written, and how many were not. Clones are the same.
#[derive(Clone, Debug)]
struct State {
    last: watch::Sender<Result<(), String>>,
    lost: Counter,
}

/// The thread that writes.
#[derive(Debug)]
pub struct Writer {
    queue: mpsc::Sender<Message>,
    ended: oneshot::Receiver<()>,
}

#[derive(Debug)]
enum Message {
    /// A line to write, and where to tell what came of it.
    Line(Vec<u8>, Option<oneshot::Sender<io::Result<()>>>),
    /// Find out whether a line could be written, and tell when that is known.
    Check(oneshot::Sender<()>),
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

/// Starts writing to the file at `path`, or to standard output when there is none. What is not written is counted in `lost`. As many as `kept` lines may have
/// room kept for them, beside those that wait.
pub(super) fn start(path: Option<&Path>, lost: Counter, kept: usize) -> Result<(Queue, Writer), AuditError> {
    let sink = match path {
        None => Sink::Stdout,
        Some(path) => Sink::File(LogFile::open(path).map_err(|source| AuditError::Open {
            path: path.to_owned(),
            source,
        })?),
    };
    let (queue, messages) = mpsc::channel(QUEUE.saturating_add(kept).min(Semaphore::MAX_PERMITS));
    let (end, ended) = oneshot::channel();
    let state = State::new(lost);
    let of_writer = state.clone();
    let write = move || {
        write_all(sink, messages, &of_writer);
        // It is waited for only when the server stops.
        let _ = end.send(());
    };
    let thread = thread::Builder::new().name("audit".into());
    thread.spawn(write).map_err(AuditError::Write)?;
    let messages = queue.clone();
    Ok((Queue { messages, state }, Writer { queue, ended }))
}

fn write_all(mut sink: Sink, mut messages: mpsc::Receiver<Message>, state: &State) {
    while let Some(message) = messages.blocking_recv() {
        match message {
            Message::Line(line, waiter) => {
                let written = sink.write(&line);
                state.after(&line, &written);
                if let Some(waiter) = waiter {
                    // The one who asked may have hung up.
                    let _ = waiter.send(written);
                }
            }
            Message::Check(waiter) => {
                let ended = sink.end_line().map_err(|error| not_written(&error));
                drop(state.last.send_replace(ended));
                let _ = waiter.send(());
            }
            Message::Stop => return,
        }
    }
}

fn not_written(error: &(dyn std::error::Error + 'static)) -> String {
    format!(
        "audit records cannot be written ({}): nothing is given until they can; look at the disk or the reader of audit.path",
        with_causes(error)
    )
}

// === impl State ===

impl State {
    fn new(lost: Counter) -> Self {
        Self {
            last: watch::Sender::new(Ok(())),
            lost,
        }
    }

    fn after(&self, line: &[u8], written: &io::Result<()>) {
        match written {
            Err(error) => self.lost(line, error),
            Ok(()) => {
                self.last
                    .send_if_modified(|last| std::mem::replace(last, Ok(())).is_err());
            }
        }
    }

    /// The log is the last place where a record can go that has no other.
    fn lost(&self, line: &[u8], error: &(dyn std::error::Error + 'static)) {
        self.failed(error);
        let record = String::from_utf8_lossy(line);
        tracing::error!(record = record.trim_end(), error, "audit record not written");
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) {
        self.lost.inc();
        drop(self.last.send_replace(Err(not_written(error))));
    }
}

// === impl Queue ===

impl Queue {
    /// Writes `line`, and returns when it is written.
    pub(super) async fn write(&self, line: Vec<u8>) -> Result<(), AuditError> {
        let (ask, answer) = oneshot::channel();
        let sent = self.messages.try_send(Message::Line(line, Some(ask)));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AuditError::Full,
            mpsc::error::TrySendError::Closed(_) => AuditError::Ended,
        })
        .inspect_err(|error| self.state.failed(error))?;
        answer.await.map_err(|_| AuditError::Ended)?.map_err(AuditError::Write)
    }

    /// Keeps room for a line.
    pub(super) fn room(&self) -> Result<QueueSlot, AuditError> {
        let permit = self.messages.clone().try_reserve_owned();
        let permit = permit.map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AuditError::Full,
            mpsc::error::TrySendError::Closed(_) => AuditError::Ended,
        })?;
        let queue = self.clone();
        Ok(QueueSlot { permit, queue })
    }

    /// Leaves `line` to be written. If that fails it goes to the log.
    pub(super) fn leave(&self, line: Vec<u8>) {
        self.send(line, None);
    }

    /// Leaves `line` to be written, and returns when it is, or went to the log.
    pub(super) async fn keep(&self, line: Vec<u8>) {
        let (ask, answer) = oneshot::channel();
        self.send(line, Some(ask));
        // The writer tells whether it was written.
        let _ = answer.await;
    }

    fn send(&self, line: Vec<u8>, waiter: Option<oneshot::Sender<io::Result<()>>>) {
        match self.messages.try_send(Message::Line(line, waiter)) {
            Err(mpsc::error::TrySendError::Full(Message::Line(line, _))) => self.state.lost(&line, &AuditError::Full),
            Err(mpsc::error::TrySendError::Closed(Message::Line(line, _))) => {
                self.state.lost(&line, &AuditError::Ended);
            }
            Ok(()) | Err(_) => {}
        }
    }

    /// Whether lines can be written: as the last was, or where that was not, as it is found out now.
    pub(super) async fn check(&self) -> Result<(), String> {
        if self.state.last.borrow().is_ok() {
            return Ok(());
        }
        let (ask, answer) = oneshot::channel();
        if self.messages.try_send(Message::Check(ask)).is_ok() {
            // Without an answer, what is known stands.
            let _ = tokio::time::timeout(CHECK, answer).await;
        }
        self.state.last.borrow().clone()
    }
}

// === impl QueueSlot ===

impl QueueSlot {
    /// Leaves `line` to be written. If that fails it goes to the log.
    pub(super) fn leave(self, line: Vec<u8>) {
        if self.queue.messages.is_closed() {
            return self.queue.state.lost(&line, &AuditError::Ended);
        }
        self.permit.send(Message::Line(line, None));
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

    /// Ends the line that was cut off, which is a write as any other. Readers of JSON lines pass over an empty line.
    fn end_line(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout => self.write(b"\n"),
            Self::File(file) => file.end_line(),
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
        self.follow()?;
        if self.torn {
            self.file.write_all(b"\n")?;
        }
        // Until it is known to be whole.
        self.torn = true;
        self.file.write_all(line)?;
        self.torn = false;
        Ok(())
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.follow()?;
        if self.torn {
            self.file.write_all(b"\n")?;
        }
        self.torn = false;
        Ok(())
    }

    /// Opens the file anew that is at the path by now, where it is another.
    fn follow(&mut self) -> io::Result<()> {
        if !metadata(&self.path).is_ok_and(|at_path| (at_path.dev(), at_path.ino()) == self.identity) {
            *self = Self::open(&self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[tokio::test]
    async fn each_that_kept_room_has_it_when_all_end_at_once() {
        const KEPT: usize = 3000;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let lost = Counter::default();
        let (queue, writer) = start(Some(&path), lost.clone(), KEPT).unwrap();
        let rooms: Vec<QueueSlot> = (0..KEPT).map(|_| queue.room().unwrap()).collect();
        // What else is recorded has its own.
        queue.write(b"other\n".to_vec()).await.unwrap();
        for room in rooms {
            room.leave(b"end\n".to_vec());
        }
        let late = queue.room().unwrap();
        writer.finish().await;
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), KEPT + 1);
        assert_eq!(lost.get(), 0);
        late.leave(b"late\n".to_vec());
        assert_eq!(lost.get(), 1, "what is not written is counted and logged");
    }

    #[tokio::test]
    async fn what_was_left_is_written_in_order_before_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        fs::write(&path, "before\n").unwrap();
        let (queue, writer) = start(Some(&path), Counter::default(), 0).unwrap();
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
        let (queue, _writer) = start(Some(&path), Counter::default(), 0).unwrap();
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
        let (queue, _writer) = start(Some(&path), Counter::default(), 0).unwrap();
        fs::remove_dir_all(&logs).unwrap();
        assert_eq!(queue.check().await, Ok(()));
        assert!(matches!(queue.write(b"1\n".to_vec()).await, Err(AuditError::Write(_))));
        let why = queue.check().await.unwrap_err();
        assert!(why.contains("audit records cannot be written"), "{why}");
        assert_eq!(queue.state.lost.get(), 1);
        fs::create_dir(&logs).unwrap();
        assert_eq!(queue.check().await, Ok(()), "no record need come to find that out");
        queue.write(b"2\n".to_vec()).await.unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
        let no_file = start(Some(folder.path()), Counter::default(), 0);
        assert!(matches!(no_file, Err(AuditError::Open { .. })));
    }

    #[tokio::test]
    async fn full_queue_is_an_error_at_once() {
        let (messages, _kept) = mpsc::channel(1);
        let state = State::new(Counter::default());
        let queue = Queue { messages, state };
        queue.leave(b"1\n".to_vec());
        assert!(matches!(queue.write(b"2\n".to_vec()).await, Err(AuditError::Full)));
        queue.leave(b"3\n".to_vec());
        assert_eq!(queue.state.lost.get(), 2);
        assert!(queue.check().await.unwrap_err().contains("too many"));
    }

    // cases.md 11.2
    #[tokio::test]
    async fn full_disk_is_told_until_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        std::os::unix::fs::symlink("/dev/full", &path).unwrap();
        let (queue, _writer) = start(Some(&path), Counter::default(), 0).unwrap();
        assert!(matches!(queue.write(b"1\n".to_vec()).await, Err(AuditError::Write(_))));
        let why = queue.check().await.unwrap_err();
        let says = |part| why.contains(part);
        assert!(says("No space left on device") && says("audit.path"), "{why}");
        fs::remove_file(&path).unwrap();
        assert_eq!(queue.check().await, Ok(()));
    }
}
