//! Letting a session in where its rule allows only so many. What decides is in [`room`](crate::room).

use std::num::NonZeroU32;
use std::time::Duration;

use kube::runtime::wait::await_condition;
use tka_api::resource::TkaSignin;
use tka_core::{Refusal, Session};
use tokio::time::timeout;

use crate::room::{InLine, Room};
use crate::{Error, Sessions, objects};

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
                Room::Unsettled(name) => self.settled(&name, session).await?,
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
    async fn settled(&self, name: &str, session: &Session) -> Result<(), Error> {
        let is_settled = |other: Option<&TkaSignin>| {
            other.is_none_or(|other| {
                let now = (self.clock)();
                objects::is_in(other, now) || matches!(InLine::beside(session, other, now), Ok(None))
            })
        };
        let waited = await_condition(self.watched.clone(), name, is_settled).await;
        waited.map(drop).map_err(|_| Error::Unsettled(session.name()))
    }
}

fn full(session: &Session, max_sessions: NonZeroU32) -> Error {
    Error::Refused(Refusal::TooManySessions {
        role: session.rule.role.clone(),
        max_sessions,
    })
}
