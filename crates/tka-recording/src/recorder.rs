//! A recording of one stream, from its beginning to its end.

mod state;
mod write;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::backlog::Backlog;
use crate::cast::Cast;
use crate::frames::{FrameError, Side};
use crate::header::About;
use crate::name::RecordingName;
use crate::sink::{Sink, SinkError};
use state::State;
use write::{opening, write};

/// How long a sink may take for one flush.
const PATIENCE: Duration = Duration::from_secs(10);
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

/// What became of a recording.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outcome {
    /// It is whole.
    Whole,
    /// It is not: it was not begun, or recorded no further, or is not finished. What was acknowledged is kept.
    Incomplete,
    /// It was removed: its stream did not begin.
    Discarded,
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
    /// Begins the recording of `about`. Where it is required, this returns when its first line is kept; else that is not waited for. The second value writes the
    /// recording: it must be run, ends after the recorder does, and says what became of the recording.
    pub async fn begin(
        sink: &Arc<dyn Sink>,
        name: &RecordingName,
        about: &About,
        began: Timestamp,
        limits: Limits,
        backlog: &Arc<Backlog>,
    ) -> Result<(Self, impl Future<Output = Outcome> + Send + 'static), RecordError> {
        let mode = if about.required {
            Mode::Required
        } else {
            Mode::BestEffort
        };
        let start = Instant::now();
        let mut cast = Cast::new(about, began);
        let header = cast.take();
        let taken = u64::try_from(header.len()).unwrap_or_default();
        let opening = opening(mode, sink, name, header).await?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(mode, cast, taken, backlog.share())),
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
        Ok((recorder, write(shared, opening, mode, name.clone())))
    }

    /// Why the recording is not whole, if that is so by now.
    #[must_use]
    pub fn failure(&self) -> Option<RecordError> {
        let failed = self.shared.state().failed.clone();
        failed.filter(|failed| !matches!(failed, RecordError::Ended))
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
            Err(RecordError::Unreadable(_) | RecordError::Size(_))
                if side == Side::Client && state.mode == Mode::BestEffort =>
            {
                state.loses_input(at);
            }
            Err(error) => state.fails(at, error),
            Ok(()) => {}
        }
        state.recorded += 1;
        state.count();
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

    /// What was taken is written.
    fn is_appended(&self) {
        let mut state = self.state();
        state.in_flight = 0;
        state.count();
    }

    fn fail(&self, error: RecordError) {
        self.state().failed.get_or_insert_with(|| error.clone());
        self.written.send_modify(|written| written.failed = Some(error));
    }
}

#[cfg(test)]
mod tests;
