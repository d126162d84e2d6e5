//! Signing out: of one device, and of everything.
//!
//! Of one device the sessions are those that are watched. What is watched may be behind, so the first write of an end is the measure: once it has been told of,
//! all has been told of that was there before. Where nothing can be written, the API server is asked what there is.
//!
//! Of many sessions the access goes first, of all of them. Their records and what else is left follow.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::{join_all, try_join, try_join_all};
use futures::{StreamExt, stream};
use kube::ResourceExt;
use tka_api::resource::{LABEL_CALLER, LABEL_USER, TkaSignin};
use tka_core::{Caller, Session, SessionName};
use tokio::time::{Instant, sleep, timeout};

use crate::end_reason::EndReason;
use crate::error::with_causes;
use crate::in_hand::Hand;
use crate::pace::in_line;
use crate::records::Records;
use crate::session_cache::Label;
use crate::termination::Precondition;
use crate::{Error, Sessions, objects};

/// How many of many sessions are ended at a time. Each has some requests under way.
const AT_ONCE: usize = 16;
/// How long the watch may take to tell of a write before the API server is asked.
const TOLD: Duration = Duration::from_secs(1);
/// How long to wait before what failed is tried again, unless the API server says how long.
const AGAIN: Duration = Duration::from_secs(1);

/// Sessions that their owner signs out of.
#[derive(Debug)]
pub struct SignOut {
    sessions: Vec<Arc<TkaSignin>>,
    /// Whose they are, where they are those that are watched: there may be more.
    watched_of: Option<Caller>,
}

/// Sessions of which the access is gone. Their records are left, and the `TkaSignin`s themselves.
#[derive(Debug, Default)]
pub struct Withdrawals(Vec<(TkaSignin, Hand)>);

// === impl SignOut ===

impl SignOut {
    /// The session that was signed in to last.
    #[must_use]
    pub fn last(&self) -> Option<Session> {
        last(self.sessions.iter().filter_map(|signin| objects::session(signin).ok()))
    }
}

// === impl Withdrawals ===

impl Withdrawals {
    /// Whether the object of that name is among them.
    fn has(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|(signin, _)| signin.metadata.name.as_deref() == Some(name))
    }
}

/// Those that are sessions.
fn only_sessions(signins: impl IntoIterator<Item = Arc<TkaSignin>>) -> Vec<Arc<TkaSignin>> {
    let signins = signins.into_iter();
    signins.filter(|signin| objects::session(signin).is_ok()).collect()
}

fn goes_on(signin: &TkaSignin) -> bool {
    signin.metadata.deletion_timestamp.is_none()
}

/// The session that was signed in to last, which an elevation is only where there is no other.
fn last(sessions: impl Iterator<Item = Session>) -> Option<Session> {
    sessions.max_by_key(|session| (!session.is_elevation(), session.signed_in))
}

// === impl Sessions ===

impl Sessions {
    /// Ends for their owner the sessions of `caller` on this device that are not kept apart, and its elevations: those of these names, and all others, be it that their
    /// rule no longer reaches the caller. Those too of which an earlier attempt has left something. Returns the one that was signed in to last.
    pub async fn sign_out(
        &self,
        caller: &Caller,
        names: Vec<SessionName>,
        records: &dyn Records,
    ) -> Result<Option<Session>, Error> {
        let mut ended = BTreeMap::new();
        let watched: Vec<_> = names.iter().filter_map(|name| self.live_as_watched(name)).collect();
        let by_this = self.end_each(watched.iter().map(Arc::as_ref), records).await?;
        let mut measure = None;
        for (signin, was_there) in watched.iter().zip(by_this) {
            if was_there {
                ended.insert(signin.name_any(), objects::session(signin)?);
                measure = Some(signin);
            }
        }
        let others = match measure {
            Some(signin) => self.told_with(signin, caller).await?,
            None => self.read_of_device(caller, names).await?,
        };
        let others: Vec<_> = others
            .into_iter()
            .filter(|signin| !ended.contains_key(&signin.name_any()))
            .filter_map(|signin| Some((objects::session(&signin).ok()?, signin)))
            .filter(|(session, _)| session.label.is_none() || session.is_elevation())
            .collect();
        self.end_each(others.iter().map(|(_, signin)| signin), records).await?;
        let sessions = ended
            .into_values()
            .chain(others.into_iter().map(|(session, _)| session));
        Ok(last(sessions))
    }

    /// Ends sessions for their owner, and says of each whether it was there. None is left because another fails.
    async fn end_each<'s>(
        &self,
        signins: impl Iterator<Item = &'s TkaSignin>,
        records: &dyn Records,
    ) -> Result<Vec<bool>, Error> {
        let ends = join_all(signins.map(|signin| self.end_one(signin, records))).await;
        ends.into_iter().collect()
    }

    async fn end_one(&self, signin: &TkaSignin, records: &dyn Records) -> Result<bool, Error> {
        let _lock = self.locks.take(&signin.name_any()).await?;
        self.sign_out_of(signin, records).await
    }

    /// All of `caller`'s on this device that was there when the end of the session was written down that `signin` holds.
    async fn told_with(&self, signin: &TkaSignin, caller: &Caller) -> Result<Vec<TkaSignin>, Error> {
        if let Some(all) = self.told_since(signin, (LABEL_CALLER, caller.key().as_str())).await {
            return Ok(all.into_iter().map(Arc::unwrap_or_clone).collect());
        }
        self.signins_of_caller(caller).await
    }

    /// What the watch has told of with this label, once it has told how the session ends of which `before` was told. None if it does not.
    async fn told_since(&self, before: &TkaSignin, label: Label<'_>) -> Option<Vec<Arc<TkaSignin>>> {
        let cache = self.cache.get()?.clone();
        timeout(TOLD, cache.since_end_of(before, label)).await.ok()?
    }

    /// All of `caller`'s on this device, and what has these names, read from the API server at this moment.
    async fn read_of_device(&self, caller: &Caller, by_rule: Vec<SessionName>) -> Result<Vec<TkaSignin>, Error> {
        let reads = by_rule
            .into_iter()
            .map(|name| async move { self.signins.get_opt(name.as_str()).await });
        let reads = async { Ok(try_join_all(reads).await?) };
        let (current, known) = try_join(reads, self.signins_of_caller(caller)).await?;
        let all = current.into_iter().flatten().chain(known);
        let by_name: BTreeMap<_, _> = all.map(|signin| (signin.name_any(), signin)).collect();
        Ok(by_name.into_values().collect())
    }

    /// The sessions of `caller`, on whatever device: as they are watched, or as they are read from the API server at this moment.
    pub async fn sign_out_of_all(&self, caller: &Caller) -> Result<SignOut, Error> {
        if let Some(cache) = self.cache.get() {
            let watched = only_sessions(cache.labelled((LABEL_USER, caller.user_key().as_str())));
            if watched.iter().any(|signin| goes_on(signin)) {
                return Ok(SignOut {
                    sessions: watched,
                    watched_of: Some(caller.clone()),
                });
            }
        }
        Ok(SignOut {
            sessions: self.read_of_user(caller).await?,
            watched_of: None,
        })
    }

    async fn read_of_user(&self, caller: &Caller) -> Result<Vec<Arc<TkaSignin>>, Error> {
        let signins = self.signins_of_user(caller).await?.into_iter();
        Ok(only_sessions(signins.map(|mut signin| {
            // Who wrote which field is half of an object, and there may be thousands.
            signin.metadata.managed_fields = None;
            Arc::new(signin)
        })))
    }

    /// Takes the access of all sessions away, and says whether that is done. What fails and may be tried again is, `until` then.
    pub async fn withdraw_all(&self, all: SignOut, until: Instant) -> (Withdrawals, Result<(), Error>) {
        let mut withdrawals = Withdrawals::default();
        // A few wait for nothing.
        let is_many = all.sessions.len() > AT_ONCE;
        let work = self.withdraw_with_others(all, &mut withdrawals, until);
        let withdrawn = if is_many { in_line(work).await } else { work.await };
        (withdrawals, withdrawn)
    }

    async fn withdraw_with_others(
        &self,
        all: SignOut,
        withdrawals: &mut Withdrawals,
        until: Instant,
    ) -> Result<(), Error> {
        let live: Vec<_> = all.sessions.iter().filter(|signin| goes_on(signin)).cloned().collect();
        self.withdraw_until(all.sessions, withdrawals, until).await?;
        let Some(caller) = all.watched_of else {
            return Ok(());
        };
        // What was written last tells most.
        let measure = live.iter().rfind(|signin| withdrawals.has(&signin.name_any()));
        let told = match measure {
            Some(measure) => self.told_since(measure, (LABEL_USER, caller.user_key().as_str())).await,
            None => None,
        };
        let others = match told {
            Some(told) => only_sessions(told),
            None => self.read_of_user(&caller).await?,
        };
        let done: HashSet<_> = withdrawals.0.iter().map(|(signin, _)| signin.name_any()).collect();
        let others = others.into_iter().filter(|signin| !done.contains(&signin.name_any()));
        self.withdraw_until(others.collect(), withdrawals, until).await
    }

    async fn withdraw_until(
        &self,
        mut left: Vec<Arc<TkaSignin>>,
        withdrawals: &mut Withdrawals,
        until: Instant,
    ) -> Result<(), Error> {
        loop {
            let Some(error) = self.withdraw_each(&mut left, withdrawals).await else {
                return Ok(());
            };
            let wait = error.retry_after().unwrap_or_default().max(AGAIN);
            if !error.is_transient() || Instant::now() + wait > until {
                return Err(error);
            }
            tracing::debug!(
                left = left.len(),
                error = with_causes(&error),
                ?wait,
                "sign-out retried"
            );
            sleep(wait).await;
        }
    }

    /// Takes the access of each of `left` away, and leaves those of which that failed. Returns the error that asks for the longest wait.
    async fn withdraw_each(&self, left: &mut Vec<Arc<TkaSignin>>, withdrawals: &mut Withdrawals) -> Option<Error> {
        let all = std::mem::take(left).into_iter();
        let mut ends = stream::iter(all.map(|signin| self.withdraw_one(signin))).buffer_unordered(AT_ONCE);
        let mut worst: Option<Error> = None;
        while let Some((signin, withdrawn)) = ends.next().await {
            match withdrawn {
                Ok(withdrawn) => withdrawals.0.extend(withdrawn),
                Err(error) => {
                    left.push(signin);
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

    async fn withdraw_one(&self, signin: Arc<TkaSignin>) -> (Arc<TkaSignin>, Result<Option<(TkaSignin, Hand)>, Error>) {
        let withdrawn = async {
            let hand = self.in_hand.take(signin.uid().unwrap_or_default());
            let _lock = self.locks.take(&signin.name_any()).await?;
            let terminating = self.withdraw(&signin, EndReason::SignedOut, Precondition::SameObject);
            Ok(terminating.await?.map(|mut terminating| {
                // The same.
                terminating.metadata.managed_fields = None;
                (terminating, hand)
            }))
        };
        let withdrawn = withdrawn.await;
        (signin, withdrawn)
    }

    /// Records the ends of which the access is gone, and lets the `TkaSignin`s go. What fails is left to the reconcile loop.
    pub async fn let_go_all(&self, all: Withdrawals, records: &dyn Records) {
        let ends = all.0.into_iter().map(|(signin, hand)| async move {
            if let Err(error) = self.let_go_one(&signin, &hand, records).await {
                let session = signin.name_any();
                tracing::debug!(session, error = with_causes(&error), "end left to the reconcile loop");
            }
        });
        in_line(stream::iter(ends).buffer_unordered(AT_ONCE).collect::<()>()).await;
    }

    async fn let_go_one(&self, signin: &TkaSignin, hand: &Hand, records: &dyn Records) -> Result<(), Error> {
        let _lock = self.locks.take(&signin.name_any()).await?;
        // A sign-in may have seen it to its end meanwhile.
        if hand.is_left() {
            self.let_go(signin, records).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
