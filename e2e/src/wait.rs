//! Waiting for what can be observed, never for a time.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::Outcome;

/// Long enough for whatever comes about at all, on two busy cores too: the slowest promise is that a rule which is gone takes its
/// sessions with it within a minute.
pub const LIMIT: Duration = Duration::from_mins(1);

/// Between two looks: short beside what is waited for, long beside what a look costs.
const INTERVAL: Duration = Duration::from_millis(50);

/// Looks until there is something to see.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Outcome<Option<T>>) -> Outcome<T> {
    let start = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if start.elapsed() > LIMIT {
            return Err(format!("waited {LIMIT:?} until {what}, and it did not come about").into());
        }
        thread::sleep(INTERVAL);
    }
}

/// Looks until it is so.
pub fn until_true(what: &str, mut look: impl FnMut() -> Outcome<bool>) -> Outcome {
    until(what, || Ok(look()?.then_some(())))
}

/// Waits until the clock says so.
pub fn until_time(time: Timestamp) -> Outcome {
    until_true(&format!("it is {time}"), || Ok(Timestamp::now() >= time))
}
