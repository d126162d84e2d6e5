//! Waiting for what can be observed, never for a time.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Between two looks: short beside what is waited for, long beside what a look costs.
const INTERVAL: Duration = Duration::from_millis(25);

/// What a look found.
pub(crate) enum Look<T> {
    /// It has come about.
    Done(T),
    /// It has not, and why.
    NotYet(String),
}

/// Looks again and again. An error is the last look's reason.
pub(crate) fn until<T>(limit: Duration, mut look: impl FnMut() -> Look<T>) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match look() {
            Look::Done(value) => return Ok(value),
            Look::NotYet(why) if start.elapsed() >= limit => return Err(why),
            Look::NotYet(_) => thread::sleep(INTERVAL),
        }
    }
}
