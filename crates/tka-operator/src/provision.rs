//! Signing in, and provisioning: one function, for the request handler and the reconcile loop alike.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use futures::future::join;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use tka_api::resource::TkaSignin;
use tka_core::{RoleName, Session, SessionName, SignInTrigger};
use tokio::time::timeout;

use crate::attempts::{Attempt, AttemptRole, Outcome, SIGN_IN_TIMEOUT, SignIn, SignedIn};
use crate::error::{ignore_not_found, status, with_causes};
use crate::lock::SessionLock;
use crate::records::Records;
use crate::termination::Precondition;
use crate::{Credential, EndReason, Error, Sessions, objects, watches};

/// The field manager of server-side apply
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>).
pub(crate) const FIELD_MANAGER: &str = "tka";
/// How often the `TkaSignin` is written after a conflict or a deletion.
const WRITE_TRIES: usize = 3;

impl Sessions {
    /// Joins an attempt at the same sign-in, or begins one. Each sign-in must be authorised and recorded by itself.
    #[must_use]
    pub fn join(&self, sign_in: &SignIn) -> AttemptRole {
        let part = self.attempts.join(sign_in);
        if matches!(part, AttemptRole::Follower(_)) {
            tracing::debug!(session = %sign_in.session.name(), "joined an identical sign-in");
        }
        part
    }

    /// Takes the lock of the session that `attempt` is about. If it does not come free, all that wait for the attempt are told.
    pub async fn lock_attempt(&self, attempt: Attempt) -> Result<(Attempt, SessionLock), Arc<Error>> {
        match self.lock(&attempt.name()).await.map_err(Arc::new) {
            Ok(lock) => Ok((attempt, lock)),
            Err(error) => {
                attempt.finish(&Err(Arc::clone(&error)));
                Err(error)
            }
        }
    }

    /// Signs in: creates the session that `attempt` is about, or extends it when it is there, and provisions it, within the quotas. It is recorded with
    /// `records` before it can be used. All that wait for the attempt are told what came of it.
    ///
    /// Where one of them asks for a credential, one is issued on the way, for all.
    ///
    /// `lock` is the session's lock. A sign-in takes half a minute at the most.
    ///
    /// The session is ended again if the quotas do not admit it, or that cannot be found out. It is ended too if provisioning fails for good, or if
    /// it was never usable and its record cannot be written. After a transient error of provisioning alone it stays without being provisioned, and
    /// the reconcile loop completes it.
    pub async fn sign_in(&self, attempt: Attempt, lock: &SessionLock, records: &dyn Records) -> Outcome {
        let outcome = self.sign_in_with_timeout(&attempt, lock, records).await;
        let outcome = outcome.map(Arc::new).map_err(Arc::new);
        attempt.finish(&outcome);
        outcome
    }

    async fn sign_in_with_timeout(
        &self,
        attempt: &Attempt,
        lock: &SessionLock,
        records: &dyn Records,
    ) -> Result<SignedIn, Error> {
        let name = attempt.name();
        if !lock.is_for(&name) {
            return Err(Error::Contended(name.to_string()));
        }
        // What was cut off is completed or ended by the reconcile loop.
        let work = Box::pin(self.write_and_provision(attempt, records));
        let signed_in = timeout(SIGN_IN_TIMEOUT, work).await;
        signed_in.unwrap_or(Err(Error::TimedOut(SIGN_IN_TIMEOUT)))
    }

    async fn write_and_provision(&self, attempt: &Attempt, records: &dyn Records) -> Result<SignedIn, Error> {
        let (requested, max_sessions) = (&attempt.sign_in().session, attempt.sign_in().max_sessions);
        let (name, role) = (attempt.name(), &requested.rule.role);
        let (role, existing) = join(self.check_role(role), self.signins.get_opt(name.as_str())).await;
        role?;
        let existing = self.delete_superseded_approval(existing?, attempt).await?;
        if requested.on_use == Some(SignInTrigger::ByUse) {
            return Box::pin(self.begin_on_use(attempt, existing, records)).await;
        }
        let is_admitted = |existing: &TkaSignin| objects::is_admitted(existing, (self.clock)());
        if !existing.as_ref().is_some_and(is_admitted) {
            self.check_device_quotas(requested)?;
        }
        if let Some(existing) = &existing {
            self.prepare_extension(existing, requested, max_sessions).await?;
        }
        // This fixes when it was signed in to, and so its end.
        let session = &attempt.freeze_session();
        let stands = |existing: &TkaSignin| objects::is_current_and_provisioned(existing, session, max_sessions);
        if existing.as_ref().is_some_and(stands) {
            return self.reuse_session(attempt, session, max_sessions, records).await;
        }
        let mut desired = objects::signin(session, max_sessions, &self.namespace);
        if let Some(checked) = &attempt.sign_in().approved {
            let carried_out = objects::carry_out(&mut desired, existing.as_ref(), checked, (self.clock)());
            carried_out.ok_or_else(|| Error::EndedMeanwhile(name.clone()))?;
            if let Some(waits) = existing.as_ref().filter(|existing| objects::is_awaiting(existing)) {
                desired.metadata.resource_version = self.set_pending_status(waits).await?.resource_version();
            }
        }
        if let Some(existing) = &existing {
            objects::clear_stale_annotations(&mut desired, existing);
        }
        let signin = self.write_signin(&desired).await?;
        self.admit_and_provision(attempt, &signin, session, Precondition::SameObject, records)
            .await
    }

    /// What there is of the session before it is written. What only waits for approval makes way for a sign-in that needs none.
    async fn delete_superseded_approval(
        &self,
        existing: Option<TkaSignin>,
        attempt: &Attempt,
    ) -> Result<Option<TkaSignin>, Error> {
        match existing {
            Some(waits) if objects::is_awaiting(&waits) && attempt.sign_in().approved.is_none() => {
                self.remove_waiting(&waits).await?;
                Ok(None)
            }
            existing => Ok(existing),
        }
    }

    /// Admits and provisions the session that `signin` holds, which was just written. Unless it is to be had, it ends if the `precondition` still holds.
    pub(crate) async fn admit_and_provision(
        &self,
        attempt: &Attempt,
        signin: &TkaSignin,
        session: &Session,
        precondition: Precondition,
        records: &dyn Records,
    ) -> Result<SignedIn, Error> {
        let (name, max_sessions) = (attempt.name(), attempt.sign_in().max_sessions);
        let abort = |error| self.abort_sign_in(signin, error, precondition, records);
        if let Err(error) = self.ensure_admitted(signin, session, max_sessions).await {
            return Err(abort(error).await);
        }
        let close = || attempt.close();
        let (provisioned, credential) = match self.provision(signin, session, &close, records).await {
            Ok(credential) => (true, credential),
            Err(error @ Error::EndedMeanwhile(_)) => return Err(error),
            Err(error) if ends_session(signin, &error) => return Err(abort(error).await),
            Err(error) => {
                tracing::warn!(session = %name, error = with_causes(&error), "provisioning failed; the reconcile loop tries again");
                if let Err(error) = self.record(signin, session, records).await {
                    // A usable session keeps its old end. The reconcile loop extends it once the record is written.
                    if objects::was_provisioned(signin) {
                        return Err(error);
                    }
                    return Err(abort(error).await);
                }
                self.write_pending_status(signin, &error).await;
                (false, None)
            }
        };
        let extended = objects::was_provisioned(signin);
        self.events.signed_in(signin, session, extended);
        Ok(SignedIn::new(session, provisioned, extended, credential))
    }

    /// Returns a session that exists exactly as requested, because another sign-in of the same second wrote it. It is read once more after the attempt is
    /// closed to others.
    async fn reuse_session(
        &self,
        attempt: &Attempt,
        session: &Session,
        max_sessions: Option<NonZeroU32>,
        records: &dyn Records,
    ) -> Result<SignedIn, Error> {
        let (name, wants_credential) = (session.name(), attempt.close());
        let live = self.signins.get_opt(name.as_str()).await?;
        let live = live.filter(|live| objects::is_current_and_provisioned(live, session, max_sessions));
        let signin = live.ok_or_else(|| Error::Contended(name.to_string()))?;
        self.record(&signin, session, records).await?;
        self.recorded.forget(&signin);
        self.events.signed_in(&signin, session, true);
        let credential = if wants_credential {
            Some(self.credential(session).await?)
        } else {
            None
        };
        Ok(SignedIn::new(session, true, true, credential))
    }

    /// Sees `existing` to its end before the session that follows it is written onto it, or says that it may not be extended.
    async fn prepare_extension(
        &self,
        existing: &TkaSignin,
        session: &Session,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<(), Error> {
        if existing.metadata.deletion_timestamp.is_some() {
            return self.finish(existing, &*self.records).await;
        }
        let checked = self.check_extension(existing, session, max_sessions).await;
        checked.inspect_err(|error| self.events.refused(existing, error))
    }

    /// Ends the session because of `error`. Returns `error`, or the error of the termination.
    async fn abort_sign_in(
        &self,
        signin: &TkaSignin,
        error: Error,
        precondition: Precondition,
        records: &dyn Records,
    ) -> Error {
        let why = with_causes(&error);
        // A caller that had it already loses it.
        let how = if objects::is_admitted(signin, (self.clock)()) {
            EndReason::Revoked(why)
        } else {
            EndReason::Refused(why)
        };
        match self.terminate(signin, how, precondition, records).await {
            Ok(_) => error,
            Err(another) => another,
        }
    }

    /// Records a sign-in, and with it what it gives.
    async fn record(&self, signin: &TkaSignin, session: &Session, records: &dyn Records) -> Result<(), Error> {
        if self.recorded.has_begun(signin, session.signed_in) {
            return Ok(());
        }
        let extended = objects::was_provisioned(signin);
        records.began(session, extended).await.map_err(Error::NotRecorded)?;
        self.recorded.begun(signin, session.signed_in, Instant::now());
        Ok(())
    }

    /// Refuses a role that the cluster does not have, before anything is written. The server may read only those that it may bind somewhere.
    pub(crate) async fn check_role(&self, role: &RoleName) -> Result<(), Error> {
        match ignore_not_found(self.roles.get_metadata(role.as_str()).await) {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(Error::NoSuchRole(role.clone())),
            Err(error) => Err(role_error(error, role)),
        }
    }

    /// Writes the `TkaSignin`. One that is being deleted cannot be extended: it is seen to its end first.
    async fn write_signin(&self, desired: &TkaSignin) -> Result<TkaSignin, Error> {
        let name = desired.name_any();
        for _ in 0..WRITE_TRIES {
            let written = self.signins.patch(&name, &patch_params(), &Patch::Apply(desired)).await;
            let written = match written {
                // Server-side apply sends the whole desired object, so trying again after a conflict is safe.
                Err(error) if status(&error).is_some_and(Status::is_conflict) => continue,
                written => written?,
            };
            if written.metadata.deletion_timestamp.is_none() {
                return Ok(written);
            }
            self.finish(&written, &*self.records).await?;
        }
        Err(Error::Contended(name))
    }

    /// Makes account and bindings of the session that `signin` holds, and writes the record. Then it writes the status, and issues a credential
    /// beside that if one is requested: `close` stops others from joining, and returns whether one is.
    ///
    /// The caller of this holds the session's lock.
    async fn provision(
        &self,
        signin: &TkaSignin,
        session: &Session,
        close: &(dyn Fn() -> bool + Sync),
        records: &dyn Records,
    ) -> Result<Option<Credential>, Error> {
        if session.on_use == Some(SignInTrigger::ByUse) {
            self.check_tombstone(&session.name()).await?;
        }
        self.make_children(signin, session).await?;
        // No credential is given of a session whose status does not say that it is provisioned.
        self.record(signin, session, records).await?;
        if session.on_use == Some(SignInTrigger::Asked) {
            self.remove_tombstone(signin, session).await?;
        }
        let credential = close();
        let written = async {
            self.write_status(signin, session).await?;
            self.recorded.forget(signin);
            Ok(())
        };
        if !credential {
            return written.await.map(|()| None);
        }
        let (written, credential) = join(written, self.issue(session)).await;
        written?;
        match credential {
            Err(Error::NoAccount(name)) => Err(Error::EndedMeanwhile(name)),
            credential => credential.map(Some),
        }
    }

    /// Admits the session that `signin` holds under the quotas, unless its status says that it is admitted. An ended session is not admitted, even if a
    /// sign-in has just written it anew.
    async fn ensure_admitted(
        &self,
        signin: &TkaSignin,
        session: &Session,
        max_sessions: Option<NonZeroU32>,
    ) -> Result<(), Error> {
        if objects::is_admitted(signin, (self.clock)()) {
            return Ok(());
        }
        self.admit(signin, session, max_sessions).await
    }

    /// Admits and provisions. A sign-in that was cut off may have stopped before the quotas were checked.
    async fn complete_one(&self, signin: &TkaSignin, session: &Session) -> Result<(), Error> {
        let max_sessions = objects::max_sessions(signin)?;
        self.ensure_admitted(signin, session, max_sessions).await?;
        let provisioned = self.provision(signin, session, &|| false, &*self.records);
        provisioned.await.map(drop)
    }

    /// Completes a session that is not provisioned. The object is read anew: the task that held the lock before may have done it. One that
    /// cannot be provisioned at all is taken down.
    pub(crate) async fn complete(&self, name: &SessionName) -> Result<(), Error> {
        let _lock = self.locks.take(name.as_str()).await?;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(());
        };
        let session = objects::session(&signin)?;
        if signin.metadata.deletion_timestamp.is_some() || objects::is_provisioned(&signin, &session) {
            return Ok(());
        }
        match self.complete_one(&signin, &session).await {
            Err(error) if ends_session(&signin, &error) => {
                tracing::warn!(session = %name, error = with_causes(&error), "provisioning failed permanently; terminating the session");
                match self
                    .abort_sign_in(&signin, error, Precondition::SameVersion, &*self.records)
                    .await
                {
                    error if error.is_transient() => Err(error),
                    _ => Ok(()),
                }
            }
            Ok(()) | Err(Error::EndedMeanwhile(_)) => Ok(()),
            Err(error) => {
                self.write_pending_status(&signin, &error).await;
                Err(error)
            }
        }
    }

    /// Waits until the session of that name is provisioned, or gone. The caller sets a time limit.
    pub async fn wait_until_provisioned(&self, name: &SessionName) {
        let is_provisioned = |signin: &TkaSignin| {
            objects::session(signin).is_ok_and(|session| objects::is_provisioned(signin, &session))
        };
        let settled = |signin: Option<&TkaSignin>| signin.is_none_or(is_provisioned);
        watches::until(self.watched.clone(), name.as_str(), settled).await;
    }
}

/// Whether `error` ends the session that `signin` holds. A session that was never usable ends by any permanent error. A usable one ends only if its
/// role, a namespace or its place in a quota is gone. Any other refusal, such as one by a webhook, only keeps it from being extended.
fn ends_session(signin: &TkaSignin, error: &Error) -> bool {
    if objects::was_provisioned(signin) {
        return error.is_about_rule();
    }
    !error.is_transient()
}

/// Parameters of server-side apply.
pub(crate) fn patch_params() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// The error of a request about the role or its binding: RBAC's refusals are about the role.
pub(crate) fn role_error(error: kube::Error, role: &RoleName) -> Error {
    match error {
        kube::Error::Api(status) if is_about_role(&status) => Error::RoleNotAllowed {
            role: role.clone(),
            source: status,
        },
        error => error.into(),
    }
}

/// Whether RBAC refused it. Admission forbids too (the guard, a namespace that is being deleted), and then the role is not to blame.
/// RBAC's refusals have no reason of their own, only words: of its authorizer
/// (<https://kubernetes.io/docs/reference/access-authn-authz/authorization/>), and of its check of who grants what
/// (<https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping>).
fn is_about_role(status: &Status) -> bool {
    let by_authorizer = status.message.contains(" cannot ") && status.message.contains(" resource ");
    let by_escalation_check = status.message.contains("attempting to grant RBAC permissions");
    status.is_forbidden() && (by_authorizer || by_escalation_check)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::end_reason::EndRecord;
    use crate::examples::{self, at};
    use crate::fake_api_server::{self, Answer, ApiRequest, StoredSignin};
    use crate::{AttemptRole, Follower, progress};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tka_api::resource::ANNOTATION_END;

    /// Begun, and neither counted nor provisioned.
    fn begun(session: &Session) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.metadata.creation_timestamp = Some(Time(session.signed_in));
        signin
    }

    /// Answers as an API server with `kept` and, in lists, `others`.
    fn answer(kept: &StoredSignin, others: &[TkaSignin], request: &ApiRequest) -> Answer {
        if request.path.ends_with("/tkasignins") {
            return fake_api_server::list(others);
        }
        if request.path.contains("/clusterroles/") {
            let role =
                json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "view"}});
            return (200, role);
        }
        if request.path.ends_with("/token") {
            let status = json!({"token": "t", "expirationTimestamp": "1970-01-01T00:30:00Z"});
            let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {"audiences": []}, "status": status});
            return (201, token);
        }
        kept.answer(request)
    }

    /// Asks for the session and a credential of it.
    fn with_credential(session: Session) -> SignIn {
        SignIn {
            session,
            max_sessions: None,
            credential: true,
            approved: None,
            break_glass: false,
        }
    }

    /// Signs in as the first of so many that ask for the same, and returns what they all get.
    async fn sign_in(sessions: &Sessions, sign_in: &SignIn, others: usize) -> Vec<Outcome> {
        let AttemptRole::Leader(attempt) = sessions.join(sign_in) else {
            panic!("it waits");
        };
        let waiters: Vec<Follower> = (0..others)
            .map(|_| match sessions.join(sign_in) {
                AttemptRole::Leader(_) => panic!("it leads"),
                AttemptRole::Follower(waiter) => waiter,
            })
            .collect();
        let (attempt, lock) = sessions.lock_attempt(*attempt).await.unwrap();
        let mut outcomes = vec![sessions.sign_in(attempt, &lock, &examples::Unrecorded).await];
        for waiter in waiters {
            outcomes.push(waiter.outcome().await.unwrap());
        }
        outcomes
    }

    // cases.md 12
    #[tokio::test]
    async fn identical_sign_ins_cost_what_one_does() {
        let session = examples::session("1h", at(100));
        let (kept, writes) = (StoredSignin::new(&begun(&session)), Arc::new(Mutex::new(Vec::new())));
        let (server, noted) = (kept.clone(), Arc::clone(&writes));
        let clients = fake_api_server::clients(move |request| {
            if request.method != "GET" && !request.path.ends_with("/events") {
                let write = format!("{} {}", request.method, request.path);
                noted.lock().unwrap().push(write);
            }
            Some(answer(&server, &[], request))
        });
        let sessions = examples::sessions(clients, at(100));
        let wanted = with_credential(session);
        let outcomes = sign_in(&sessions, &wanted, 19).await;
        assert_eq!(outcomes.len(), 20);
        for outcome in outcomes {
            let signed_in = outcome.unwrap();
            assert!(signed_in.stored.provisioned && signed_in.credential.is_some());
        }
        let count = std::mem::take(&mut *writes.lock().unwrap()).len();
        assert_eq!(count, 5, "TkaSignin, account, binding, status and credential");
        // Who comes later in the same second gets what stands already.
        let again = sign_in(&sessions, &wanted, 0).await.remove(0).unwrap();
        assert!(again.extended && again.credential.is_some());
        assert_eq!(writes.lock().unwrap().len(), 1, "a credential");
    }

    /// Another replica may decide that it ends at any moment. Nothing of it may be given then, and nothing may stay.
    #[tokio::test]
    async fn what_another_replica_is_to_end_is_not_given() {
        let session = examples::session("1h", at(100));
        let intent = EndRecord::new(&session, EndReason::Refused("too many".into()), at(102)).to_annotation();
        let account = format!("/serviceaccounts/{}", session.name());
        let (server, removals) = (StoredSignin::new(&begun(&session)), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&removals);
        let clients = fake_api_server::clients(move |request| {
            counted.fetch_add(usize::from(request.path.ends_with(&account)), Ordering::SeqCst);
            if request.method == "POST" && request.path.ends_with("/serviceaccounts") {
                server.annotate(ANNOTATION_END, &intent);
            }
            Some(answer(&server, &[], request))
        });
        let sessions = examples::sessions(clients, at(100));
        let wanted = with_credential(session);
        let outcome = sign_in(&sessions, &wanted, 0).await.remove(0);
        let error = outcome.unwrap_err();
        assert!(matches!(*error, Error::EndedMeanwhile(_)), "{error:?}");
        let count = removals.load(Ordering::SeqCst);
        assert_eq!(count, 1, "its account is looked for, to be removed");
    }

    // cases.md 11.7
    #[tokio::test]
    async fn sign_in_cut_off_before_it_was_counted_is_given_up() {
        let (first, second) = (examples::session("1h", at(100)), examples::labelled("1h", at(101), "b"));
        let mut there = begun(&first);
        there.status = Some(progress::active(&there, &first, at(100)));
        let kept = StoredSignin::new(&begun(&second));
        let server = kept.clone();
        let clients =
            fake_api_server::clients(move |request| Some(answer(&server, std::slice::from_ref(&there), request)));
        let one = NonZeroU32::MIN;
        let sessions = examples::sessions_within(one, clients, at(102), Arc::new(examples::Unrecorded));
        sessions.complete(&second.name()).await.unwrap();
        assert!(kept.now().is_none());
    }

    #[test]
    fn only_rbac_blames_the_role() {
        let is_about_role = |message: &str| is_about_role(&Status::failure(message, "Forbidden").with_code(403));
        assert!(is_about_role(
            r#"clusterroles.rbac.authorization.k8s.io "admin" is forbidden: User "system:serviceaccount:tka:tka" cannot get resource "clusterroles" in API group "rbac.authorization.k8s.io" at the cluster scope"#
        ));
        assert!(is_about_role(
            r#"clusterrolebindings.rbac.authorization.k8s.io "x" is forbidden: user "tka" (groups=[]) is attempting to grant RBAC permissions not currently held:"#
        ));
        for other in [
            r#"rolebindings.rbac.authorization.k8s.io "x" is forbidden: unable to create new content in namespace shop because it is being terminated"#,
            r#"clusterrolebindings.rbac.authorization.k8s.io "x" is forbidden: ValidatingAdmissionPolicy 'tka-bindings' with binding 'tka' denied request: only the server"#,
            r#"admission webhook "policy.example.com" denied the request: no"#,
        ] {
            assert!(!is_about_role(other), "{other}");
        }
    }
}
