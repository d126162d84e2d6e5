//! What the testbed says while it works, on stderr.

use std::time::{Duration, Instant};

use crate::error::Result;

/// Says something.
pub(crate) fn say(message: &str) {
    eprintln!("testbed: {message}");
}

/// Does something and says how long it took.
pub(crate) fn step<T>(done: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let value = work()?;
    say(&format!("{done} ({})", seconds(start.elapsed())));
    Ok(value)
}

/// A time as people say it.
pub(crate) fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}
