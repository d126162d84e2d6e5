//! Keeping every core busy while tests run, as another program on a developer's machine does.

use std::{
    hint,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// One thread a core that computes without a pause, until this is dropped.
#[derive(Debug)]
pub(super) struct Load {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

// === impl Load ===

impl Load {
    /// Begins, with as many threads as there are cores.
    pub(super) fn begin() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = (0..cores).map(|_| {
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            })
        });
        Self {
            threads: threads.collect(),
            is_over,
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // It computes nothing that could fail.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_core_is_busy_until_it_is_over() {
        let load = Load::begin();
        assert_eq!(load.threads.len(), thread::available_parallelism().unwrap().get());
        assert!(load.threads.iter().all(|thread| !thread.is_finished()));
        let is_over = Arc::clone(&load.is_over);
        drop(load);
        assert!(is_over.load(Ordering::Relaxed));
        assert_eq!(Arc::strong_count(&is_over), 1, "every thread has ended");
    }
}
