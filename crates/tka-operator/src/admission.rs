//! Admitting a session within the quotas. What decides is in [`quota`].

use std::num::NonZeroU32;
use std::time::Duration;

use tka_api::resource::{LABEL_CALLER, LABEL_USER, TkaSignin};
use tka_core::Session;
use tokio::time::timeout;

use crate::quota::{self, Quota, Verdict};
use crate::{Error, Sessions, objects, watches};

/// How long it may take until it is decided which of several that began at once are admitted. Longer than a sign-in that was cut off takes to be
/// completed.
const SETTLE: Duration = Duration::from_secs(5);

/// How long the watch may take to tell of a session that was written. Then the API server is asked.
const CACHE_WAIT: Duration = Duration::from_millis(500);

impl Sessions {
    /// Refuses a session that takes more by itself than a quota of its device holds. It is asked before anything is written.
    pub(crate) fn check_device_quotas(&self, session: &Session) -> Result<(), Error> {
        let signin = objects::signin(session, None, &self.namespace);
        let exceeded = self.limits().quotas.with(None).find(|quota| quota.cannot_hold(&signin));
        exceeded.map_or(Ok(()), |quota| Err(Error::Refused(quota.refusal(session))))
    }

    /// Refuses to extend a session that is admitted and that its rule does not cover any more. It is asked before anything is written: who is refused
    /// has what they had.
    pub(crate) async fn check_extension(
        &self,
        existing: &TkaSignin,
        session: &Session,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<(), Error> {
        let is_live = existing.metadata.deletion_timestamp.is_none() && objects::is_admitted(existing, (self.clock)());
        let Some(quota) = max_sessions.map(Quota::RuleSessions).filter(|_| is_live) else {
            return Ok(());
        };
        match self.count(existing, session, [quota].into_iter()).await? {
            Verdict::Refused(refusal) => Err(Error::Refused(refusal)),
            _ => Ok(()),
        }
    }

    /// Admits the session that `signin` holds, unless that exceeds a quota. It has been written before.
    pub(crate) async fn admit(
        &self,
        signin: &TkaSignin,
        session: &Session,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<(), Error> {
        let quotas = self.limits().quotas.with(max_sessions);
        if self.is_clear(signin, session, quotas.clone()).await {
            return Ok(());
        }
        let settled = timeout(SETTLE, self.settle(signin, session, quotas)).await;
        settled.unwrap_or_else(|_| Err(Error::Unsettled(session.name())))
    }

    /// Whether the watched sessions show that `quotas` admit the session, so that the API server need not be asked. Waits a moment until they include
    /// the session itself.
    async fn is_clear(
        &self,
        signin: &TkaSignin,
        session: &Session,
        quotas: impl Iterator<Item = Quota> + Clone,
    ) -> bool {
        let Some(cache) = self.cache.get().cloned() else {
            return false;
        };
        let label = if quotas.clone().any(Quota::is_of_user) {
            LABEL_USER
        } else {
            LABEL_CALLER
        };
        let Ok(Some(others)) = timeout(CACHE_WAIT, cache.since(signin, label)).await else {
            return false;
        };
        let verdict = quota::verdict(quotas, session, signin, &others, (self.clock)());
        matches!(verdict, Ok(Verdict::Admitted))
    }

    async fn settle(
        &self,
        signin: &TkaSignin,
        session: &Session,
        quotas: impl Iterator<Item = Quota> + Clone,
    ) -> Result<(), Error> {
        loop {
            match self.count(signin, session, quotas.clone()).await? {
                Verdict::Admitted => return Ok(()),
                Verdict::Refused(refusal) => return Err(Error::Refused(refusal)),
                Verdict::Undecided(name) => self.decided(&name).await,
            }
        }
    }

    /// Counts what there is beside the session that `signin` holds, by one list of its user's or its device's alone.
    async fn count(
        &self,
        signin: &TkaSignin,
        session: &Session,
        quotas: impl Iterator<Item = Quota> + Clone,
    ) -> Result<Verdict, Error> {
        let others = if quotas.clone().any(Quota::is_of_user) {
            self.signins_of_user(&session.caller).await?
        } else {
            self.signins_of_caller(&session.caller).await?
        };
        quota::verdict(quotas, session, signin, &others, (self.clock)())
    }

    /// Waits until the session of that name is admitted, or counts no longer.
    async fn decided(&self, name: &str) {
        let is_decided = |other: Option<&TkaSignin>| other.is_none_or(|other| quota::is_decided(other, (self.clock)()));
        watches::until(self.watched.clone(), name, is_decided).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{self, at};
    use crate::fake_api_server::{self, failure, list};
    use crate::session_cache::SessionCache;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::runtime::{reflector, watcher};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::watch;

    fn signin(session: &Session, second: i64) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.metadata.creation_timestamp = Some(Time(at(second)));
        signin
    }

    #[tokio::test]
    async fn quota_far_from_full_needs_no_list() {
        let now = at(100);
        let session = examples::session("1h", now);
        let (written, another) = (signin(&session, 100), signin(&examples::labelled("1h", now, "b"), 99));
        let lists = Arc::new(AtomicUsize::new(0));
        let (listed, there) = (Arc::clone(&lists), [written.clone(), another.clone()]);
        let clients = fake_api_server::clients(move |_| {
            listed.fetch_add(1, Ordering::SeqCst);
            Some(list(&there))
        });
        let sessions = examples::sessions(clients, now);
        let (store, mut writer) = reflector::store();
        for one in [&another, &written] {
            writer.apply_watcher_event(&watcher::Event::Apply(one.clone()));
        }
        let (_sender, changes) = watch::channel(());
        assert!(sessions.cache.set(SessionCache::new(store, changes)).is_ok());
        assert!(sessions.admit(&written, &session, NonZeroU32::new(2)).await.is_ok());
        assert_eq!(lists.load(Ordering::SeqCst), 0);
        let refused = sessions.admit(&written, &session, NonZeroU32::new(1)).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        assert_eq!(lists.load(Ordering::SeqCst), 1, "what is refused is looked at");
    }

    /// A session behind may have counted already. Before it can be heard that it is gone, every request fails.
    #[tokio::test(start_paused = true)]
    async fn wait_for_the_undecided_survives_api_server_failures() {
        for code in [None, Some(429), Some(500)] {
            let start = at(100);
            let (first, second) = (examples::session("1h", start), examples::labelled("1h", start, "b"));
            let behind = signin(&second, 101);
            let failures = AtomicUsize::new(0);
            let clients = fake_api_server::clients(move |request| {
                let watches = request.query.contains("fieldSelector");
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
