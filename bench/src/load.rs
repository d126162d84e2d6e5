//! Many jobs, so many at a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use serde::Serialize;

use crate::Outcome;
use crate::stats::{Times, rate};

/// What one job came to.
#[derive(Clone, Debug)]
pub struct Done {
    /// How long it took.
    pub time: Duration,
    /// What it was answered.
    pub answer: Result<u16, String>,
}

/// What many came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Load {
    /// How long those took that succeeded.
    pub times: Times,
    /// From the first to the last.
    pub seconds: f64,
    /// How many succeeded a second.
    pub per_second: f64,
    /// How many were answered what: a status, or why there was none.
    pub answers: BTreeMap<String, usize>,
    /// How many did not succeed.
    pub failed: usize,
}

/// Runs `job` on each of `inputs`, at most `at_once` at a time.
pub async fn run<I, F>(inputs: impl IntoIterator<Item = I>, at_once: usize, job: impl Fn(I) -> F) -> Load
where
    F: Future<Output = Done>,
{
    let start = Instant::now();
    let done = stream::iter(inputs)
        .map(job)
        .buffer_unordered(at_once)
        .collect::<Vec<_>>()
        .await;
    Load::of(&done, start.elapsed())
}

// === impl Done ===

impl Done {
    /// What was done by hand and took that long, or failed.
    #[must_use]
    pub fn of(result: Outcome<Duration>) -> Self {
        Self {
            time: result.as_ref().copied().unwrap_or_default(),
            answer: result.map(|_| 200).map_err(|error| error.to_string()),
        }
    }
}

// === impl Load ===

impl Load {
    /// What `done`, which took `time` in all, came to.
    #[must_use]
    pub fn of(done: &[Done], time: Duration) -> Self {
        let is_good = |done: &&Done| matches!(done.answer, Ok(200..300));
        let times: Times = done.iter().filter(is_good).map(|done| done.time).collect();
        let mut answers = BTreeMap::new();
        for one in done {
            let answer = one.answer.as_ref().map_or_else(Clone::clone, ToString::to_string);
            *answers.entry(answer).or_default() += 1;
        }
        Self {
            seconds: time.as_secs_f64(),
            per_second: rate(times.count(), time),
            failed: done.len() - times.count(),
            times,
            answers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(millis: u64, answer: Result<u16, &str>) -> Done {
        Done {
            time: Duration::from_millis(millis),
            answer: answer.map_err(str::to_owned),
        }
    }

    #[test]
    fn failures_are_counted_and_not_timed() {
        let all = [
            done(2, Ok(200)),
            done(900, Ok(503)),
            done(4, Ok(202)),
            done(1, Err("closed")),
        ];
        let load = Load::of(&all, Duration::from_secs(1));
        assert_eq!((load.failed, load.times.count()), (2, 2));
        assert!((load.per_second - 2.0).abs() < 1e-9 && (load.times.max() - 4.0).abs() < 1e-9);
        assert_eq!(
            load.answers.into_iter().collect::<Vec<_>>(),
            [
                ("200".to_owned(), 1),
                ("202".to_owned(), 1),
                ("503".to_owned(), 1),
                ("closed".to_owned(), 1),
            ]
        );
    }

    #[tokio::test]
    async fn no_more_run_at_a_time_than_may() {
        let (running, most) = (std::cell::Cell::new(0), std::cell::Cell::new(0));
        let (running, most) = (&running, &most);
        let load = run(0..10, 3, |_| async move {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            tokio::task::yield_now().await;
            running.set(running.get() - 1);
            done(1, Ok(200))
        })
        .await;
        assert_eq!((most.get(), load.times.count()), (3, 10));
    }
}
