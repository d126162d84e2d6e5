//! Waiting until a sign-in is decided: by the watch, without asking.

use std::time::Duration;

use tka_operator::{RequestState, WaitingSignIn};
use tokio::time::{Instant, timeout_at};

use crate::App;
use crate::answer::Failure;

/// What a sign-in that waits has come to.
#[derive(Debug)]
pub enum WaitOutcome {
    /// Its session was given.
    Granted,
    /// One has denied it.
    Denied(Box<WaitingSignIn>),
    /// It waits no more, and none has decided.
    Over,
    /// It waits still.
    Not(Box<WaitingSignIn>),
}

/// Waits until `waiting` is decided, for so long at the most.
pub async fn decided(app: &App, waiting: WaitingSignIn, wait: Duration) -> Result<WaitOutcome, Failure> {
    let deadline = Instant::now() + wait;
    let Some(mut watched) = app.sessions.waiting() else {
        return Ok(WaitOutcome::Not(Box::new(waiting)));
    };
    // Its beginning may not have been told of yet.
    let mut is_told = false;
    let mut last = waiting;
    loop {
        match same(watched.named(&last.name), &last) {
            Some(there) => {
                is_told = true;
                last = there;
            }
            // A watch may be behind: the API server has the last word.
            None if is_told => match same(app.sessions.waiting_named(last.name.as_str()).await?, &last) {
                Some(there) => last = there,
                None => return Ok(WaitOutcome::Over),
            },
            None => {}
        }
        match last.request.state((app.clock)()) {
            RequestState::Granted => return Ok(WaitOutcome::Granted),
            RequestState::Denied => return Ok(WaitOutcome::Denied(Box::new(last))),
            RequestState::Expired => return Ok(WaitOutcome::Over),
            RequestState::Waiting | RequestState::Approved => {}
        }
        let rest = Instant::now() + last.request.time_left((app.clock)()) + Duration::from_millis(1);
        if timeout_at(deadline.min(rest), watched.changed()).await.is_err() && Instant::now() >= deadline {
            // It may have been withdrawn without a word of the watch.
            let there = same(app.sessions.waiting_named(last.name.as_str()).await?, &last);
            return Ok(there.map_or(WaitOutcome::Over, |there| WaitOutcome::Not(Box::new(there))));
        }
    }
}

/// What waits, if it is the same request as `before`.
fn same(there: Option<WaitingSignIn>, before: &WaitingSignIn) -> Option<WaitingSignIn> {
    there.filter(|there| there.name == before.name && there.request.id == before.request.id)
}
