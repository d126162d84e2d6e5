//! Waiting for a time that there may be.

use tokio::time::{Instant, sleep_until};

/// Returns at `time`; never where there is none.
pub(crate) async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
