//! What is recorded of a stream and not written yet, and how far it may grow.

use std::time::Duration;

use bytes::Bytes;

use super::types::{End, Limits, Mode, RecordError};
use crate::backlog::Share;
use crate::cast::Cast;
use crate::channels::{ChannelEvent, Channels, Stream};
use crate::frames::Side;

/// How much may wait to be written of a stream that does not wait for its recording, in bytes. More is left out.
pub(super) const WAITING: usize = 4 * 1024 * 1024;
/// How much is recorded of what a client sends beside its input, in bytes: sizes of a terminal, channels without a meaning. A client must not be able to fill the
/// recording with them.
pub(super) const NOTICES: usize = 1024 * 1024;
/// What a line of a recording has beside its data, in bytes.
const LINE: usize = 32;

#[derive(Debug)]
pub(super) struct State {
    pub(super) mode: Mode,
    pub(super) cast: Cast,
    client: Channels,
    server: Channels,
    /// How many times something was recorded.
    pub(super) recorded: u64,
    /// How many bytes were taken to be written.
    taken: u64,
    /// How many of them are being written.
    pub(super) in_flight: usize,
    /// What this holds of what all streams that do not wait may.
    share: Share,
    /// How much more is recorded of what the client sends beside its input, in bytes; none when that was too much.
    notices: Option<usize>,
    /// How many bytes of streams were left out since the last line.
    left_out: u64,
    is_input_lost: bool,
    /// Whether it was recorded no further before the stream ended.
    pub(super) is_cut: bool,
    pub(super) end: Option<End>,
    pub(super) failed: Option<RecordError>,
}

// === impl State ===

impl State {
    /// The state of a recording whose first line, of `taken` bytes, is being written.
    pub(super) fn new(mode: Mode, cast: Cast, taken: u64, share: Share) -> Self {
        Self {
            mode,
            cast,
            client: Channels::new(Side::Client),
            server: Channels::new(Side::Server),
            recorded: 0,
            taken,
            in_flight: 0,
            share,
            notices: Some(NOTICES),
            left_out: 0,
            is_input_lost: false,
            is_cut: false,
            end: None,
            failed: None,
        }
    }

    /// `side` sent these bytes.
    pub(super) fn read(&mut self, side: Side, bytes: &[u8], at: Duration, limits: Limits) -> Result<(), RecordError> {
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
            if side == Side::Client && !matches!(said, ChannelEvent::Bytes(Stream::Stdin, _)) {
                return notice(cast, notices, at, said);
            }
            if has_room(cast) {
                return cast.record(at, said);
            }
            if let ChannelEvent::Bytes(Stream::Stdout | Stream::Stderr | Stream::Error, bytes) = said {
                *left_out += u64::try_from(bytes.len()).unwrap_or_default();
            }
        })?;
        Ok(())
    }

    pub(super) fn tell_left_out(&mut self, at: Duration) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            self.cast.mark(
                at,
                &format!("{left_out} bytes of output are left out: the recording is written too slowly"),
            );
        }
    }

    /// What the client sends is recorded no further, which the recording says once.
    pub(super) fn stops_input(&mut self, at: Duration) {
        if !std::mem::replace(&mut self.is_input_lost, true) {
            self.cast
                .mark(at, "input is recorded no further: it is too much, or cannot be read");
        }
    }

    /// It is recorded no further, which the recording says.
    pub(super) fn fails(&mut self, at: Duration, error: &RecordError) {
        if self.failed.is_none() {
            self.cast.mark(at, &format!("recorded no further: {error}"));
            self.failed = Some(error.clone());
            self.is_cut = true;
        }
    }

    pub(super) fn take(&mut self) -> (Bytes, u64, Option<End>) {
        let bytes = self.cast.take();
        self.taken += u64::try_from(bytes.len()).unwrap_or_default();
        self.in_flight = bytes.len();
        (bytes, self.recorded, self.end)
    }

    /// Tells all who share it what waits to be written of this stream.
    pub(super) fn count(&mut self) {
        if self.mode == Mode::BestEffort {
            self.share.set(self.in_flight + self.cast.len());
        }
    }

    /// Nothing more is written.
    pub(super) fn give_up(&mut self) {
        drop(self.cast.take());
        self.in_flight = 0;
        self.count();
    }
}

/// Records what a client sends beside its input, until that was too much, which the recording says.
fn notice(cast: &mut Cast, left: &mut Option<usize>, at: Duration, said: ChannelEvent<'_>) {
    let Some(room) = *left else { return };
    let data = match said {
        ChannelEvent::Bytes(_, data) | ChannelEvent::Other(_, data) | ChannelEvent::Control(_, data) => data.len(),
        ChannelEvent::Size { .. } | ChannelEvent::StdinEnds => 0,
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
