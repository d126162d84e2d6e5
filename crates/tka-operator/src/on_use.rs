//! Use of sessions: when it was last, and sign-ins by it. A request through the gateway begins the session, where its rule has `sign_in: on_use`.
//!
//! Use begins what is not there, and changes nothing that is. A session that goes on is what was wanted. What is over is seen to its end first, which
//! leaves a [`tombstone`](crate::tombstone) where it was ended on purpose.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::Status;
use serde_json::json;
use tka_api::resource::{ANNOTATION_LAST_USE, TkaSignin};
use tka_core::session::whole_seconds;

use crate::attempts::{Attempt, SignedIn};
use crate::error::{ignore_not_found, is_precondition_failure, status};
use crate::live::LiveSession;
use crate::provision::FIELD_MANAGER;
use crate::records::Records;
use crate::termination::Precondition;
use crate::{Error, SessionState, Sessions, objects};

impl Sessions {
    /// Writes down that a session was `used`, on its own `TkaSignin` and no other of its name. Where that is gone, nothing is left to write.
    pub async fn write_last_use(&self, live: &LiveSession, used: Timestamp) -> Result<(), Error> {
        let used = whole_seconds(used).to_string();
        let patch = json!({"metadata": {"uid": live.uid, "annotations": {ANNOTATION_LAST_USE: used}}});
        let name = live.session.name();
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        let patched = self.signins.patch_metadata(name.as_str(), &parameters, &patch).await;
        match ignore_not_found(patched) {
            // Another of its name.
            Err(error) if status(&error).is_some_and(is_precondition_failure) => Ok(()),
            written => Ok(written.map(drop)?),
        }
    }

    /// Begins the session that `attempt` is about, where `existing` has its name. The caller of this holds the session's lock.
    pub(crate) async fn begin_on_use(
        &self,
        attempt: &Attempt,
        existing: Option<TkaSignin>,
        records: &dyn Records,
    ) -> Result<SignedIn, Error> {
        let (requested, max_sessions) = (&attempt.sign_in().session, attempt.sign_in().max_sessions);
        if let Some(existing) = existing {
            if SessionState::of(&existing, (self.clock)()) != SessionState::None {
                let there = objects::session(&existing)?;
                let provisioned = objects::is_provisioned(&existing, &there);
                return Ok(SignedIn::new(&there, provisioned, true, None));
            }
            self.finish_termination(&existing).await?;
        }
        // Asked once more when it is written. Asked before, a session that was ended costs no write.
        self.check_tombstone(&attempt.name()).await?;
        self.check_device_quotas(requested)?;
        let session = &attempt.freeze_session();
        let desired = objects::signin(session, max_sessions, &self.namespace);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        // Create, not server-side apply: a concurrent sign-in's object must not be overwritten.
        let signin = match self.signins.create(&parameters, &desired).await {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => {
                return Err(Error::Contended(attempt.name().to_string()));
            }
            created => created?,
        };
        // A caller who signs in explicitly at this moment keeps that session.
        self.admit_and_provision(attempt, &signin, session, Precondition::SameVersion, records)
            .await
    }

    /// Carries out the end of `existing`, which does not stand.
    pub(crate) async fn finish_termination(&self, existing: &TkaSignin) -> Result<(), Error> {
        if existing.metadata.deletion_timestamp.is_some() {
            return self.finish(existing, &*self.records).await;
        }
        let how = self.end_reason_of_expired(&objects::session(existing)?);
        let ended = self.terminate(existing, how, Precondition::SameVersion, &*self.records);
        ended.await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attempts::{AttemptRole, SignIn};
    use crate::end_reason::EndRecord;
    use crate::examples::at;
    use crate::fake_api_server::{self, Answer, ApiRequest, StoredSignin};
    use crate::{EndReason, examples, progress};
    use serde_json::{Value, json};
    use std::sync::{Arc, Mutex};
    use tka_api::resource::ANNOTATION_END;
    use tka_core::{Session, SignInTrigger};

    /// An API server that has a session, and perhaps its tombstone. What is written is noted.
    #[derive(Clone)]
    struct Server {
        kept: StoredSignin,
        tombstone: Arc<Mutex<Option<Value>>>,
        writes: Arc<Mutex<Vec<String>>>,
    }

    impl Server {
        fn with(signin: &TkaSignin) -> Self {
            Self {
                kept: StoredSignin::new(signin),
                tombstone: Arc::default(),
                writes: Arc::default(),
            }
        }

        fn answer(&self, request: &ApiRequest) -> Answer {
            if request.method != "GET" && !request.path.ends_with("/events") {
                let kind = request
                    .path
                    .rsplit('/')
                    .find(|part| !part.starts_with("tka-"))
                    .unwrap_or_default();
                self.writes.lock().unwrap().push(format!("{} {kind}", request.method));
            }
            if request.path.contains("/clusterroles/") {
                let role = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "view"}});
                return (200, role);
            }
            if request.path.contains("/configmaps/") {
                let mut tombstone = self.tombstone.lock().unwrap();
                if request.method == "PATCH" {
                    *tombstone = Some(request.body.clone());
                }
                return tombstone
                    .clone()
                    .map_or_else(|| fake_api_server::failure(404, 0), |there| (200, there));
            }
            self.kept.answer(request)
        }

        async fn used(&self, session: &Session, now: i64) -> Result<Arc<SignedIn>, Arc<Error>> {
            let server = self.clone();
            let sessions = examples::sessions(
                fake_api_server::clients(move |request| Some(server.answer(request))),
                at(now),
            );
            let sign_in = SignIn {
                session: session.clone(),
                max_sessions: None,
                credential: false,
                approved: None,
                break_glass: false,
            };
            let AttemptRole::Leader(attempt) = sessions.join(&sign_in) else {
                panic!("it waits")
            };
            let (attempt, lock) = sessions.lock_attempt(*attempt).await?;
            sessions.sign_in(attempt, &lock, &examples::Unrecorded).await
        }

        fn writes(&self) -> Vec<String> {
            std::mem::take(&mut *self.writes.lock().unwrap())
        }
    }

    fn session(begun: SignInTrigger, second: i64) -> Session {
        Session {
            on_use: Some(begun),
            ..examples::session("1h", at(second))
        }
    }

    fn provisioned(session: &Session) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.status = Some(progress::active(&signin, session, session.signed_in));
        signin
    }

    /// The process that wrote an end down was killed before it deleted anything, or another replica is about to.
    #[tokio::test]
    async fn end_that_is_written_down_is_carried_out_and_not_undone() {
        let asked = session(SignInTrigger::Asked, 100);
        for (end, is_final) in [
            (EndReason::SignedOut, true),
            (EndReason::Idle, true),
            (EndReason::Revoked("gone".into()), true),
            (EndReason::Expired, false),
        ] {
            let mut signin = provisioned(&asked);
            let intent = EndRecord::new(&asked, end.clone(), at(150)).to_annotation();
            let annotations = signin.metadata.annotations.get_or_insert_default();
            annotations.insert(ANNOTATION_END.into(), intent);
            let server = Server::with(&signin);
            let used = server.used(&session(SignInTrigger::ByUse, 160), 160).await;
            let is_refused = used.is_err_and(|error| matches!(*error, Error::EndedOnPurpose(_)));
            assert_eq!(is_refused, is_final, "{end}");
            assert_eq!(server.tombstone.lock().unwrap().is_some(), is_final, "{end}");
            let writes = server.writes();
            assert_eq!(
                writes.iter().any(|write| write == "POST tkasignins"),
                !is_final,
                "{end}: {writes:?}"
            );
        }
    }

    #[tokio::test]
    async fn session_that_goes_on_is_not_extended() {
        let asked = session(SignInTrigger::Asked, 100);
        let server = Server::with(&provisioned(&asked));
        let there = server.used(&session(SignInTrigger::ByUse, 160), 160).await.unwrap();
        assert!(there.extended && there.stored.provisioned);
        assert_eq!(there.stored.session, asked);
        assert_eq!(server.writes(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn session_that_was_ended_costs_no_write() {
        let on_use = session(SignInTrigger::ByUse, 160);
        let server = Server::with(&objects::signin(&on_use, None, "tka"));
        *server.kept.0.lock().unwrap() = None;
        let labels = json!({"tka.specht-labs.de/tombstone": "true"});
        *server.tombstone.lock().unwrap() = Some(json!({"metadata": {"name": "x", "labels": labels}}));
        let refused = server.used(&on_use, 160).await.unwrap_err();
        assert!(matches!(*refused, Error::EndedOnPurpose(_)), "{refused:?}");
        assert_eq!(server.writes(), Vec::<String>::new());
    }
}
