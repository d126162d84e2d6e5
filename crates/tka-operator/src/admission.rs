//! Letting a session in where its rule allows only so many. What decides is in [`room`](crate::room).

use std::num::NonZeroU32;
use std::time::Duration;

use tka_api::resource::TkaSignin;
use tka_core::{Refusal, Session};
use tokio::time::timeout;

use crate::room::{InLine, Room};
use crate::{Error, Sessions, objects, watches};

/// How long it may take until it is known who of several that began at once is in. Longer than a sign-in that was cut off takes to be completed.
const SETTLE: Duration = Duration::from_secs(5);

impl Sessions {
    /// Refuses to extend a session that is in and has no room any more. It is asked before anything is written: who is refused
    /// has what they had.
    pub(crate) async fn check_extension(
        &self,
        existing: &TkaSignin,
        session: &Session,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<(), Error> {
        let is_live = existing.metadata.deletion_timestamp.is_none() && objects::is_in(existing, (self.clock)());
        match max_sessions {
            Some(max) if is_live && self.room(existing, session, max).await? == Room::Full => Err(full(session, max)),
            _ => Ok(()),
        }
    }

    /// Lets in the session that `signin` holds, unless its user has as many through its rule as that allows. It has been written before.
    pub(crate) async fn admit(
        &self,
        signin: &TkaSignin,
        session: &Session,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<(), Error> {
        let Some(max) = max_sessions else {
            return Ok(());
        };
        let settled = timeout(SETTLE, self.settle(signin, session, max)).await;
        settled.unwrap_or_else(|_| Err(Error::Unsettled(session.name())))
    }

    async fn settle(&self, signin: &TkaSignin, session: &Session, max: NonZeroU32) -> Result<(), Error> {
        loop {
            match self.room(signin, session, max).await? {
                Room::Free => return Ok(()),
                Room::Full => return Err(full(session, max)),
                Room::Unsettled(name) => self.settled(&name, session).await,
            }
        }
    }

    async fn room(&self, signin: &TkaSignin, session: &Session, max: NonZeroU32) -> Result<Room, Error> {
        let of_user = self.signins_of_user(&session.caller).await?;
        let now = (self.clock)();
        let beside = of_user.iter().map(|other| InLine::beside(session, other, now));
        let others: Vec<_> = beside.filter_map(Result::transpose).collect::<Result<_, _>>()?;
        Ok(InLine::of(signin, now)?.room(&others, max))
    }

    /// Waits until the session of that name is in, or does not count any more beside `session`.
    async fn settled(&self, name: &str, session: &Session) {
        let is_settled = |other: Option<&TkaSignin>| {
            other.is_none_or(|other| {
                let now = (self.clock)();
                objects::is_in(other, now) || matches!(InLine::beside(session, other, now), Ok(None))
            })
        };
        watches::until(self.watched.clone(), name, is_settled).await;
    }
}

fn full(session: &Session, max_sessions: NonZeroU32) -> Error {
    Error::Refused(Refusal::TooManySessions {
        role: session.rule.role.clone(),
        max_sessions,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::double::{self, failure, list};
    use crate::examples;
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn signin(session: &Session, second: i64) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).unwrap()));
        signin
    }

    /// Somebody stands behind who may have counted already. Before it can be heard that they are gone, whatever asks fails.
    #[tokio::test(start_paused = true)]
    async fn wait_for_who_is_undecided_goes_on_whatever_the_api_server_fails_at() {
        for code in [None, Some(429), Some(500)] {
            let start = Timestamp::from_second(100).unwrap();
            let (first, second) = (examples::session("1h", start), examples::labelled("1h", start, "b"));
            let behind = signin(&second, 101);
            let failures = AtomicUsize::new(0);
            let clients = double::clients(move |asked| {
                let watches = asked.query.contains("fieldSelector");
                let failed = failures.fetch_add(usize::from(watches), Ordering::SeqCst);
                match (watches, failed) {
                    (true, 0 | 1) => code.map(|code| failure(code, 0)),
                    (false, 0) => Some(list(std::slice::from_ref(&behind))),
                    _ => Some(list(&[])),
                }
            });
            let sessions = examples::sessions(clients, start);
            let started = tokio::time::Instant::now();
            let admitted = sessions.admit(&signin(&first, 100), &first, NonZeroU32::new(1)).await;
            assert!(admitted.is_ok(), "{code:?}: {admitted:?}");
            assert_eq!(started.elapsed().as_secs(), 3, "a second, and two");
        }
    }
}
