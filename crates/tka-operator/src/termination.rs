//! Terminates sessions: one way, for sign-out, expiry, revocation, refusal, and what an administrator deletes.
//!
//! First it is written down how the session ends, and the `TkaSignin` is deleted. Then account and bindings go, and the end is recorded. Only then
//! the `TkaSignin` may go. Wherever that is cut off, the replica that goes on knows what happened, and no end goes unrecorded.
//!
//! What is watched of a session suffices to begin. Each write is for this very object, or for this very version of it, and the API server refuses it
//! otherwise. Then the object is read, and decided anew.
//!
//! Which calls which:
//!
//! ```text
//! end, end_by_owner, revoke, expire    decide whether a session ends, and how
//!   terminate                          from the decision to the last trace
//!     remove_access                    the end reason, the deletion, account and bindings
//!       annotate_end_reason, delete
//!     record_and_release               the record, and then the finalizer
//!   begin_end                          the decision alone: the reconcile loop does the rest
//! finish                               what was begun by another, or by an administrator
//! ```

use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tka_api::resource::{ANNOTATION_END, FINALIZER, TkaSignin};
use tka_core::{Revocation, Session, SessionName};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::end_reason::{self, EndRecord};
use crate::error::{ignore_not_found, is_precondition_failure, status};
use crate::records::Records;
use crate::{EndReason, Error, Sessions, objects};

/// How long the record of an end is waited for at a time. The access is gone by then, and what cannot be written goes to the log.
const RECORD_TIMEOUT: Duration = Duration::from_secs(1);

/// How often writing an end reason is tried while sign-ins keep changing the session.
const WRITE_TRIES: usize = 3;

/// What a `TkaSignin` must be for it to be ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Precondition {
    /// This object, and not another of its name.
    SameObject,
    /// This object as it is: a later sign-in makes another version.
    SameVersion,
}

/// What is asked of the API server for one `TkaSignin`, and may be asked twice.
#[derive(Debug)]
enum TerminationStep {
    /// That it says how it ends.
    AnnotateEndReason(EndRecord),
    Delete,
    /// That it no longer waits for its account and bindings to go.
    RemoveFinalizer,
}

// === impl TerminationStep ===

impl TerminationStep {
    /// Whether `signin` is as it was asked for, by an earlier try of which no answer arrived.
    fn is_done(&self, signin: &TkaSignin) -> bool {
        let is_deleted = signin.metadata.deletion_timestamp.is_some();
        match self {
            Self::AnnotateEndReason(end) => is_deleted || end.is_about_what_ends(signin),
            Self::Delete => is_deleted,
            Self::RemoveFinalizer => !has_finalizer(signin),
        }
    }
}

// === impl Sessions ===

impl Sessions {
    /// Ends a session for its owner: when this returns, its account and bindings are gone, and `records` has it, or is being written to.
    pub async fn end(&self, name: &SessionName, records: &dyn Records) -> Result<(), Error> {
        let _lock = self.locks.take(name.as_str()).await?;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(());
        };
        self.end_by_owner(&signin, records).await.map(drop)
    }

    /// Ends the session that `signin` holds for its owner, and says whether it was there to be ended.
    ///
    /// The caller of this holds the session's lock.
    pub(crate) async fn end_by_owner(&self, signin: &TkaSignin, records: &dyn Records) -> Result<bool, Error> {
        self.terminate(signin, EndReason::SignedOut, Precondition::SameObject, records)
            .await
    }

    /// The session of that name, if it goes on as far as is watched.
    fn cached_live_signin(&self, name: &SessionName) -> Option<Arc<TkaSignin>> {
        let goes_on = |watched: &Arc<TkaSignin>| {
            watched.metadata.deletion_timestamp.is_none() && objects::session(watched).is_ok()
        };
        self.cache.get()?.get(name.as_str(), &self.namespace).filter(goes_on)
    }

    /// Ends `session` because of `reason`, unless its caller signed in again since it was read. Then it was given anew, by a later answer of the
    /// tailnet. Says whether it ended by this.
    pub async fn revoke(&self, session: &Session, reason: &Revocation) -> Result<bool, Error> {
        let how = |signin: &TkaSignin| -> Result<Option<EndReason>, Error> {
            if signin.metadata.deletion_timestamp.is_some() || objects::session(signin)?.signed_in != session.signed_in
            {
                return Ok(None);
            }
            Ok(Some(EndReason::Revoked(reason.to_string())))
        };
        self.end_unless_changed(&session.name(), how).await
    }

    /// Ends the session of that name as `how` says of the version that it has, if it says anything. Says whether it ended by this.
    async fn end_unless_changed(
        &self,
        name: &SessionName,
        how: impl Fn(&TkaSignin) -> Result<Option<EndReason>, Error> + Send + Sync,
    ) -> Result<bool, Error> {
        let _lock = self.locks.take(name.as_str()).await?;
        if let Some(watched) = self.cached_live_signin(name)
            && let Some(how) = how(&watched)?
        {
            let ended = self.terminate(&watched, how, Precondition::SameVersion, &*self.records);
            match ended.await {
                // It was changed since it was told of.
                Err(Error::Contended(_)) => {}
                ended => return ended,
            }
        }
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(false);
        };
        match how(&signin)? {
            Some(how) => {
                self.terminate(&signin, how, Precondition::SameVersion, &*self.records)
                    .await
            }
            None => Ok(false),
        }
    }

    /// Ends a session whose time is over, that was not used for too long, or that `is_past_period` by a clock that cannot be set. One that was
    /// extended in the meantime goes on. Says whether it ended.
    pub(crate) async fn expire(&self, session: &Session, is_past_period: bool) -> Result<bool, Error> {
        let how = |signin: &TkaSignin| -> Result<Option<EndReason>, Error> {
            let live = objects::session(signin)?;
            if is_past_period && live.signed_in == session.signed_in {
                return Ok(Some(EndReason::Expired));
            }
            let is_over = self.end_of(signin, &live) <= (self.clock)();
            Ok(is_over.then(|| self.end_reason_of_expired(&live)))
        };
        self.end_unless_changed(&session.name(), how).await
    }

    /// How `session` ended, which does not go on.
    pub(crate) fn end_reason_of_expired(&self, session: &Session) -> EndReason {
        if session.until() <= (self.clock)() {
            EndReason::Expired
        } else {
            EndReason::Idle
        }
    }

    /// Takes down what is left of a session that ends. Takes down an object too that carries our labels and is no session: it does not say when it
    /// would be over.
    pub(crate) async fn resume_termination(&self, signin: &TkaSignin) -> Result<(), Error> {
        let name = signin.name_any();
        let _lock = self.locks.take(&name).await?;
        // The task that held the lock before may have done it, and a caller may have signed in since.
        let Some(signin) = self.refetch(signin).await? else {
            return Ok(());
        };
        let goes_on =
            |session| signin.metadata.deletion_timestamp.is_none() && EndRecord::of(&signin, session).is_none();
        if objects::session(&signin).as_ref().is_ok_and(goes_on) {
            return Ok(());
        }
        let Some(terminating) = self.delete(&signin, Precondition::SameVersion).await? else {
            return Ok(());
        };
        let finished = self.finish(&terminating, &*self.records).await;
        if let Err(error) = &finished {
            self.write_terminating_status(&terminating, error).await;
        }
        finished
    }

    /// Ends a session that was usable and has lost its account or a binding, and says whether it did. The reconcile loop takes down what
    /// is left.
    pub(crate) async fn begin_end_if_children_missing(&self, name: &SessionName) -> Result<bool, Error> {
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(false);
        };
        let goes_on = signin.metadata.deletion_timestamp.is_none() && objects::was_provisioned(&signin);
        if !goes_on || objects::session(&signin).is_err() || self.has_children(&signin).await? {
            return Ok(false);
        }
        tracing::warn!(session = %name, "ServiceAccount or binding missing; terminating the session");
        // A sign-in at this moment makes what is missing.
        self.begin_end(&signin, EndReason::Broken, Precondition::SameVersion)
            .await?;
        Ok(true)
    }

    /// Ends the session that `signin` holds, from the decision to the last trace of it. Says whether it was there to be ended.
    ///
    /// The caller of this holds the session's lock.
    pub(crate) async fn terminate(
        &self,
        signin: &TkaSignin,
        how: EndReason,
        precondition: Precondition,
        records: &dyn Records,
    ) -> Result<bool, Error> {
        // However long that takes, the reconcile loop of this process leaves it to this.
        let _hand = self.ends_in_progress.take(signin.uid().unwrap_or_default());
        let ended = if signin.metadata.deletion_timestamp.is_some() {
            Box::pin(self.finish(signin, records)).await
        } else {
            // On the heap: many of these wait at a time, and most of what each takes is for the first half.
            let Some(withdrawn) = Box::pin(self.remove_access(signin, how, precondition)).await? else {
                return Ok(false);
            };
            Box::pin(self.record_and_release(&withdrawn, records)).await
        };
        match ended {
            // The access is gone, which waits for no record. The reconcile loop lets it go when that is written.
            Ok(()) | Err(Error::NotRecorded(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Takes away what the session gives that `signin` holds. Writes down how it ends, deletes the `TkaSignin`, which its finalizer keeps, and
    /// removes account and bindings. Returns the `TkaSignin`, unless it is gone.
    ///
    /// The caller of this holds the session's lock.
    pub(crate) async fn remove_access(
        &self,
        signin: &TkaSignin,
        how: EndReason,
        precondition: Precondition,
    ) -> Result<Option<TkaSignin>, Error> {
        let Some(ending) = self.annotate_end_reason(signin, how, precondition).await? else {
            return Ok(None);
        };
        // Only once that is certain: a sign-in at this moment may take the end back.
        let Some(terminating) = self.delete(&ending, precondition).await? else {
            return Ok(None);
        };
        self.delete_children(&terminating).await?;
        Ok(Some(terminating))
    }

    /// Writes down how it ends. Returns the `TkaSignin` as it is then, unless it is gone. An end reason that is already written stays.
    async fn annotate_end_reason(
        &self,
        signin: &TkaSignin,
        how: EndReason,
        precondition: Precondition,
    ) -> Result<Option<TkaSignin>, Error> {
        let mut signin = signin.clone();
        // It may have been extended since it was read. Then it says of an earlier sign-in that it ends, and not of this one.
        for _ in 0..WRITE_TRIES {
            // What was decided and could not be carried out is not decided anew.
            if objects::is_ending(&signin, &objects::session(&signin)?) {
                return Ok(Some(signin));
            }
            let session = objects::session(&signin)?;
            let annotate_end_reason =
                TerminationStep::AnnotateEndReason(EndRecord::new(&session, how.clone(), (self.clock)()));
            match self
                .apply_with_retry(&signin, &annotate_end_reason, precondition)
                .await?
            {
                Some(written) => signin = written,
                None => return Ok(None),
            }
        }
        if objects::is_ending(&signin, &objects::session(&signin)?) {
            return Ok(Some(signin));
        }
        Err(Error::Contended(signin.name_any()))
    }

    /// Writes down how it ends, and deletes the `TkaSignin`. The reconcile loop takes down what hangs on it.
    async fn begin_end(&self, signin: &TkaSignin, how: EndReason, precondition: Precondition) -> Result<(), Error> {
        if let Some(ending) = self.annotate_end_reason(signin, how, precondition).await? {
            self.delete(&ending, precondition).await?;
        }
        Ok(())
    }

    async fn delete(&self, signin: &TkaSignin, precondition: Precondition) -> Result<Option<TkaSignin>, Error> {
        if signin.metadata.deletion_timestamp.is_some() {
            return Ok(Some(signin.clone()));
        }
        self.apply_with_retry(signin, &TerminationStep::Delete, precondition)
            .await
    }

    /// Removes account and bindings, records the end, then lets the `TkaSignin` go. What is not recorded yet keeps it, so that nothing is lost when
    /// the server is killed.
    pub(crate) async fn finish(&self, signin: &TkaSignin, records: &dyn Records) -> Result<(), Error> {
        if objects::session(signin).is_ok() {
            self.delete_children(signin).await?;
        } else {
            // Its name is not trusted: it may be that of a foreign ServiceAccount. So what is deleted is found by label.
            self.sweep().await?;
        }
        self.record_and_release(signin, records).await
    }

    /// Records the end of what gives no access any more, then lets the `TkaSignin` go.
    ///
    /// The caller of this holds the session's lock.
    pub(crate) async fn record_and_release(&self, signin: &TkaSignin, records: &dyn Records) -> Result<(), Error> {
        if !has_finalizer(signin) {
            return Ok(());
        }
        let Ok(session) = objects::session(signin) else {
            let removed = self.apply_with_retry(signin, &TerminationStep::RemoveFinalizer, Precondition::SameObject);
            return removed.await.map(drop);
        };
        let how = end_reason::how(signin, &session, (self.clock)());
        self.record_end(signin, &session, &how, records).await?;
        // Before it may go, after which use may begin the next.
        self.write_tombstone(&session, &how).await?;
        self.apply_with_retry(signin, &TerminationStep::RemoveFinalizer, Precondition::SameObject)
            .await?;
        self.recorded.forget(signin);
        self.events.ended(signin, &how);
        Ok(())
    }

    /// Has an end recorded, and waits for a while that it is written. What is tried again is not recorded again.
    async fn record_end(
        &self,
        signin: &TkaSignin,
        session: &Session,
        how: &EndReason,
        records: &dyn Records,
    ) -> Result<(), Error> {
        let not_yet = || Error::NotRecorded("the record of its end is not written yet".into());
        if let Some(mut written) = self.recorded.end(signin) {
            let written = timeout(RECORD_TIMEOUT, written.wait_for(|written| *written)).await;
            return if matches!(written, Ok(Ok(_))) {
                Ok(())
            } else {
                Err(not_yet())
            };
        }
        let (tell, written) = watch::channel(false);
        self.recorded.recording_end(signin, written, Instant::now());
        if timeout(RECORD_TIMEOUT, records.ended(session, how)).await.is_ok() {
            tell.send_replace(true);
            return Ok(());
        }
        tracing::warn!(session = %session.name(), reason = %how, "audit record of the end not written yet; keeping the finalizer");
        // The first call took too long, and its result is dropped. This one records in the background, for as long as it takes.
        let (records, session, how) = (Arc::clone(&self.records), session.clone(), how.clone());
        tokio::spawn(async move {
            records.ended(&session, &how).await;
            tell.send_replace(true);
        });
        Err(not_yet())
    }

    /// Asks the API server for one step. A conflict is looked into: the step may be done by an earlier try whose answer was lost. If it is not, and the
    /// `precondition` still holds, it is asked for once more. Returns the object as it is then, unless it is gone.
    async fn apply_with_retry(
        &self,
        signin: &TkaSignin,
        step: &TerminationStep,
        precondition: Precondition,
    ) -> Result<Option<TkaSignin>, Error> {
        match self.request(signin, step, precondition).await {
            Err(error) if status(&error).is_some_and(is_precondition_failure) => {}
            answer => return Ok(answer?),
        }
        let live = match self.refetch(signin).await? {
            Some(live) if !step.is_done(&live) => live,
            done_or_gone => return Ok(done_or_gone),
        };
        let contended = || Error::Contended(signin.name_any());
        if precondition == Precondition::SameVersion && live.resource_version() != signin.resource_version() {
            return Err(contended());
        }
        match self.request(&live, step, precondition).await {
            Err(error) if status(&error).is_some_and(is_precondition_failure) => Err(contended()),
            answer => Ok(answer?),
        }
    }

    async fn request(
        &self,
        signin: &TkaSignin,
        step: &TerminationStep,
        precondition: Precondition,
    ) -> kube::Result<Option<TkaSignin>> {
        let name = signin.name_any();
        let resource_version = signin.resource_version();
        let resource_version = resource_version.filter(|_| precondition == Precondition::SameVersion);
        let mut metadata = json!({"uid": signin.uid()});
        if let Some(version) = &resource_version {
            metadata["resourceVersion"] = json!(version);
        }
        match step {
            TerminationStep::AnnotateEndReason(intent) => {
                metadata["annotations"] = json!({ANNOTATION_END: intent.to_annotation()});
            }
            TerminationStep::RemoveFinalizer => {
                let others = signin.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER);
                metadata["finalizers"] = others.cloned().collect();
            }
            TerminationStep::Delete => {
                let delete = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: signin.uid(),
                        resource_version,
                    }),
                    ..DeleteParams::default()
                };
                let deleted = ignore_not_found(self.signins.delete(&name, &delete).await)?;
                return Ok(deleted.and_then(either::Either::left));
            }
        }
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let written = ignore_not_found(self.signins.patch(&name, &PatchParams::default(), &patch).await)?;
        if let Some(written) = &written {
            self.note_write(written);
        }
        Ok(written)
    }

    /// The object as it is now, unless it is gone, or another has its name.
    pub(crate) async fn refetch(&self, signin: &TkaSignin) -> Result<Option<TkaSignin>, Error> {
        let live = self.signins.get_opt(&signin.name_any()).await?;
        Ok(live.filter(|live| live.uid() == signin.uid()))
    }
}

/// Whether it waits for its account and bindings to go.
fn has_finalizer(signin: &TkaSignin) -> bool {
    signin.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_api_server::{self, StoredSignin};
    use crate::{NotRecorded, examples};
    use futures::FutureExt;
    use futures::future::{BoxFuture, ready};
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn end_that_cannot_be_carried_out_is_decided_once() {
        let start = examples::at(100);
        let session = examples::session("1h", start);
        let kept = StoredSignin::new(&objects::signin(&session, None, "tka"));
        let (server, written) = (kept.clone(), Arc::new(AtomicUsize::new(0)));
        let count = Arc::clone(&written);
        let clients = fake_api_server::clients(move |request| {
            count.fetch_add(usize::from(request.method == "PATCH"), Ordering::SeqCst);
            Some(match &*request.method {
                "DELETE" => fake_api_server::failure(503, 7),
                _ => server.answer(request),
            })
        });
        let sessions = examples::sessions(clients, start);
        for _ in 0..2 {
            let error = sessions.revoke(&session, &Revocation::DeviceGone).await.unwrap_err();
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
        assert_eq!(written.load(Ordering::SeqCst), 1);
        assert!(objects::has_end_reason(&kept.now().unwrap(), &session));
    }

    /// An audit log that stands still until it is told otherwise, and how often it was asked for an end.
    struct Stalled(watch::Receiver<bool>, AtomicUsize);

    impl Records for Stalled {
        fn began<'a>(&'a self, _: &'a Session, _: bool) -> BoxFuture<'a, Result<(), NotRecorded>> {
            ready(Ok(())).boxed()
        }

        fn ended<'a>(&'a self, _: &'a Session, _: &'a EndReason) -> BoxFuture<'a, ()> {
            self.1.fetch_add(1, Ordering::SeqCst);
            let mut goes_on = self.0.clone();
            async move { drop(goes_on.wait_for(|goes_on| *goes_on).await) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_is_kept_until_its_record_is_written() {
        let start = examples::at(100);
        let session = examples::session("1h", start);
        let kept = StoredSignin::new(&objects::signin(&session, None, "tka"));
        let server = kept.clone();
        let clients = fake_api_server::clients(move |request| Some(server.answer(request)));
        let (go_on, goes_on) = watch::channel(false);
        let log = Arc::new(Stalled(goes_on, AtomicUsize::new(0)));
        let sessions = examples::sessions_with(clients, start, Arc::clone(&log) as Arc<dyn Records>);
        sessions.end(&session.name(), &*log).await.unwrap();
        let terminating = kept.now().unwrap();
        assert!(has_finalizer(&terminating) && terminating.metadata.deletion_timestamp.is_some());
        for _ in 0..5 {
            let waits = sessions.resume_termination(&terminating).await;
            assert!(matches!(waits, Err(Error::NotRecorded(_))), "{waits:?}");
        }
        assert!(kept.now().is_some_and(|signin| has_finalizer(&signin)));
        go_on.send_replace(true);
        sessions.resume_termination(&terminating).await.unwrap();
        assert!(kept.now().is_none());
        let count = log.1.load(Ordering::SeqCst);
        assert_eq!(count, 2, "once by the request, once for as long as it takes");
    }
}
