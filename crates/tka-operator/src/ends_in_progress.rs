//! Ends that requests of this process carry out. The reconcile loop leaves them to these.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many tasks have the end of each in hand, by UID. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct EndsInProgress(Arc<Mutex<HashMap<String, usize>>>);

/// That one is in hand, until this is dropped.
#[derive(Debug)]
pub(crate) struct EndInProgress {
    uid: String,
    all: EndsInProgress,
}

// === impl EndsInProgress ===

impl EndsInProgress {
    /// Takes the end of the object of that UID in hand.
    pub(crate) fn take(&self, uid: String) -> EndInProgress {
        *self.all().entry(uid.clone()).or_default() += 1;
        let all = self.clone();
        EndInProgress { uid, all }
    }

    /// Whether it is in hand.
    pub(crate) fn holds(&self, uid: &str) -> bool {
        self.all().contains_key(uid)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl EndInProgress ===

impl Drop for EndInProgress {
    fn drop(&mut self) {
        let mut all = self.all.all();
        if let Some(count) = all.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_in_hand_until_the_last_task_gives_it_up() {
        let all = EndsInProgress::default();
        let (one, another) = (all.take("one".into()), all.take("another".into()));
        assert!(all.holds("one") && all.holds("another") && !all.holds("third"));
        drop(another);
        assert!(!all.holds("another"));
        let again = all.take("one".into());
        drop(one);
        assert!(all.holds("one"));
        drop(again);
        assert!(!all.holds("one"));
    }
}
