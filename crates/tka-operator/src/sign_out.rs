//! Signing out: of one device, and of everything.
//!
//! The sessions are read from the API server at this moment, because a watch may be behind. Signing out must find the session that began a moment ago
//! at another replica. Each is ended as the version that was read, and read again where it has changed.
//!
//! Of many sessions the access goes first, of all of them. Their records and what else is left follow.

use std::time::Duration;

use futures::future::{join_all, try_join_all};
use futures::{StreamExt, stream};
use kube::ResourceExt;
use tka_api::resource::TkaSignin;
use tka_core::{Caller, Session, SessionName};
use tokio::time::{Instant, sleep};

use crate::end_reason::EndReason;
use crate::ends_in_progress::EndInProgress;
use crate::error::with_causes;
use crate::records::Records;
use crate::termination::Precondition;
use crate::{Error, Sessions, objects};

/// How many of many sessions are ended at a time. Each has some requests under way.
const AT_ONCE: usize = 16;
/// How long to wait before what failed is tried again, unless the API server says how long.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Sessions that their owner signs out of.
#[derive(Debug)]
pub struct SignOut {
    caller: Caller,
    sessions: Vec<RemainingSession>,
}

/// Sessions of which the access is gone. Their records are left, and the `TkaSignin`s themselves.
#[derive(Debug, Default)]
pub struct SessionsWithoutAccess(Vec<(TkaSignin, EndInProgress)>);

/// A session that is left to be ended.
#[derive(Debug)]
struct RemainingSession {
    signin: TkaSignin,
    /// Whether it was tried, so that it may be another version by now.
    is_tried: bool,
}

// === impl RemainingSession ===

impl RemainingSession {
    /// As it was read a moment ago.
    fn new(signin: TkaSignin) -> Self {
        Self {
            signin: without_managed_fields(signin),
            is_tried: false,
        }
    }
}

// === impl SignOut ===

impl SignOut {
    /// The session that was signed in to last.
    #[must_use]
    pub fn last(&self) -> Option<Session> {
        last(
            self.sessions
                .iter()
                .filter_map(|left| objects::session(&left.signin).ok()),
        )
    }

    /// Whether nothing is left of it.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.sessions.is_empty()
    }
}

/// The session that was signed in to last, which an elevation is only where there is no other.
fn last(sessions: impl Iterator<Item = Session>) -> Option<Session> {
    sessions.max_by_key(|session| (!session.is_elevation(), session.signed_in))
}

// === impl Sessions ===

impl Sessions {
    /// Ends the sessions of `caller` on this device that have no label, and its elevations. Returns the one that was signed in to last.
    ///
    /// What has one of the `names` is read and ended first. Then all else of the caller is: sessions by a rule that is gone, or that has not
    /// arrived at this replica, and what an earlier attempt left. It is listed as of a moment within the sign-out.
    pub async fn sign_out(
        &self,
        caller: &Caller,
        names: Vec<SessionName>,
        records: &dyn Records,
    ) -> Result<Option<Session>, Error> {
        let before = self.newest_write();
        let reads = names
            .iter()
            .map(|name| async move { self.signins.get_opt(name.as_str()).await });
        let by_name: Vec<_> = try_join_all(reads).await?.into_iter().flatten().collect();
        let (mut meant, ended) = self.end_for_owner(&by_name, records).await;
        let mut others = if meant.is_empty() {
            self.signins_of_caller(caller).await?
        } else {
            self.signins_of_caller_since(caller, before).await?
        };
        others.retain(|other| by_name.iter().all(|found| found.uid() != other.uid()));
        let (more, others_ended) = self.end_for_owner(&others, records).await;
        meant.extend(more);
        ended.and(others_ended)?;
        Ok(last(meant.into_iter()))
    }

    /// Ends those of `signins` that a sign-out means, and returns these. None is left because another fails.
    async fn end_for_owner(&self, signins: &[TkaSignin], records: &dyn Records) -> (Vec<Session>, Result<(), Error>) {
        let sessions = signins
            .iter()
            .filter_map(|signin| Some((objects::session(signin).ok()?, signin)));
        let (meant, signins): (Vec<_>, Vec<_>) = sessions
            .filter(|(session, _)| session.label.is_none() || session.is_elevation())
            .unzip();
        let ends = join_all(signins.into_iter().map(|signin| self.end_at_version(signin, records))).await;
        (meant, ends.into_iter().collect())
    }

    /// Ends the session that `signin` holds, which was read a moment ago.
    async fn end_at_version(&self, signin: &TkaSignin, records: &dyn Records) -> Result<(), Error> {
        let _lock = self.locks.take(&signin.name_any()).await?;
        // What ends already may be gone by now, and its record written.
        if signin.metadata.deletion_timestamp.is_none() {
            let ended = self.terminate(signin, EndReason::SignedOut, Precondition::SameVersion, records);
            match ended.await {
                // It was changed since it was read.
                Err(Error::Contended(_)) => {}
                ended => return ended.map(drop),
            }
        }
        match self.refetch(signin).await? {
            Some(live) => self.end_by_owner(&live, records).await.map(drop),
            None => Ok(()),
        }
    }

    /// All sessions of `caller`, on whatever device.
    pub async fn list_for_sign_out(&self, caller: &Caller) -> Result<SignOut, Error> {
        let signins = self.signins_of_user(caller).await?.into_iter();
        let sessions = signins.filter(|signin| objects::session(signin).is_ok());
        Ok(SignOut {
            caller: caller.clone(),
            // Who wrote which field is half of an object, and there may be thousands.
            sessions: sessions.map(RemainingSession::new).collect(),
        })
    }

    /// Takes the access of `all` sessions away, and leaves those of which that failed. What may be tried again is, `until` then.
    ///
    /// Another sign-out of the same user waits for this one: what is asked twice is not done twice.
    pub async fn remove_access_of_all(
        &self,
        all: &mut SignOut,
        until: Instant,
    ) -> (SessionsWithoutAccess, Result<(), Error>) {
        let mut withdrawals = SessionsWithoutAccess::default();
        let name = format!("sign-out of {}", all.caller.user_key());
        let _one = loop {
            match self.locks.take(&name).await {
                Ok(lock) => break lock,
                Err(error) if Instant::now() >= until => return (withdrawals, Err(error)),
                Err(_) => {}
            }
        };
        let withdrawn = self
            .remove_access_with_retry(&mut all.sessions, &mut withdrawals, until)
            .await;
        (withdrawals, withdrawn)
    }

    /// Ends what is left of a sign-out that failed, `until` then. Does nothing while another task does so for the same user.
    pub async fn resume_sign_out(&self, mut all: SignOut, until: Instant, records: &dyn Records) {
        // No UID has a space.
        let name = format!("sign-out of {} goes on", all.caller.user_key());
        if self.ends_in_progress.holds(&name) {
            return;
        }
        let _hand = self.ends_in_progress.take(name);
        let (withdrawals, _) = self.remove_access_of_all(&mut all, until).await;
        self.release_all(withdrawals, records).await;
    }

    async fn remove_access_with_retry(
        &self,
        left: &mut Vec<RemainingSession>,
        withdrawals: &mut SessionsWithoutAccess,
        until: Instant,
    ) -> Result<(), Error> {
        loop {
            let Some(error) = self.remove_access_once(left, withdrawals).await else {
                return Ok(());
            };
            let wait = error.retry_after().unwrap_or_default().max(RETRY_PAUSE);
            let (count, cause) = (left.len(), with_causes(&error));
            if !error.is_transient() || Instant::now() + wait > until {
                tracing::warn!(left = count, error = cause, "sign-out of these sessions failed");
                return Err(error);
            }
            tracing::debug!(left = count, error = cause, ?wait, "sign-out retried");
            sleep(wait).await;
        }
    }

    /// Takes the access of each of `left` away, and leaves those of which that failed. Returns the error that asks for the longest wait.
    async fn remove_access_once(
        &self,
        left: &mut Vec<RemainingSession>,
        withdrawals: &mut SessionsWithoutAccess,
    ) -> Option<Error> {
        let all = std::mem::take(left).into_iter();
        let ends = all.map(|one| async move {
            let withdrawn = self.remove_access_of(&one).await;
            (one, withdrawn)
        });
        let mut ends = stream::iter(ends).buffer_unordered(AT_ONCE);
        let mut worst: Option<Error> = None;
        while let Some((one, withdrawn)) = ends.next().await {
            match withdrawn {
                Ok(withdrawn) => withdrawals.0.extend(withdrawn),
                Err(error) => {
                    left.push(RemainingSession { is_tried: true, ..one });
                    let is_worse = |worst: &Error| {
                        (!error.is_transient(), error.retry_after()) > (!worst.is_transient(), worst.retry_after())
                    };
                    if worst.as_ref().is_none_or(is_worse) {
                        worst = Some(error);
                    }
                }
            }
        }
        worst
    }

    async fn remove_access_of(
        &self,
        RemainingSession { signin, is_tried }: &RemainingSession,
    ) -> Result<Option<(TkaSignin, EndInProgress)>, Error> {
        let hand = self.ends_in_progress.take(signin.uid().unwrap_or_default());
        let _lock = self.locks.take(&signin.name_any()).await?;
        // What ends already may be gone by now, and its record written.
        if !is_tried && signin.metadata.deletion_timestamp.is_none() {
            let withdrawn = self.remove_access(signin, EndReason::SignedOut, Precondition::SameVersion);
            match withdrawn.await {
                // It was changed since it was read.
                Err(Error::Contended(_)) => {}
                withdrawn => return Ok(ends_in_progress(withdrawn?, hand)),
            }
        }
        let Some(live) = self.refetch(signin).await? else {
            return Ok(None);
        };
        // Its caller signed in again meanwhile, on purpose.
        if objects::session(&live)?.signed_in > objects::session(signin)?.signed_in {
            return Ok(None);
        }
        let withdrawn = self.remove_access(&live, EndReason::SignedOut, Precondition::SameObject);
        Ok(ends_in_progress(withdrawn.await?, hand))
    }

    /// Records the ends of which the access is gone, and lets the `TkaSignin`s go. What fails is left to the reconcile loop.
    pub async fn release_all(&self, all: SessionsWithoutAccess, records: &dyn Records) {
        let ends = all.0.into_iter().map(|(signin, _hand)| async move {
            if let Err(error) = self.release_one(&signin, records).await {
                let session = signin.name_any();
                tracing::debug!(session, error = with_causes(&error), "end left to the reconcile loop");
            }
        });
        stream::iter(ends).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    /// Another replica, or a sign-in, may have seen it to its end meanwhile. Then it is recorded, and a tombstone would be of the next session.
    async fn release_one(&self, signin: &TkaSignin, records: &dyn Records) -> Result<(), Error> {
        let _lock = self.locks.take(&signin.name_any()).await?;
        match self.refetch(signin).await? {
            Some(live) => self.record_and_release(&live, records).await,
            None => Ok(()),
        }
    }
}

fn ends_in_progress(withdrawn: Option<TkaSignin>, hand: EndInProgress) -> Option<(TkaSignin, EndInProgress)> {
    withdrawn.map(|signin| (without_managed_fields(signin), hand))
}

fn without_managed_fields(mut signin: TkaSignin) -> TkaSignin {
    signin.metadata.managed_fields = None;
    signin
}

#[cfg(test)]
mod tests;
