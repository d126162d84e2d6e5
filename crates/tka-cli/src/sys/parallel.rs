//! Parallel work without an async runtime.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The most workers. Users have fewer servers, and many tagged nodes must not be a burden. A policy that drops connections keeps each worker
/// for as long as it may wait, so there is one for each address of 32 nodes.
const MAX_WORKERS: usize = 128;

/// The results of `work` for `all`, in their order. None for one that panicked.
pub(crate) fn map<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<Option<R>> {
    let next = AtomicUsize::new(0);
    let run_worker = || {
        let mut answers = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            match all.get(at) {
                Some(one) => answers.push((at, work(one))),
                None => return answers,
            }
        }
    };
    let mut answers: Vec<Option<R>> = all.iter().map(|_| None).collect();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..all.len().min(MAX_WORKERS))
            .map(|_| scope.spawn(run_worker))
            .collect();
        for (at, answer) in workers.into_iter().filter_map(|worker| worker.join().ok()).flatten() {
            answers[at] = Some(answer);
        }
    });
    answers
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn answers_come_in_order_and_at_once() {
        let barrier = Barrier::new(MAX_WORKERS);
        let all: Vec<usize> = (0..2 * MAX_WORKERS).collect();
        let answers = map(&all, |&one| {
            barrier.wait();
            one * 2
        });
        let doubled = all.iter().map(|one| one * 2);
        assert!(answers.into_iter().map(Option::unwrap).eq(doubled));
        assert!(map(&[(); 0], |()| ()).is_empty());
    }
}
