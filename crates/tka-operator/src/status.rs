//! Writing what [`progress`] says onto a `TkaSignin`.

use kube::api::Patch;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tka_api::resource::{TkaSignin, TkaSigninStatus};
use tka_core::Session;

use crate::error::{is_precondition_failure, status, with_causes};
use crate::provision::patch_params;
use crate::{Error, Sessions, objects, progress};

impl Sessions {
    /// Says that account and bindings of the session exist, of the very object that they were made for. Where that is gone they go, too.
    pub(crate) async fn write_status(&self, signin: &TkaSignin, session: &Session) -> Result<(), Error> {
        let name = session.name();
        let active = progress::active(signin, session, (self.clock)());
        let written = match self.patch_status(signin, active.clone()).await {
            // The only precondition is that it is this object.
            Err(error)
                if status(&error).is_some_and(is_precondition_failure) && self.refetch(signin).await?.is_some() =>
            {
                self.patch_status(signin, active).await
            }
            written => written,
        };
        match written {
            // Ended while it was being provisioned: nothing of it may stay, and the replica that ended it may have looked before.
            // It was decided after its status said that it is provisioned: about another version, which the API server refuses.
            Ok(written) if objects::is_ending(&written, session) => {
                self.delete_children(signin).await?;
                Err(Error::EndedMeanwhile(name))
            }
            Ok(_) => Ok(()),
            Err(error) => match status(&error) {
                // Where it conflicts, another of its name is there.
                Some(status) if status.is_not_found() || is_precondition_failure(status) => {
                    self.delete_children(signin).await?;
                    Err(Error::EndedMeanwhile(name))
                }
                _ => Err(error.into()),
            },
        }
    }

    /// Says why the session is not provisioned yet. A courtesy: what cannot be said delays nothing.
    pub(crate) async fn write_pending_status(&self, signin: &TkaSignin, error: &Error) {
        self.say(signin, progress::pending(signin, error, (self.clock)())).await;
    }

    /// Says why what is left of the session is still there. A courtesy, too.
    pub(crate) async fn write_terminating_status(&self, signin: &TkaSignin, error: &Error) {
        self.say(signin, progress::terminating(signin, error, (self.clock)()))
            .await;
    }

    async fn say(&self, signin: &TkaSignin, status: TkaSigninStatus) {
        if progress::is_unchanged(signin, &status) {
            return;
        }
        if let Err(error) = self.patch_status(signin, status).await {
            tracing::debug!(
                session = signin.name_any(),
                error = with_causes(&error),
                "status not written"
            );
        }
    }

    /// The UID makes the API server refuse it when the object was replaced by another of its name.
    async fn patch_status(&self, signin: &TkaSignin, status: TkaSigninStatus) -> kube::Result<TkaSignin> {
        self.apply_status(signin, &json!({"uid": signin.uid()}), status).await
    }

    /// The same of this version alone: what waits for approval may be a session by now, of which that is not to be said.
    pub(crate) async fn patch_status_of_version(
        &self,
        signin: &TkaSignin,
        status: TkaSigninStatus,
    ) -> kube::Result<TkaSignin> {
        let metadata = json!({"uid": signin.uid(), "resourceVersion": signin.resource_version()});
        self.apply_status(signin, &metadata, status).await
    }

    async fn apply_status(
        &self,
        signin: &TkaSignin,
        metadata: &Value,
        status: TkaSigninStatus,
    ) -> kube::Result<TkaSignin> {
        let patch = json!({
            "apiVersion": TkaSignin::api_version(&()),
            "kind": TkaSignin::kind(&()),
            "metadata": metadata,
            "status": status,
        });
        self.signins
            .patch_status(&signin.name_any(), &patch_params(), &Patch::Apply(patch))
            .await
    }
}
