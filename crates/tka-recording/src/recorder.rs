//! A recording of one stream, from its beginning to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use crate::cast::Cast;
use crate::channels::{Channels, Said, Stream};
use crate::frames::{FrameError, Side};
use crate::header::About;
use crate::name::RecordingName;
use crate::sink::{Form, Sink, SinkError, Writing};

/// How long a sink may take for one flush.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stream is gathered for that does not wait for its recording.
const GATHERED: Duration = Duration::from_millis(500);
/// How much may wait to be written of such a stream, in bytes. More is left out.
const WAITING: usize = 4 * 1024 * 1024;
/// How much of what need not be waited for may wait of a stream that does wait, in bytes: sizes of a terminal.
const UNWAITED: usize = 64 * 1024;

/// Whether bytes wait for their recording.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// They do, and the stream ends when it cannot be recorded.
    Required,
    /// They do not. What cannot be recorded is left out.
    BestEffort,
}

/// How much is recorded of one stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How many bytes a recording may have.
    pub bytes: u64,
    /// How long a stream may last.
    pub time: Duration,
}

/// Why a stream is not recorded any further.
#[derive(Clone, Debug, Error)]
pub enum RecordError {
    /// The sink does not keep it.
    #[error("the recording cannot be written: {0}")]
    Sink(#[from] SinkError),
    /// The sink does not say whether it keeps it.
    #[error("the recording cannot be written: it was not acknowledged within {} s", PATIENCE.as_secs())]
    Slow,
    /// It cannot be read.
    #[error("the stream cannot be recorded: {0}")]
    Unreadable(#[from] FrameError),
    /// It is too long.
    #[error("the recording has reached its limit of {0} bytes; connect again")]
    Size(u64),
    /// It lasted too long.
    #[error("the recording has reached its limit of {} s; connect again", .0.as_secs())]
    Time(Duration),
    /// It has ended.
    #[error("the recording has ended")]
    Ended,
}

/// Records one stream. Dropping it ends the recording.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    mode: Mode,
    waits_for_input: bool,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    more: Notify,
    /// There is nothing more to wait for.
    ends: Notify,
    written: watch::Sender<Written>,
    began: Instant,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    cast: Cast,
    client: Channels,
    server: Channels,
    /// How many times something was recorded.
    recorded: u64,
    /// How many bytes were taken to be written.
    taken: u64,
    /// How many bytes of streams were left out since the last line.
    left_out: u64,
    is_input_lost: bool,
    end: Option<End>,
    failed: Option<RecordError>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    Finish,
    Discard,
}

/// How far it is written.
#[derive(Clone, Debug, Default)]
struct Written {
    recorded: u64,
    failed: Option<RecordError>,
    is_over: bool,
}

// === impl Recorder ===

impl Recorder {
    /// Begins the recording of `about`, and returns when its first line is kept. The second value writes the recording: it must be run, and ends after the
    /// recorder does.
    pub async fn begin(
        sink: &dyn Sink,
        form: Form,
        name: &RecordingName,
        about: &About,
        began: Timestamp,
        limits: Limits,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), RecordError> {
        let mode = if about.required {
            Mode::Required
        } else {
            Mode::BestEffort
        };
        let start = Instant::now();
        let mut cast = Cast::new(about, began);
        let header = cast.take();
        let taken = u64::try_from(header.len()).unwrap_or_default();
        let first_line = async {
            let mut writing = sink.begin(name, form).await?;
            writing.append(header).await?;
            Ok::<_, SinkError>(writing)
        };
        let writing = timeout(PATIENCE, first_line).await.map_err(|_| RecordError::Slow)??;
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mode,
                cast,
                client: Channels::new(Side::Client),
                server: Channels::new(Side::Server),
                recorded: 0,
                taken,
                left_out: 0,
                is_input_lost: false,
                end: None,
                failed: None,
            }),
            more: Notify::new(),
            ends: Notify::new(),
            written: watch::Sender::default(),
            began: start,
            limits,
        });
        let recorder = Self {
            shared: Arc::clone(&shared),
            mode,
            waits_for_input: about.stdin_recorded,
        };
        Ok((recorder, write(shared, writing, mode)))
    }

    /// `side` sends these bytes. Returns when they may go on; an error when the stream must end.
    pub async fn passes(&self, side: Side, bytes: &[u8]) -> Result<(), RecordError> {
        let (recorded, waiting) = self.shared.record(side, bytes)?;
        let is_waited_for = side == Side::Server || self.waits_for_input || waiting > UNWAITED;
        let waits = self.mode == Mode::Required && is_waited_for;
        if !waits {
            return Ok(());
        }
        self.shared.is_written(recorded).await
    }

    /// The stream ends, and why.
    pub fn end(&self, why: &str) {
        self.shared.end(End::Finish, why);
    }

    /// The stream did not begin: what is recorded is removed.
    pub fn discard(&self) {
        self.shared.end(End::Discard, "");
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.end(End::Finish, "the stream was given up");
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records `bytes`. Says how many times something was recorded, and how many bytes wait to be written.
    fn record(&self, side: Side, bytes: &[u8]) -> Result<(u64, usize), RecordError> {
        let at = self.began.elapsed();
        let mut state = self.state();
        let read = match state.failed.clone() {
            Some(failed) => Err(failed),
            None => state.read(side, bytes, at, self.limits),
        };
        match &read {
            // A client must not be able to switch off with its input that its output is recorded.
            Err(RecordError::Unreadable(_)) if side == Side::Client && state.mode == Mode::BestEffort => {
                state.loses_input(at);
            }
            Err(error) => state.fails(at, error),
            Ok(()) => {}
        }
        state.recorded += 1;
        let (mode, recorded, waiting) = (state.mode, state.recorded, state.cast.len());
        drop(state);
        self.more.notify_one();
        match read {
            Err(error) if mode == Mode::Required => Err(error),
            _ => Ok((recorded, waiting)),
        }
    }

    async fn is_written(&self, recorded: u64) -> Result<(), RecordError> {
        let mut written = self.written.subscribe();
        let is_decided =
            |written: &Written| written.recorded >= recorded || written.failed.is_some() || written.is_over;
        let written = written.wait_for(is_decided).await.map_err(|_| RecordError::Ended)?;
        if written.recorded >= recorded {
            return Ok(());
        }
        Err(written.failed.clone().unwrap_or(RecordError::Ended))
    }

    fn end(&self, end: End, why: &str) {
        let at = self.began.elapsed();
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        state.tell_left_out(at);
        state.cast.end(at, why);
        state.end = Some(end);
        state.failed.get_or_insert(RecordError::Ended);
        drop(state);
        self.more.notify_one();
        self.ends.notify_one();
    }

    fn fail(&self, error: RecordError) {
        self.state().failed.get_or_insert_with(|| error.clone());
        self.written.send_modify(|written| written.failed = Some(error));
    }
}

// === impl State ===

impl State {
    fn read(&mut self, side: Side, bytes: &[u8], at: Duration, limits: Limits) -> Result<(), RecordError> {
        if at >= limits.time {
            return Err(RecordError::Time(limits.time));
        }
        let length = self.taken + u64::try_from(self.cast.len() + bytes.len()).unwrap_or(u64::MAX);
        if length > limits.bytes {
            return Err(RecordError::Size(limits.bytes));
        }
        // Only a stream that does not wait gets so far ahead of its recording.
        let mode = self.mode;
        let has_room = |cast: &Cast| mode == Mode::Required || cast.len() < WAITING;
        if has_room(&self.cast) {
            self.tell_left_out(at);
        }
        let (cast, left_out) = (&mut self.cast, &mut self.left_out);
        let channels = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        channels.read(bytes, |said| {
            if has_room(cast) {
                return cast.record(at, said);
            }
            if let Said::Bytes(Stream::Stdout | Stream::Stderr | Stream::Error, bytes) = said {
                *left_out += u64::try_from(bytes.len()).unwrap_or_default();
            }
        })?;
        Ok(())
    }

    fn tell_left_out(&mut self, at: Duration) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            self.cast.mark(
                at,
                &format!("{left_out} bytes of output are left out: the recording is written too slowly"),
            );
        }
    }

    /// What the client sends is recorded no further, which the recording says once.
    fn loses_input(&mut self, at: Duration) {
        if !std::mem::replace(&mut self.is_input_lost, true) {
            self.cast.mark(at, "input is recorded no further: it cannot be read");
        }
    }

    /// It is recorded no further, which the recording says.
    fn fails(&mut self, at: Duration, error: &RecordError) {
        if self.failed.is_none() {
            self.cast.mark(at, &format!("recorded no further: {error}"));
            self.failed = Some(error.clone());
        }
    }

    fn take(&mut self) -> (Bytes, u64, Option<End>) {
        let bytes = self.cast.take();
        self.taken += u64::try_from(bytes.len()).unwrap_or_default();
        (bytes, self.recorded, self.end)
    }
}

/// Writes what is recorded until the recording ends or cannot be written.
async fn write(shared: Arc<Shared>, mut writing: Box<dyn Writing>, mode: Mode) {
    let end = loop {
        shared.more.notified().await;
        if mode == Mode::BestEffort {
            let _ = timeout(GATHERED, shared.ends.notified()).await;
        }
        let (bytes, recorded, end) = shared.state().take();
        if !bytes.is_empty()
            && end != Some(End::Discard)
            && let Err(error) = append(&mut writing, bytes).await
        {
            tracing::warn!(%error, "a recording cannot be written");
            shared.fail(error);
            break End::Finish;
        }
        shared.written.send_modify(|written| written.recorded = recorded);
        if let Some(end) = end {
            break end;
        }
    };
    let done = match end {
        End::Finish => writing.finish(),
        End::Discard => writing.discard(),
    };
    match timeout(PATIENCE, done).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "a recording cannot be finished; what was acknowledged is kept"),
        Err(_) => tracing::warn!("a recording cannot be finished in time; what was acknowledged is kept"),
    }
    shared.written.send_modify(|written| written.is_over = true);
}

async fn append(writing: &mut Box<dyn Writing>, bytes: Bytes) -> Result<(), RecordError> {
    match timeout(PATIENCE, writing.append(bytes)).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(RecordError::Slow),
    }
}

#[cfg(test)]
mod tests;
