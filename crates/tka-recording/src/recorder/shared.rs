//! What a recorder and the task that writes share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::state::State;
use super::types::{End, Limits, Mode, RecordError};
use crate::frames::Side;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// There is something to write.
    pub(super) more: Notify,
    /// There is nothing more to wait for.
    pub(super) ends: Notify,
    pub(super) written: watch::Sender<Progress>,
    began: Instant,
    limits: Limits,
}

/// How far it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    pub(super) recorded: u64,
    failed: Option<RecordError>,
    pub(super) is_over: bool,
}

// === impl Shared ===

impl Shared {
    pub(super) fn new(state: State, began: Instant, limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            more: Notify::new(),
            ends: Notify::new(),
            written: watch::Sender::default(),
            began,
            limits,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records `bytes`. Says how many times something was recorded, and how many bytes wait to be written.
    pub(super) fn record(&self, side: Side, bytes: &[u8]) -> Result<(u64, usize), RecordError> {
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
                state.stops_input(at);
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

    pub(super) async fn is_written(&self, recorded: u64) -> Result<(), RecordError> {
        let mut written = self.written.subscribe();
        let is_decided =
            |written: &Progress| written.recorded >= recorded || written.failed.is_some() || written.is_over;
        let written = written.wait_for(is_decided).await.map_err(|_| RecordError::Ended)?;
        if written.recorded >= recorded {
            return Ok(());
        }
        Err(written.failed.clone().unwrap_or(RecordError::Ended))
    }

    pub(super) fn end(&self, end: End, why: &str) {
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
    pub(super) fn is_appended(&self) {
        let mut state = self.state();
        state.in_flight = 0;
        state.count();
    }

    pub(super) fn fail(&self, error: RecordError) {
        self.state().failed.get_or_insert_with(|| error.clone());
        self.written.send_modify(|written| written.failed = Some(error));
    }
}
