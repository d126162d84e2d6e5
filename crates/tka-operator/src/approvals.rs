//! Asking others to let a caller in, and writing down what they decide. Who may decide, and whether what is asked still holds, is for the caller of this to
//! know.

use futures::future::BoxFuture;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tka_api::resource::{ANNOTATION_APPROVAL, LABEL_USER, TkaSignin};
use tka_core::{Approval, Reason, Refusal, Session, SessionName};

use crate::approval::{ApprovalRequest, RequestState};
use crate::error::{ignore_not_found, status};
use crate::objects::WATCHED;
use crate::provision::FIELD_MANAGER;
use crate::records::NotRecorded;
use crate::sessions::is_plain_name;
use crate::waiting::WaitingSignIn;
use crate::{Error, SessionFilter, SessionState, Sessions, StoredSession, objects, progress};

/// How often a request is written after another write came between.
const MAX_WRITES: usize = 3;
/// How many sign-ins of one user may wait at a time. Each is told to others.
pub const MAX_WAITING: usize = 5;

/// Records that a sign-in is to wait for others. Unless it returns well, it does not.
pub type RecordRequest<'a> = &'a (dyn Fn(&ApprovalRequest) -> BoxFuture<'a, Result<(), NotRecorded>> + Sync);

/// What a caller asks others for.
#[derive(Clone, Copy)]
pub struct NewRequest<'a> {
    /// The session that it would give at this moment.
    pub session: &'a Session,
    /// What an approval of it is for ([`tka_core::approver::digest`]).
    pub digest: &'a str,
    /// What its rule asks for.
    pub approval: &'a Approval,
    /// Whether its user may ask others once more. It is asked once, where a new request is to be made, and counts that.
    pub admit: &'a (dyn Fn() -> Result<(), Refusal> + Sync),
    /// Records it.
    pub record: RecordRequest<'a>,
    /// Whether an Event tells of it.
    pub is_told: bool,
    /// The request that its caller waits for already. Another is not joined, and none begins.
    pub joins: Option<&'a str>,
}

/// What asking came to.
#[derive(Debug)]
pub enum RequestOutcome {
    /// It was approved before, and its caller had not been told. The session stands.
    Granted(Box<StoredSession>),
    /// It was denied before, and its caller had not been told.
    Denied(Box<WaitingSignIn>),
    /// It waits.
    Waits {
        /// What waits.
        waiting: Box<WaitingSignIn>,
        /// Whether it does since this moment.
        is_new: bool,
    },
    /// The request that its caller waits for is over or was withdrawn.
    Gone,
}

// === impl NewRequest ===

impl NewRequest<'_> {
    /// Whether it is about `waiting`: the request that its caller waits for, or else one for just the same.
    fn is_for(&self, waiting: &WaitingSignIn) -> bool {
        let request = &waiting.request;
        self.joins.map_or(request.digest == *self.digest, |id| request.id == id)
    }
}

// === impl Sessions ===

impl Sessions {
    /// Has a sign-in wait for approval, by a request of that `id`, or joins the one that waits for just the same. A session that goes on stays as it is.
    ///
    /// Where its caller waits already, it says what has come of that, and asks for nothing.
    pub async fn request_approval(&self, ask: &NewRequest<'_>, id: &str) -> Result<RequestOutcome, Error> {
        // None need decide about what cannot be had.
        self.check_bindable(&ask.session.rule.role, &ask.session.rule.scope)
            .await?;
        let name = ask.session.name();
        // So that what is counted of a user stays so until it is written.
        let _asks = self
            .locks
            .take(&format!("asks of {}", ask.session.caller.user_key()))
            .await?;
        let _lock = self.locks.take(name.as_str()).await?;
        let mut is_admitted = false;
        for _ in 0..MAX_WRITES {
            let existing = self.signins.get_opt(name.as_str()).await?;
            if let Some(asked) = self.request_or_join(existing, ask, id, &mut is_admitted).await? {
                return Ok(asked);
            }
        }
        Err(Error::Contended(name.to_string()))
    }

    /// None if `existing` is not any more what it was.
    async fn request_or_join(
        &self,
        existing: Option<TkaSignin>,
        ask: &NewRequest<'_>,
        id: &str,
        is_admitted: &mut bool,
    ) -> Result<Option<RequestOutcome>, Error> {
        let now = (self.clock)();
        let before = existing.as_ref().and_then(WaitingSignIn::of);
        if let Some(same) = before.clone().filter(|before| ask.is_for(before)) {
            // Rule, caller or device changed, or are not the same yet at this replica: what waits is not answered for.
            if same.request.digest != *ask.digest {
                return Err(Error::Contended(ask.session.name().to_string()));
            }
            // What was told before is told again to one who waits for it: an answer may have been lost.
            let is_to_tell = ask.joins.is_some() || !same.request.told;
            match same.request.state(now) {
                RequestState::Waiting | RequestState::Approved => {
                    return Ok(Some(RequestOutcome::waits(same, false)));
                }
                RequestState::Denied if is_to_tell => return self.tell_denied(same).await,
                RequestState::Granted if is_to_tell => {
                    if let Some(stored) = existing.as_ref().and_then(|signin| SessionFilter::Live.stored(signin)) {
                        return self.tell_granted(&same, stored).await;
                    }
                }
                RequestState::Denied | RequestState::Granted | RequestState::Expired => {}
            }
        }
        if ask.joins.is_some() {
            return Ok(Some(RequestOutcome::Gone));
        }
        let is_over =
            |there: &&TkaSignin| !objects::is_awaiting(there) && SessionState::of(there, now) == SessionState::None;
        if let Some(over) = existing.as_ref().filter(is_over) {
            self.finish_termination(over).await?;
            return Ok(None);
        }
        self.check_waiting(ask.session).await?;
        if !std::mem::replace(is_admitted, true) {
            (ask.admit)().map_err(Error::Refused)?;
        }
        let (period, reason) = (ask.session.period, ask.session.reason.as_ref());
        let request = ApprovalRequest::new(id.to_owned(), ask.digest.to_owned(), ask.approval, period, reason, now);
        // Another reason is another question, and those who are asked see that the last was denied.
        let request = request.after(before.as_ref().map(|before| &before.request), now);
        // Nothing is asked without a record.
        (ask.record)(&request).await.map_err(Error::NotRecorded)?;
        let Some(existing) = existing else {
            return self.begin_waiting(ask, &request).await;
        };
        if objects::is_awaiting(&existing) {
            return self.replace_request(&existing, ask, &request).await;
        }
        let annotations = json!({ANNOTATION_APPROVAL: request.to_annotation()});
        let written = self
            .patch_version(&existing, json!({"metadata": {"annotations": annotations}}))
            .await?;
        Ok(self.waiting_outcome(written, ask.is_told))
    }

    async fn tell_granted(
        &self,
        granted: &WaitingSignIn,
        stored: StoredSession,
    ) -> Result<Option<RequestOutcome>, Error> {
        let told = self.write_told(granted).await?;
        Ok(told.then(|| RequestOutcome::Granted(Box::new(stored))))
    }

    /// Writes down that its caller was told. False if it is not any more what it was.
    async fn write_told(&self, waiting: &WaitingSignIn) -> Result<bool, Error> {
        if waiting.request.told {
            return Ok(true);
        }
        let written = self.write_request(waiting, &waiting.request.told()).await?;
        Ok(written.is_some())
    }

    async fn tell_denied(&self, denied: WaitingSignIn) -> Result<Option<RequestOutcome>, Error> {
        let told = self.write_told(&denied).await?;
        Ok(told.then(|| RequestOutcome::Denied(Box::new(denied))))
    }

    /// Begins to wait where there is neither a session nor another request.
    async fn begin_waiting(
        &self,
        ask: &NewRequest<'_>,
        request: &ApprovalRequest,
    ) -> Result<Option<RequestOutcome>, Error> {
        let desired = objects::awaiting(ask.session, request, &self.namespace);
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PostParams::default()
        };
        let signin = match self.signins.create(&parameters, &desired).await {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => return Ok(None),
            created => created?,
        };
        let signin = self.set_waiting_status(signin, request).await;
        Ok(self.waiting_outcome(Some(signin), ask.is_told))
    }

    /// Waits for another request on the object of an earlier one.
    async fn replace_request(
        &self,
        existing: &TkaSignin,
        ask: &NewRequest<'_>,
        request: &ApprovalRequest,
    ) -> Result<Option<RequestOutcome>, Error> {
        let annotations = json!({ANNOTATION_APPROVAL: request.to_annotation()});
        let reason = ask.session.reason.as_ref().map(Reason::as_str);
        let spec = json!({"validity_period": ask.session.period.to_string(), "reason": reason});
        let patch = json!({"metadata": {"annotations": annotations}, "spec": spec});
        let Some(signin) = self.patch_version(existing, patch).await? else {
            return Ok(None);
        };
        let signin = self.set_waiting_status(signin, request).await;
        Ok(self.waiting_outcome(Some(signin), ask.is_told))
    }

    fn waiting_outcome(&self, signin: Option<TkaSignin>, is_told: bool) -> Option<RequestOutcome> {
        let signin = signin?;
        let waiting = WaitingSignIn::of(&signin)?;
        if is_told {
            self.events.approval_requested(&signin, &waiting);
        }
        Some(RequestOutcome::waits(waiting, true))
    }

    /// Refuses a user with too many sign-ins that wait, by what the API server says at this moment.
    async fn check_waiting(&self, session: &Session) -> Result<(), Error> {
        let (now, name) = ((self.clock)(), session.name());
        let of_user = format!("{WATCHED},{LABEL_USER}={}", session.caller.user_key());
        let all = self.signins.list(&ListParams::default().labels(&of_user)).await?;
        let is_other = |waiting: &WaitingSignIn| {
            let state = waiting.request.state(now);
            state.is_open() && waiting.name != name
        };
        let count = all.items.iter().filter_map(WaitingSignIn::of).filter(is_other).count();
        if count < MAX_WAITING {
            return Ok(());
        }
        Err(Error::Refused(Refusal::TooManyWaiting { max: MAX_WAITING }))
    }

    /// The sign-in that waits for the session of that name, or was decided, read from the API server at this moment.
    pub async fn waiting_named(&self, name: &str) -> Result<Option<WaitingSignIn>, Error> {
        if !is_plain_name(name) {
            return Ok(None);
        }
        let signin = self.signins.get_opt(name).await?;
        Ok(signin.as_ref().and_then(WaitingSignIn::of))
    }

    /// Writes `request` in place of what `waiting` says, unless that was changed since. Returns what waits then.
    pub async fn write_request(
        &self,
        waiting: &WaitingSignIn,
        request: &ApprovalRequest,
    ) -> Result<Option<WaitingSignIn>, Error> {
        let annotations = json!({ANNOTATION_APPROVAL: request.to_annotation()});
        let patch = json!({"metadata": {"annotations": annotations}});
        let written = self
            .patch_exactly(&waiting.name, &waiting.uid, &waiting.version, patch)
            .await?;
        let Some(written) = written else {
            return Ok(None);
        };
        let written = if waiting.extends {
            written
        } else {
            self.set_waiting_status(written, request).await
        };
        self.events.decided(&written, &waiting.request, request);
        Ok(WaitingSignIn::of(&written))
    }

    /// Writes down that the caller knows what was decided about the request of that `id` for the session of that name. Where it is not there any more, nothing
    /// is left to write.
    pub async fn mark_notified(&self, name: &SessionName, id: &str) -> Result<(), Error> {
        for _ in 0..MAX_WRITES {
            let waiting = self.waiting_named(name.as_str()).await?;
            let Some(waiting) = waiting.filter(|waiting| waiting.request.id == id && !waiting.request.told) else {
                return Ok(());
            };
            if self.write_request(&waiting, &waiting.request.told()).await?.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Has `waiting` wait no more, unless it was changed since. Says whether it did.
    pub async fn cancel_request(&self, waiting: &WaitingSignIn) -> Result<bool, Error> {
        let WaitingSignIn { name, uid, version, .. } = waiting;
        if waiting.extends {
            // Empty is as good as absent, whichever manager owns the field.
            let patch = json!({"metadata": {"annotations": {ANNOTATION_APPROVAL: ""}}});
            return Ok(self.patch_exactly(name, uid, version, patch).await?.is_some());
        }
        let this = Preconditions {
            uid: Some(uid.clone()),
            resource_version: Some(version.clone()),
        };
        let delete = DeleteParams::default().preconditions(this);
        match ignore_not_found(self.signins.delete(name.as_str(), &delete).await) {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => Ok(false),
            deleted => Ok(deleted?.is_some()),
        }
    }

    /// Removes what waits on `signin`, which holds no session, before a session is written in its place that needs no approval.
    pub(crate) async fn remove_waiting(&self, signin: &TkaSignin) -> Result<(), Error> {
        let this = Preconditions {
            uid: signin.uid(),
            resource_version: None,
        };
        let delete = DeleteParams::default().preconditions(this);
        ignore_not_found(self.signins.delete(&signin.name_any(), &delete).await)?;
        Ok(())
    }

    /// Gives the sign-in that waited, and becomes a session now, the phase `Pending`. Earlier versions know no earlier phase of it, and read it from
    /// here on.
    pub(crate) async fn set_pending_status(&self, waits: &TkaSignin) -> Result<TkaSignin, Error> {
        let pending = progress::beginning(waits, (self.clock)());
        match self.patch_status_of_version(waits, pending).await {
            Err(error) if status(&error).is_some_and(|status| status.is_conflict() || status.is_not_found()) => {
                Err(Error::Contended(waits.name_any()))
            }
            written => Ok(written?),
        }
    }

    /// Says on the object how it stands. A courtesy: what cannot be said delays nothing. Returns the newest version.
    async fn set_waiting_status(&self, signin: TkaSignin, request: &ApprovalRequest) -> TkaSignin {
        let status = progress::awaiting(&signin, request, (self.clock)());
        match self.patch_status_of_version(&signin, status).await {
            Ok(written) => written,
            Err(error) => {
                tracing::debug!(session = signin.name_any(), %error, "status not written");
                signin
            }
        }
    }

    async fn patch_version(&self, signin: &TkaSignin, patch: Value) -> Result<Option<TkaSignin>, Error> {
        let name = objects::subject(signin)?.name();
        let uid = signin.uid().ok_or(Error::Incomplete("metadata.uid"))?;
        let version = signin
            .resource_version()
            .ok_or(Error::Incomplete("metadata.resourceVersion"))?;
        self.patch_exactly(&name, &uid, &version, patch).await
    }

    /// Patches one version of one object. None if that is not there any more.
    async fn patch_exactly(
        &self,
        name: &SessionName,
        uid: &str,
        version: &str,
        mut patch: Value,
    ) -> Result<Option<TkaSignin>, Error> {
        patch["apiVersion"] = json!(TkaSignin::api_version(&()));
        patch["kind"] = json!(TkaSignin::kind(&()));
        patch["metadata"]["uid"] = json!(uid);
        patch["metadata"]["resourceVersion"] = json!(version);
        let parameters = PatchParams {
            field_manager: Some(FIELD_MANAGER.into()),
            ..PatchParams::default()
        };
        match ignore_not_found(
            self.signins
                .patch(name.as_str(), &parameters, &Patch::Merge(patch))
                .await,
        ) {
            Err(error) if status(&error).is_some_and(Status::is_conflict) => Ok(None),
            patched => Ok(patched?),
        }
    }
}

impl RequestOutcome {
    fn waits(waiting: WaitingSignIn, is_new: bool) -> Self {
        let waiting = Box::new(waiting);
        Self::Waits { waiting, is_new }
    }
}
