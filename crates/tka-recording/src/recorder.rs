//! A recording of one stream, from its beginning to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use thiserror::Error;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::backlog::{Backlog, Share};
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
/// How much is recorded of what a client sends beside its input, in bytes: sizes of a terminal, channels without a meaning. A client must not be able to fill the
/// recording with them.
const NOTICES: usize = 1024 * 1024;
/// What a line of a recording has beside its data, in bytes.
const LINE: usize = 32;

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

type Opening = BoxFuture<'static, Result<Box<dyn Writing>, RecordError>>;

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
    /// How many of them are being written.
    in_flight: usize,
    /// What this holds of what all streams that do not wait may.
    share: Share,
    /// How much more is recorded of what the client sends beside its input, in bytes; none when that was too much.
    notices: Option<usize>,
    /// How many bytes of streams were left out since the last line.
    left_out: u64,
    is_input_lost: bool,
    /// Whether it was recorded no further before the stream ended.
    is_cut: bool,
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
        let opening = open(Arc::clone(sink), name.clone(), header);
        let opening: Opening = match mode {
            Mode::Required => {
                let writing = detached(opening).await?;
                async move { Ok(writing) }.boxed()
            }
            Mode::BestEffort => opening.boxed(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                mode,
                cast,
                client: Channels::new(Side::Client),
                server: Channels::new(Side::Server),
                recorded: 0,
                taken,
                in_flight: 0,
                share: backlog.share(),
                notices: Some(NOTICES),
                left_out: 0,
                is_input_lost: false,
                is_cut: false,
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

// === impl State ===

impl State {
    fn read(&mut self, side: Side, bytes: &[u8], at: Duration, limits: Limits) -> Result<(), RecordError> {
        if at >= limits.time {
            return Err(RecordError::Time(limits.time));
        }
        let length = self.taken + u64::try_from(self.cast.len() + bytes.len()).unwrap_or(u64::MAX);
        let is_optional_input = side == Side::Client && self.mode == Mode::BestEffort;
        // Input leaves room for output.
        let share = if is_optional_input { 2 } else { 1 };
        if length > limits.bytes / share {
            return Err(RecordError::Size(limits.bytes));
        }
        // Only a stream that does not wait gets so far ahead of its recording.
        let is_required = self.mode == Mode::Required;
        let waiting = if is_optional_input { WAITING / 2 } else { WAITING };
        let is_shared_room = self.share.has_room();
        let has_room = |cast: &Cast| is_required || is_shared_room && cast.len() < waiting;
        if has_room(&self.cast) {
            self.tell_left_out(at);
        }
        let (cast, left_out, notices) = (&mut self.cast, &mut self.left_out, &mut self.notices);
        let channels = match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        };
        channels.read(bytes, |said| {
            if side == Side::Client && !matches!(said, Said::Bytes(Stream::Stdin, _)) {
                return notice(cast, notices, at, said);
            }
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
            self.cast
                .mark(at, "input is recorded no further: it is too much, or cannot be read");
        }
    }

    /// It is recorded no further, which the recording says.
    fn fails(&mut self, at: Duration, error: &RecordError) {
        if self.failed.is_none() {
            self.cast.mark(at, &format!("recorded no further: {error}"));
            self.failed = Some(error.clone());
            self.is_cut = true;
        }
    }

    fn take(&mut self) -> (Bytes, u64, Option<End>) {
        let bytes = self.cast.take();
        self.taken += u64::try_from(bytes.len()).unwrap_or_default();
        self.in_flight = bytes.len();
        (bytes, self.recorded, self.end)
    }

    /// Tells all who share it what waits to be written of this stream.
    fn count(&mut self) {
        if self.mode == Mode::BestEffort {
            self.share.set(self.in_flight + self.cast.len());
        }
    }

    /// Nothing more is written.
    fn give_up(&mut self) {
        drop(self.cast.take());
        self.in_flight = 0;
        self.count();
    }
}

/// Records what a client sends beside its input, until that was too much, which the recording says.
fn notice(cast: &mut Cast, left: &mut Option<usize>, at: Duration, said: Said<'_>) {
    let Some(room) = *left else { return };
    let data = match said {
        Said::Bytes(_, data) | Said::Other(_, data) | Said::Control(_, data) => data.len(),
        Said::Size { .. } | Said::StdinEnds => 0,
    };
    *left = room.checked_sub(LINE + data);
    match left {
        Some(_) => cast.record(at, said),
        None => cast.mark(
            at,
            "sizes of the terminal and other channels of the client are recorded no further",
        ),
    }
}

/// Begins a recording with its first line.
async fn open(sink: Arc<dyn Sink>, name: RecordingName, header: Bytes) -> Result<Box<dyn Writing>, RecordError> {
    let first_line = async {
        let mut writing = sink.begin(&name, Form::Plain).await?;
        writing.append(header).await?;
        Ok::<_, SinkError>(writing)
    };
    Ok(timeout(PATIENCE, first_line).await.map_err(|_| RecordError::Slow)??)
}

/// What `opening` gives. If its caller hangs up meanwhile, what it kept is removed.
async fn detached(
    opening: impl Future<Output = Result<Box<dyn Writing>, RecordError>> + Send + 'static,
) -> Result<Box<dyn Writing>, RecordError> {
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        if let Err(Ok(unwanted)) = sender.send(opening.await) {
            // What cannot be removed is told as the recording of a stream that is only its beginning.
            let _ = timeout(PATIENCE, unwanted.discard()).await;
        }
    });
    receiver.await.map_err(|_| RecordError::Ended)?
}

/// Writes what is recorded until the recording ends or cannot be written.
async fn write(shared: Arc<Shared>, opening: Opening, mode: Mode, name: RecordingName) -> Outcome {
    let outcome = match opening.await {
        Ok(writing) => write_on(&shared, writing, mode, &name).await,
        Err(error) => {
            tracing::warn!(recording = %name, %error, "a recording cannot begin; its stream goes on without");
            shared.fail(error);
            Outcome::Incomplete
        }
    };
    shared.state().give_up();
    shared.written.send_modify(|written| written.is_over = true);
    outcome
}

async fn write_on(shared: &Shared, mut writing: Box<dyn Writing>, mode: Mode, name: &RecordingName) -> Outcome {
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
            // It is not whole, and must not look so: a folder makes a whole file of it later, which says that it was cut.
            tracing::warn!(recording = %name, %error, "a recording cannot be written");
            shared.fail(error);
            return Outcome::Incomplete;
        }
        shared.is_appended();
        shared.written.send_modify(|written| written.recorded = recorded);
        if let Some(end) = end {
            break end;
        }
    };
    let done = match end {
        End::Finish => writing.finish(),
        End::Discard => writing.discard(),
    };
    let is_cut = shared.state().is_cut;
    match timeout(PATIENCE, done).await {
        Ok(Ok(())) if end == End::Discard => return Outcome::Discarded,
        Ok(Ok(())) if !is_cut => return Outcome::Whole,
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(recording = %name, %error, "a recording cannot be finished; what was acknowledged is kept");
        }
        Err(_) => {
            tracing::warn!(recording = %name, "a recording cannot be finished in time; what was acknowledged is kept");
        }
    }
    Outcome::Incomplete
}

async fn append(writing: &mut Box<dyn Writing>, bytes: Bytes) -> Result<(), RecordError> {
    match timeout(PATIENCE, writing.append(bytes)).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(RecordError::Slow),
    }
}

#[cfg(test)]
mod tests;
