//! Waiting for what can be observed, never for a time.

use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::Outcome;

/// Long enough for whatever comes about at all, on two busy cores too. The slowest promise is that a rule which is gone takes its sessions with it
/// within a minute.
pub const LIMIT: Duration = Duration::from_mins(1);

/// What a busy machine may add to what is promised: with all cores taken, etcd has kept the API server waiting for ten seconds. It is less than what
/// tells the promises of the tests from the next slower way. That one finds a change of the policy that is not told after 30 s.
pub const BUSY: Duration = Duration::from_secs(20);

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

/// Says how long something took, and fails when that is more than what is promised and what a busy machine adds.
pub fn within(promised: Duration, what: &str, took: Duration) -> Outcome {
    eprintln!("{what}: {took:?}, promised {promised:?}");
    if took <= promised + BUSY {
        return Ok(());
    }
    Err(format!("{what}: it took {took:?}, and {promised:?} is promised").into())
}

/// How long ago `time` was; nothing where it is still to come.
#[must_use]
pub fn since(time: Timestamp) -> Duration {
    Timestamp::now().duration_since(time).try_into().unwrap_or_default()
}

/// Waits until the clock says so.
pub fn until_time(time: Timestamp) -> Outcome {
    until_true(&format!("it is {time}"), || Ok(Timestamp::now() >= time))
}
