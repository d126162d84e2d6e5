//! One at a time for each session, within this process.
//!
//! The API server decides between processes; within one, taking turns saves the reconcile loop from repeating what a
//! request handler is doing at that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Turn = Arc<tokio::sync::Mutex<()>>;

/// Who may work on which session now.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Turn>>);

impl Turns {
    /// Waits until nobody else works on `name`; the turn ends when the guard is dropped.
    pub(crate) async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(name.to_owned()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[test]
    fn second_waits_for_the_first_and_others_do_not() {
        let turns = Turns::default();
        let first = turns.take("a").now_or_never();
        assert!(first.is_some());
        assert!(turns.take("a").now_or_never().is_none());
        assert!(turns.take("b").now_or_never().is_some());
        drop(first);
        assert!(turns.take("a").now_or_never().is_some());
    }

    #[test]
    fn finished_turns_are_forgotten() {
        let turns = Turns::default();
        for name in ["a", "b", "c"] {
            assert!(turns.take(name).now_or_never().is_some());
        }
        assert!(turns.0.lock().unwrap().len() <= 1);
    }
}
