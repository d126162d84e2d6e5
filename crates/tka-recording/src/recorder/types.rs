//! What a recording is begun with, and how it may end.

use std::time::Duration;

use thiserror::Error;

use crate::frames::FrameError;
use crate::sink::SinkError;

/// How long a sink may take for one flush.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

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

/// How a recording ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// What there is of it is kept.
    Finish,
    /// It is removed.
    Discard,
}
