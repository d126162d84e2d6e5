//! Ends that a request of this process carries out. The reconcile loop leaves them to it.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The UIDs of what is in hand. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct InHand(Arc<Mutex<HashSet<String>>>);

/// That one is in hand, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hand {
    uid: String,
    all: InHand,
}

// === impl InHand ===

impl InHand {
    /// Takes the end of the object of that UID in hand.
    pub(crate) fn take(&self, uid: String) -> Hand {
        self.all().insert(uid.clone());
        let all = self.clone();
        Hand { uid, all }
    }

    /// Whether it is in hand.
    pub(crate) fn holds(&self, uid: &str) -> bool {
        self.all().contains(uid)
    }

    /// It is carried out, by any task.
    pub(crate) fn done(&self, uid: &str) {
        self.all().remove(uid);
    }

    fn all(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Hand ===

impl Hand {
    /// Whether no other task has carried it out meanwhile.
    pub(crate) fn is_left(&self) -> bool {
        self.all.holds(&self.uid)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        self.all.done(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_is_in_hand_until_it_is_carried_out_or_given_up() {
        let all = InHand::default();
        let (one, another) = (all.take("one".into()), all.take("another".into()));
        assert!(all.holds("one") && all.holds("another") && !all.holds("third"));
        drop(another);
        assert!(!all.holds("another"));
        all.done("one");
        assert!(!one.is_left());
    }
}
