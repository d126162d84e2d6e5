//! A recording of one stream, from its beginning to its end.

mod shared;
mod state;
mod types;
mod write;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::backlog::Backlog;
use crate::cast::Cast;
use crate::frames::Side;
use crate::header::RecordingMetadata;
use crate::name::RecordingName;
use crate::sink::Sink;
use shared::Shared;
use state::State;
use types::End;
pub use types::{Limits, Mode, Outcome, RecordError};
use write::{opening, write};

/// How much of what need not be waited for may wait of a stream that does wait, in bytes: sizes of a terminal.
const UNWAITED: usize = 64 * 1024;

/// Records one stream. Dropping it ends the recording.
#[derive(Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
    mode: Mode,
    waits_for_input: bool,
}

// === impl Recorder ===

impl Recorder {
    /// Begins the recording of `about`. Where it is required, this returns when its first line is kept; else that is not waited for. The second value writes the
    /// recording: it must be run, ends after the recorder does, and says what became of the recording.
    pub async fn begin(
        sink: &Arc<dyn Sink>,
        name: &RecordingName,
        about: &RecordingMetadata,
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
        let shared = Shared::new(State::new(mode, cast, taken, backlog.share()), start, limits);
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

#[cfg(test)]
mod tests;
