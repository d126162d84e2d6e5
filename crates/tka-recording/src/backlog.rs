//! How much may wait to be written of all streams that do not wait for their recordings.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What waits to be written of all recordings that share it. A sink that is slow must not take the memory of the server.
#[derive(Debug)]
pub struct Backlog {
    held: AtomicUsize,
    limit: usize,
}

/// What one recording holds of it. Dropping it gives that back.
#[derive(Debug)]
pub(crate) struct Share {
    backlog: Arc<Backlog>,
    bytes: usize,
}

// === impl Backlog ===

impl Backlog {
    /// At most about `limit` bytes: each recording may go over it by what it reads at once.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        let held = AtomicUsize::new(0);
        Arc::new(Self { held, limit })
    }

    pub(crate) fn share(self: &Arc<Self>) -> Share {
        let backlog = Arc::clone(self);
        Share { backlog, bytes: 0 }
    }
}

// === impl Share ===

impl Share {
    /// Whether any recording may hold more.
    pub(crate) fn has_room(&self) -> bool {
        self.backlog.held.load(Ordering::Relaxed) < self.backlog.limit
    }

    /// The recording holds so many bytes now.
    pub(crate) fn set(&mut self, bytes: usize) {
        let held = &self.backlog.held;
        if bytes >= self.bytes {
            held.fetch_add(bytes - self.bytes, Ordering::Relaxed);
        } else {
            held.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_recordings_share_it_and_give_it_back() {
        let backlog = Backlog::new(100);
        let (mut one, mut other) = (backlog.share(), backlog.share());
        one.set(60);
        other.set(30);
        assert!(one.has_room() && other.has_room());
        other.set(50);
        assert!(!one.has_room() && !other.has_room());
        one.set(10);
        assert!(other.has_room());
        drop(other);
        assert_eq!(backlog.held.load(Ordering::Relaxed), 10);
        drop(one);
        assert_eq!(backlog.held.load(Ordering::Relaxed), 0);
    }
}
