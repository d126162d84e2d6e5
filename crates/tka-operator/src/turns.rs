//! One at a time for each session, within this process.
//!
//! The API server decides between processes; within one, taking turns saves the reconcile loop from repeating what a
//! request handler is doing at that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tka_core::SessionName;
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout};

use crate::{Error, Sessions};

/// How long a turn is waited for. Whoever asks for the same session over and over must not make work pile up.
const TURN: Duration = Duration::from_secs(10);

type Waiting = Arc<tokio::sync::Mutex<()>>;

/// Who may work on which session now.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Waiting>>);

/// The turn to work on one session. It ends when this is dropped.
#[derive(Debug)]
pub struct Turn {
    name: String,
    waited: Duration,
    _guard: OwnedMutexGuard<()>,
}

// === impl Turns ===

impl Turns {
    /// Waits until nobody else works on `name`.
    pub(crate) async fn take(&self, name: &str) -> Result<Turn, Error> {
        let waiting = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(name.to_owned()).or_default())
        };
        let asked = Instant::now();
        if waiting.try_lock().is_err() {
            tracing::debug!(session = name, "waiting for the turn");
        }
        let guard = timeout(TURN, waiting.lock_owned()).await;
        Ok(Turn {
            name: name.to_owned(),
            waited: asked.elapsed(),
            _guard: guard.map_err(|_| Error::TimedOut(TURN))?,
        })
    }
}

// === impl Turn ===

impl Turn {
    /// How long it was waited for. What was known before may be old.
    #[must_use]
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// Whether it is for the session of that name.
    pub(crate) fn is_for(&self, name: &SessionName) -> bool {
        self.name == name.as_str()
    }
}

// === impl Sessions ===

impl Sessions {
    /// Waits until nobody else in this process works on the session of that name.
    pub async fn turn(&self, name: &SessionName) -> Result<Turn, Error> {
        self.turns.take(name.as_str()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn second_waits_for_the_first_and_others_do_not() {
        let turns = Turns::default();
        let first = turns.take("a").now_or_never();
        assert!(first.is_some());
        assert!(turns.take("a").now_or_never().is_none());
        assert!(turns.take("b").now_or_never().is_some());
        drop(first);
        assert!(turns.take("a").now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn turn_that_does_not_come_is_given_up_and_a_long_wait_is_known() {
        let turns = Turns::default();
        let first = turns.take("a").await.unwrap();
        assert_eq!(first.waited(), Duration::ZERO);
        assert!(matches!(turns.take("a").await, Err(Error::TimedOut(TURN))));
        let later = async {
            tokio::time::sleep(TURN / 2).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(turns.take("a"), later);
        assert!(second.unwrap().waited() >= TURN / 2);
    }

    #[tokio::test]
    async fn finished_turns_are_forgotten() {
        let turns = Turns::default();
        for name in ["a", "b", "c"] {
            assert!(turns.take(name).now_or_never().is_some());
        }
        assert!(turns.0.lock().unwrap().len() <= 1);
    }
}
