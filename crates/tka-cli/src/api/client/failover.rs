//! Asks the replicas of a server, one after the other, until one answers.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a replica may be silent before the next one is asked too.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// The result of one replica. None if it may not be asked.
pub(super) type Attempt<R> = Box<dyn FnOnce() -> Option<R> + Send>;

/// How much a result is worth.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum ResultRank {
    /// Nothing answered.
    Failure,
    /// A replica answered that it cannot help.
    Trouble,
    /// An answer.
    Answer,
}

/// The first answer of `count` replicas, or else the best result, with the replica's number.
///
/// The next replica is asked when one fails, and when the last one asked is silent for `patience`. One that is merely slow goes on: its
/// answer still counts until `deadline`.
pub(super) fn first_answer<R: Send + 'static>(
    count: usize,
    patience: Duration,
    deadline: Instant,
    attempt: impl Fn(usize) -> Attempt<R>,
    worth: impl Fn(&R) -> ResultRank,
) -> Option<(usize, R)> {
    let (sender, results) = mpsc::channel();
    let mut best: Option<(usize, R)> = None;
    let (mut begun, mut pending) = (0, 0);
    loop {
        if begun < count {
            let (number, attempt, sender) = (begun, attempt(begun), sender.clone());
            // It may outlive this call: nothing waits for a replica that hangs.
            thread::spawn(move || sender.send((number, attempt())));
            begun += 1;
            pending += 1;
        }
        if pending == 0 {
            return best;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let pause = if begun < count { patience.min(left) } else { left };
        match results.recv_timeout(pause) {
            Ok((number, result)) => {
                pending -= 1;
                let Some(result) = result else { continue };
                let worth_of_it = worth(&result);
                if worth_of_it == ResultRank::Answer {
                    return Some((number, result));
                }
                if best.as_ref().is_none_or(|(_, best)| worth(best) < worth_of_it) {
                    best = Some((number, result));
                }
            }
            Err(RecvTimeoutError::Timeout) if left > pause => {}
            Err(_) => return best,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SHORT: Duration = Duration::from_millis(100);
    const LONG: Duration = Duration::from_secs(20);

    /// What a replica does: after a time it says something, or it may not be asked.
    #[derive(Clone, Copy)]
    enum ReplicaBehavior {
        Answers(Duration),
        Fails(Duration),
        IsInTrouble,
        MayNotBeAsked,
    }
    use ReplicaBehavior::{Answers, Fails, IsInTrouble, MayNotBeAsked};

    /// The number and worth of the result, how many were asked, and how long it took.
    fn ask(replicas: &[ReplicaBehavior], limit: Duration) -> (Option<(usize, ResultRank)>, usize, Duration) {
        let (asked, start) = (AtomicUsize::new(0), Instant::now());
        let attempt = |number: usize| -> Attempt<ResultRank> {
            asked.fetch_add(1, Ordering::Relaxed);
            let does = replicas[number];
            Box::new(move || match does {
                Answers(after) => {
                    thread::sleep(after);
                    Some(ResultRank::Answer)
                }
                Fails(after) => {
                    thread::sleep(after);
                    Some(ResultRank::Failure)
                }
                IsInTrouble => Some(ResultRank::Trouble),
                MayNotBeAsked => None,
            })
        };
        let found = first_answer(replicas.len(), SHORT, start + limit, attempt, |worth| *worth);
        (found, asked.load(Ordering::Relaxed), start.elapsed())
    }

    #[test]
    fn replica_that_answers_is_the_only_one_asked() {
        let (found, asked, _) = ask(&[Answers(Duration::ZERO), Answers(Duration::ZERO)], LONG);
        assert_eq!((found, asked), (Some((0, ResultRank::Answer)), 1));
    }

    #[test]
    fn silent_replica_is_followed_by_the_next() {
        let (found, asked, took) = ask(&[Answers(LONG), Answers(Duration::ZERO)], LONG);
        assert_eq!((found, asked), (Some((1, ResultRank::Answer)), 2));
        assert!((SHORT..LONG).contains(&took), "{took:?}");
    }

    #[test]
    fn failure_is_followed_at_once() {
        let (found, _, took) = ask(&[Fails(Duration::ZERO), MayNotBeAsked, Answers(Duration::ZERO)], LONG);
        assert_eq!(found, Some((2, ResultRank::Answer)));
        assert!(took < LONG, "{took:?}");
    }

    #[test]
    fn slow_replica_still_counts() {
        let (found, asked, _) = ask(&[Answers(3 * SHORT), Fails(Duration::ZERO)], LONG);
        assert_eq!((found, asked), (Some((0, ResultRank::Answer)), 2));
    }

    #[test]
    fn without_an_answer_the_best_result_stands() {
        assert_eq!(
            ask(&[Fails(Duration::ZERO), IsInTrouble, Fails(Duration::ZERO)], LONG).0,
            Some((1, ResultRank::Trouble))
        );
        assert_eq!(
            ask(&[Fails(Duration::ZERO), MayNotBeAsked], LONG).0,
            Some((0, ResultRank::Failure))
        );
        assert_eq!(ask(&[MayNotBeAsked], LONG).0, None);
        assert_eq!(ask(&[], LONG).0, None);
        let (found, asked, took) = ask(&[Answers(LONG), Answers(LONG)], 3 * SHORT);
        assert_eq!((found, asked), (None, 2));
        assert!(took < LONG, "{took:?}");
    }
}
