//! What waits to be sent to one webhook, and what is sent when: by value.
//!
//! It is bounded, in number and in bytes. What failed waits ever longer, each by itself, so that one that is never taken holds up no other; what is new goes
//! first.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tka_api::audit::Decision;
use tka_operator::backoff;
use tokio::time::Instant;

/// How many may wait.
pub(super) const MOST: usize = 256;
/// How many bytes these may have in all.
pub(super) const MOST_BYTES: usize = 4 << 20;
/// For how long one is tried.
pub(super) const PATIENCE: Duration = Duration::from_hours(6);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// What is to be sent.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Message {
    /// Its ID, the same at each try.
    pub(super) id: String,
    /// What it tells.
    pub(super) decision: Decision,
    pub(super) body: Vec<u8>,
}

/// One that waits.
#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    /// How often it was tried.
    tries: u32,
    since: Instant,
    due: Instant,
}

/// All that wait.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: VecDeque<Waiting>,
    /// Before then nothing is sent: the receiver asked for that.
    pause: Option<Instant>,
}

/// What to do now.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Next {
    /// Send that.
    Send(Arc<Message>),
    /// Nothing before then, unless something new comes.
    Wait(Instant),
    /// Nothing, unless something new comes.
    Idle,
}

// === impl Message ===

impl Message {
    /// How urgent it is. What callers can cause at will must not crowd out an alarm.
    fn urgency(&self) -> u8 {
        match self.decision {
            Decision::BreakGlass | Decision::BreakGlassUnacknowledged => 2,
            Decision::ApprovalRequested => 1,
            _ => 0,
        }
    }
}

// === impl Backlog ===

impl Backlog {
    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether any waits that was never tried.
    pub(super) fn has_new(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.tries == 0)
    }

    /// Has `message` wait. Answers what there is no room for: it, or of what is less urgent the least urgent that waits longest.
    pub(super) fn push(&mut self, message: Message, now: Instant) -> Vec<Arc<Message>> {
        let mut dropped = Vec::new();
        if message.body.len() > MOST_BYTES {
            return vec![Arc::new(message)];
        }
        let message = Arc::new(message);
        while !self.has_room(message.body.len()) {
            let lesser = self.waiting.iter().enumerate();
            let lesser = lesser.map(|(at, waiting)| (waiting.message.urgency(), at));
            let lesser = lesser.filter(|(urgency, _)| *urgency < message.urgency()).min();
            let Some(lesser) = lesser.and_then(|(_, at)| self.waiting.remove(at)) else {
                dropped.push(message);
                return dropped;
            };
            dropped.push(lesser.message);
        }
        self.waiting.push_back(Waiting {
            message,
            tries: 0,
            since: now,
            due: now,
        });
        dropped
    }

    fn has_room(&self, bytes: usize) -> bool {
        let held: usize = self.waiting.iter().map(|waiting| waiting.message.body.len()).sum();
        self.len() < MOST && held + bytes <= MOST_BYTES
    }

    /// What to do at `now`. Of the messages that are due, the one that was tried least goes first. Among such it is the most urgent one, then the one
    /// that came first.
    pub(super) fn next(&self, now: Instant) -> Next {
        if let Some(pause) = self.pause.filter(|pause| *pause > now && self.len() > 0) {
            return Next::Wait(pause);
        }
        let due = self.waiting.iter().filter(|waiting| waiting.due <= now);
        if let Some(first) = due.min_by_key(|waiting| (waiting.tries, Reverse(waiting.message.urgency()))) {
            return Next::Send(Arc::clone(&first.message));
        }
        let soonest = self.waiting.iter().map(|waiting| waiting.due).min();
        soonest.map_or(Next::Idle, Next::Wait)
    }

    /// The message `id` was taken.
    pub(super) fn delivered(&mut self, id: &str) {
        self.waiting.retain(|waiting| waiting.message.id != id);
    }

    /// The message `id` was not taken at `now`, and the receiver asks not to be asked for that long, if it does. `chance`, from 0 to 1, spreads what
    /// failed at once. Answers it when it was tried for long enough.
    pub(super) fn failed(
        &mut self,
        id: &str,
        now: Instant,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Arc<Message>> {
        if let Some(wait) = retry_after {
            self.pause = Some(now + wait.min(PATIENCE));
        }
        // It may have made room for another meanwhile.
        let at = self.waiting.iter().position(|waiting| waiting.message.id == id)?;
        let waiting = self.waiting.get_mut(at)?;
        if now.duration_since(waiting.since) >= PATIENCE {
            return self.waiting.remove(at).map(|waiting| waiting.message);
        }
        waiting.tries = waiting.tries.saturating_add(1);
        waiting.due = now + spread(backoff(waiting.tries, None, LONGEST_WAIT), chance);
        None
    }
}

/// From the half of `wait` to all of it.
fn spread(wait: Duration, chance: f64) -> Duration {
    wait / 2 + (wait / 2).mul_f64(chance.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: &impl ToString, decision: Decision, bytes: usize) -> Message {
        Message {
            id: id.to_string(),
            decision,
            body: vec![b'x'; bytes],
        }
    }

    fn told(id: &str) -> Message {
        message(&id, Decision::Revoked, 10)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn next(backlog: &Backlog, now: Instant) -> String {
        match backlog.next(now) {
            Next::Send(message) => message.id.clone(),
            Next::Wait(until) => format!("wait {:?}", until - now),
            Next::Idle => "idle".into(),
        }
    }

    #[test]
    fn first_comes_first_and_what_failed_holds_up_no_other() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        assert_eq!(next(&backlog, now), "idle");
        for id in ["a", "b", "c"] {
            assert_eq!(backlog.push(told(id), now), []);
        }
        assert_eq!(next(&backlog, now), "a");
        assert_eq!(backlog.failed("a", now, None, 1.0), None);
        assert_eq!(next(&backlog, now), "b");
        backlog.delivered("b");
        assert_eq!(next(&backlog, now + seconds(2)), "c", "it was tried less often");
        backlog.delivered("c");
        assert!(!backlog.has_new());
        assert_eq!(next(&backlog, now), "wait 1s");
        assert_eq!(next(&backlog, now + seconds(1)), "a");
        backlog.delivered("a");
        assert_eq!((backlog.len(), next(&backlog, now)), (0, "idle".into()));
    }

    #[test]
    fn each_wait_is_twice_as_long_and_spread_and_comes_to_an_end() {
        let start = Instant::now();
        let waits = |chance| {
            let mut backlog = Backlog::default();
            backlog.push(told("a"), start);
            let (mut now, mut waits) = (start, Vec::new());
            loop {
                if let Some(dead) = backlog.failed("a", now, None, chance) {
                    assert_eq!((dead.id.as_str(), backlog.len()), ("a", 0));
                    return (waits, now - start);
                }
                let Next::Wait(until) = backlog.next(now) else {
                    panic!("no wait")
                };
                waits.push((until - now).as_millis());
                now = until;
            }
        };
        let (longest, tried_for) = waits(1.0);
        assert_eq!(
            longest[..10],
            [
                1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 128_000, 256_000, 300_000
            ]
        );
        assert!(
            tried_for >= PATIENCE && tried_for < PATIENCE + LONGEST_WAIT,
            "{tried_for:?}"
        );
        assert_eq!(waits(0.0).0[..3], [500, 1000, 2000]);
        assert_eq!(waits(0.5).0[0], 750);
    }

    #[test]
    fn receiver_that_asks_for_a_pause_has_it_even_from_what_is_new() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        backlog.push(told("a"), now);
        backlog.failed("a", now, Some(seconds(30)), 1.0);
        backlog.push(told("b"), now + seconds(1));
        assert_eq!(next(&backlog, now + seconds(1)), "wait 29s");
        assert_eq!(next(&backlog, now + seconds(30)), "b");
        // A receiver cannot put it off for ever.
        backlog.failed("b", now, Some(Duration::MAX), 1.0);
        assert!(matches!(backlog.next(now), Next::Wait(until) if until == now + PATIENCE));
    }

    #[test]
    fn backlog_is_bounded_and_what_is_urgent_finds_room() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        for id in 0..MOST {
            assert_eq!(backlog.push(told(&id.to_string()), now), []);
        }
        let dropped = |dropped: Vec<Arc<Message>>| dropped.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
        assert_eq!(dropped(backlog.push(told("late"), now)), ["late"]);
        let urgent = |id: usize| message(&format!("urgent-{id}"), Decision::ApprovalRequested, 10);
        assert_eq!(dropped(backlog.push(urgent(0), now)), ["0"]);
        for id in 1..MOST {
            assert_eq!(backlog.push(urgent(id), now).len(), 1);
        }
        assert_eq!(dropped(backlog.push(urgent(MOST), now)), [format!("urgent-{MOST}")]);
        assert_eq!((backlog.len(), next(&backlog, now)), (MOST, "urgent-0".into()));
        // Requests for approval, which a caller can make at will, crowd out no alarm.
        let alarm = message(&"alarm", Decision::BreakGlass, 10);
        assert_eq!(dropped(backlog.push(alarm, now)), ["urgent-0"]);
        assert_eq!(next(&backlog, now), "alarm");
        // What it made room for may have been under way.
        backlog.delivered("0");
        assert_eq!(backlog.failed("1", now, None, 0.0), None);
        assert_eq!(backlog.len(), MOST);
    }

    #[test]
    fn bytes_are_bounded_too() {
        let (mut backlog, now) = (Backlog::default(), Instant::now());
        let large = |id: &str| message(&id, Decision::Revoked, MOST_BYTES / 2);
        assert_eq!(
            backlog
                .push(message(&"a", Decision::Revoked, MOST_BYTES + 1), now)
                .len(),
            1
        );
        assert_eq!(
            (backlog.push(large("b"), now).len(), backlog.push(large("c"), now).len()),
            (0, 0)
        );
        assert_eq!(backlog.push(told("d"), now).len(), 1);
        let urgent = message(&"e", Decision::ApprovalRequested, MOST_BYTES);
        assert_eq!((backlog.push(urgent, now).len(), backlog.len()), (2, 1));
    }
}
