//! A lock for each session, within this process.
//!
//! The API server decides between processes. Within one, the lock saves the reconcile loop from repeating what a request handler does at that moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tka_core::SessionName;
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use crate::Error;

/// How long a lock is waited for. A caller that asks for one session over and over must not make work pile up.
pub(crate) const LOCK: Duration = Duration::from_secs(10);

type Shared = Arc<tokio::sync::Mutex<()>>;

/// How many locks are looked through each time one is taken.
const FEW: usize = 16;

/// The locks that are held or waited for, by the session's name.
#[derive(Debug, Default)]
pub(crate) struct SessionLocks(Mutex<Locks>);

#[derive(Debug, Default)]
struct Locks {
    by_name: HashMap<String, Shared>,
    /// When there are so many, those that were given back are looked for again. Doing so each time would take longer the more there are.
    prune_at: usize,
}

/// The lock of one session. It is given back when this is dropped.
#[derive(Debug)]
pub struct SessionLock {
    name: String,
    _guard: OwnedMutexGuard<()>,
}

// === impl SessionLocks ===

impl SessionLocks {
    /// Waits until nothing else in this process works on `name`.
    pub(crate) async fn take(&self, name: &str) -> Result<SessionLock, Error> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.prune();
            Arc::clone(locks.by_name.entry(name.to_owned()).or_default())
        };
        if lock.try_lock().is_err() {
            tracing::debug!(session = name, "waiting for the session lock");
        }
        let guard = timeout(LOCK, lock.lock_owned()).await;
        Ok(SessionLock {
            name: name.to_owned(),
            _guard: guard.map_err(|_| Error::TimedOut(LOCK))?,
        })
    }
}

// === impl Locks ===

impl Locks {
    /// Forgets those that were given back.
    fn prune(&mut self) {
        let count = self.by_name.len();
        if count > FEW && count < self.prune_at {
            return;
        }
        self.by_name.retain(|_, lock| Arc::strong_count(lock) > 1);
        self.prune_at = 2 * self.by_name.len();
    }
}

// === impl SessionLock ===

impl SessionLock {
    /// Whether it is that of the session of that name.
    pub(crate) fn is_for(&self, name: &SessionName) -> bool {
        self.name == name.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use futures::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::task::yield_now;

    #[tokio::test]
    async fn second_waits_for_the_first_and_others_do_not() {
        let locks = SessionLocks::default();
        let first = locks.take("a").now_or_never();
        assert!(first.is_some());
        assert!(locks.take("a").now_or_never().is_none());
        assert!(locks.take("b").now_or_never().is_some());
        drop(first);
        assert!(locks.take("a").now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn lock_that_does_not_come_free_is_given_up() {
        let locks = SessionLocks::default();
        let _first = locks.take("a").await.unwrap();
        assert!(matches!(locks.take("a").await, Err(Error::TimedOut(LOCK))));
    }

    #[tokio::test]
    async fn locks_that_are_given_back_are_forgotten() {
        let locks = SessionLocks::default();
        for name in ["a", "b", "c"] {
            assert!(locks.take(name).now_or_never().is_some());
        }
        assert!(locks.0.lock().unwrap().by_name.len() <= 1);
    }

    #[tokio::test]
    async fn many_locks_that_are_given_back_are_forgotten_too() {
        let locks = SessionLocks::default();
        for name in 0..10 * FEW {
            drop(locks.take(&name.to_string()).await.unwrap());
        }
        assert!(locks.0.lock().unwrap().by_name.len() <= FEW + 1);
        let mut held = Vec::new();
        for name in 0..10 * FEW {
            held.push(locks.take(&name.to_string()).await.unwrap());
        }
        assert!(locks.take("0").now_or_never().is_none());
        drop(held);
        for name in 0..100 * FEW {
            drop(locks.take(&name.to_string()).await.unwrap());
        }
        let count = locks.0.lock().unwrap().by_name.len();
        assert!(count <= FEW + 1, "{count}");
    }

    /// Takes the lock of `name` over and over, and looks whether another holds it too.
    async fn contend(locks: Arc<SessionLocks>, name: &'static str, holders: Arc<AtomicUsize>) {
        for _ in 0..100 {
            let lock = locks.take(name).await.unwrap();
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock of {name}");
            yield_now().await;
            assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1, "two hold the lock of {name}");
            drop(lock);
            yield_now().await;
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn contended_lock_has_one_holder_at_a_time() {
        let locks = Arc::new(SessionLocks::default());
        let holders = ["a", "b", "c"].map(|name| (name, Arc::new(AtomicUsize::new(0))));
        let tasks = holders.iter().cycle().take(24);
        let tasks = tasks.map(|(name, holders)| tokio::spawn(contend(Arc::clone(&locks), name, Arc::clone(holders))));
        for done in join_all(tasks).await {
            done.unwrap();
        }
        let _last = locks.take("d").await.unwrap();
        assert_eq!(locks.0.lock().unwrap().by_name.len(), 1);
    }

    #[tokio::test]
    async fn lock_that_is_waited_for_is_not_pruned() {
        let locks = SessionLocks::default();
        let first = locks.take("a").await.unwrap();
        let mut second = Box::pin(locks.take("a"));
        assert!((&mut second).now_or_never().is_none());
        // Each take prunes: while it is held, and once it was given back and the waiter has not run yet.
        assert!(locks.take("b").now_or_never().is_some());
        drop(first);
        assert!(locks.take("b").now_or_never().is_some());
        assert!(locks.take("a").now_or_never().is_none(), "the second is next");
        let second = second.await.unwrap();
        assert!(locks.take("a").now_or_never().is_none());
        drop(second);
        assert!(locks.take("a").now_or_never().is_some());
    }
}
