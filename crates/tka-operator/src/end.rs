//! Ending a session: one function, for sign-out, expiry and what an administrator deletes.

use std::fmt;

use futures::future::{join, join_all};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Status;
use serde_json::json;
use tka_api::resource::{FINALIZER, TkaSignin};
use tka_core::{Revocation, Session, SessionName};

use crate::error::{found, status};
use crate::{Error, Sessions, objects};

/// How a session came to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum End {
    /// Its owner ended it.
    SignedOut,
    /// Its time was over.
    Expired,
    /// What it was given through does not hold any more.
    Revoked(Revocation),
    /// Somebody else deleted its `TkaSignin`: an administrator, or a server that was interrupted or is another replica.
    TakenDown,
}

// === impl End ===

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedOut => f.write_str("its owner signed out"),
            Self::Expired => f.write_str("its time is over"),
            Self::Revoked(revocation) => write!(f, "revoked: {revocation}"),
            Self::TakenDown => f.write_str("its TkaSignin was deleted, and what hung on it is gone"),
        }
    }
}

// === impl Sessions ===

impl Sessions {
    /// Ends a session for its owner: when this returns, its account and bindings are gone.
    pub async fn end(&self, name: &SessionName) -> Result<(), Error> {
        let _turn = self.turns.take(name.as_str()).await?;
        if let Some(signin) = self.delete_signin(name.as_str(), None).await? {
            self.events.ended(&signin, &End::SignedOut);
        }
        Ok(())
    }

    /// Ends a session if it is over now, and not if it was extended in the meantime. Says whether it ended.
    pub(crate) async fn expire(&self, name: &SessionName) -> Result<bool, Error> {
        let _turn = self.turns.take(name.as_str()).await?;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(false);
        };
        if objects::session(&signin)?.until() > (self.clock)() {
            return Ok(false);
        }
        self.delete_signin(name.as_str(), signin.resource_version()).await?;
        self.events.ended(&signin, &End::Expired);
        Ok(true)
    }

    /// Takes down what is left of a session that is being deleted, or of an object that carries our labels and is no session:
    /// nobody could tell when that would be over. Says how it ended, if there was anything left to take down.
    pub(crate) async fn take_down(&self, signin: &TkaSignin) -> Result<Option<End>, Error> {
        let name = signin.name_any();
        let _turn = self.turns.take(&name).await?;
        // Whoever had the turn before may have done it.
        let Some(signin) = self
            .signins
            .get_opt(&name)
            .await?
            .filter(|live| live.uid() == signin.uid())
        else {
            return Ok(None);
        };
        if signin.metadata.deletion_timestamp.is_some() {
            if let Err(error) = self.finish(&signin).await {
                self.say_ending(&signin, &error).await;
                return Err(error);
            }
        } else {
            self.delete_signin(&name, signin.resource_version()).await?;
        }
        // Whoever deleted it may have been this server, which was interrupted.
        let is_over = objects::session(&signin).is_ok_and(|session| session.until() <= (self.clock)());
        let how = if is_over { End::Expired } else { End::TakenDown };
        self.events.ended(&signin, &how);
        Ok(Some(how))
    }

    /// Deletes a `TkaSignin` and sees it gone. Returns it, if it was there.
    pub(crate) async fn delete_signin(
        &self,
        name: &str,
        resource_version: Option<String>,
    ) -> Result<Option<TkaSignin>, Error> {
        let unchanged = resource_version.map(|version| Preconditions {
            resource_version: Some(version),
            uid: None,
        });
        let delete = DeleteParams {
            preconditions: unchanged,
            ..DeleteParams::default()
        };
        let deleted = found(self.signins.delete(name, &delete).await).map_err(|error| {
            if status(&error).is_some_and(Status::is_conflict) {
                Error::Contended(name.into())
            } else {
                error.into()
            }
        })?;
        let deleted = deleted.and_then(either::Either::left);
        if let Some(signin) = &deleted {
            self.finish(signin).await?;
        }
        Ok(deleted)
    }

    /// Removes account and bindings, then lets the `TkaSignin` go.
    pub(crate) async fn finish(&self, signin: &TkaSignin) -> Result<(), Error> {
        let name = signin.name_any();
        match objects::session(signin) {
            Ok(session) => self.delete_children(&session).await?,
            // Its name may be anything, that of an account which is none of ours too.
            Err(_) => drop(self.sweep().await?),
        }
        if !signin.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
            return Ok(());
        }
        let others: Vec<_> = signin
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != FINALIZER)
            .collect();
        let patch = json!({"metadata": {"uid": signin.uid(), "finalizers": others}});
        match found(
            self.signins
                .patch(&name, &PatchParams::default(), &Patch::Merge(patch))
                .await,
        ) {
            // A conflict on the UID: this object is gone, and another has its name.
            Err(error) if status(&error).is_some_and(Status::is_conflict) => Ok(()),
            result => result.map(drop).map_err(Error::from),
        }
    }

    pub(crate) async fn delete_children(&self, session: &Session) -> Result<(), Error> {
        let name = session.name();
        let delete = DeleteParams::default();
        let (account, bindings) = join(self.accounts.delete(name.as_str(), &delete), self.unbind(session)).await;
        bindings?;
        found(account)?;
        Ok(())
    }

    async fn unbind(&self, session: &Session) -> Result<(), Error> {
        let name = objects::binding_name(&self.namespace, session.name().as_str());
        let delete = DeleteParams::default();
        if session.rule.namespaces.is_empty() {
            found(self.cluster_bindings.delete(&name, &delete).await)?;
            return Ok(());
        }
        let deletes = session.rule.namespaces.iter().map(|namespace| {
            let (bindings, name, delete) = (self.bindings_in(namespace.as_str()), &name, &delete);
            async move { found(bindings.delete(name, delete).await).map(drop) }
        });
        join_all(deletes)
            .await
            .into_iter()
            .collect::<Result<(), kube::Error>>()?;
        Ok(())
    }
}
