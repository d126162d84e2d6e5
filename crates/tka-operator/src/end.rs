//! Ending a session: one function, for sign-out, expiry and what an administrator deletes.

use std::fmt;

use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::core::Status;
use serde_json::json;
use tka_api::resource::{FINALIZER, TkaSignin};
use tka_core::{Revocation, Session, SessionName};

use crate::error::{found, status};
use crate::{Error, Sessions, objects};

/// What a `TkaSignin` must be for it to be deleted.
#[derive(Debug, Default)]
pub(crate) struct Unchanged(Option<Preconditions>);

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
    /// Somebody else deleted its account or a binding.
    Broken,
}

// === impl Unchanged ===

impl Unchanged {
    /// This object, and not another of its name.
    pub(crate) fn same(signin: &TkaSignin) -> Self {
        Self(Some(Preconditions {
            uid: signin.uid(),
            resource_version: None,
        }))
    }

    /// This object as it is: whoever signed in since has another.
    pub(crate) fn since(signin: &TkaSignin) -> Self {
        Self(Some(Preconditions {
            uid: signin.uid(),
            resource_version: signin.resource_version(),
        }))
    }
}

// === impl End ===

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignedOut => f.write_str("its owner signed out"),
            Self::Expired => f.write_str("its time is over"),
            Self::Revoked(revocation) => write!(f, "revoked: {revocation}"),
            Self::TakenDown => f.write_str("its TkaSignin was deleted, and what hung on it is gone"),
            Self::Broken => f.write_str("its ServiceAccount or a binding was deleted"),
        }
    }
}

// === impl Sessions ===

impl Sessions {
    /// Ends a session for its owner: when this returns, its account and bindings are gone.
    pub async fn end(&self, name: &SessionName) -> Result<(), Error> {
        let _turn = self.turns.take(name.as_str()).await?;
        if let Some(signin) = self.delete_signin(name.as_str(), Unchanged::default()).await? {
            self.events.ended(&signin, &End::SignedOut);
        }
        Ok(())
    }

    /// Ends a session if it is over now, or if it `has_lasted` its period by a clock that nobody can set, and not if it was extended in the
    /// meantime. Says whether it ended.
    pub(crate) async fn expire(&self, session: &Session, has_lasted: bool) -> Result<bool, Error> {
        let name = session.name();
        let _turn = self.turns.take(name.as_str()).await?;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(false);
        };
        let live = objects::session(&signin)?;
        let has_lasted = has_lasted && live.signed_in == session.signed_in;
        if live.until() > (self.clock)() && !has_lasted {
            return Ok(false);
        }
        self.delete_signin(name.as_str(), Unchanged::since(&signin)).await?;
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
            self.delete_signin(&name, Unchanged::since(&signin)).await?;
        }
        // Whoever deleted it may have been this server, which was interrupted.
        let is_over = objects::session(&signin).is_ok_and(|session| session.until() <= (self.clock)());
        let how = if is_over { End::Expired } else { End::TakenDown };
        self.events.ended(&signin, &how);
        Ok(Some(how))
    }

    /// Ends a session that was usable and has lost its account or a binding, and says whether it did. The reconcile loop takes down what
    /// is left.
    pub(crate) async fn end_if_broken(&self, name: &SessionName) -> Result<bool, Error> {
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(false);
        };
        let goes_on = signin.metadata.deletion_timestamp.is_none() && objects::is_established(&signin);
        if !goes_on || objects::session(&signin).is_err() || self.has_children(&signin).await? {
            return Ok(false);
        }
        tracing::warn!(session = %name, "its account or binding was deleted, so it ends");
        self.events.ended(&signin, &End::Broken);
        // Whoever signs in at this moment makes what is missing.
        self.request_end(name.as_str(), Unchanged::since(&signin)).await?;
        Ok(true)
    }

    /// Deletes a `TkaSignin` and sees it gone. Returns it, if it was there.
    pub(crate) async fn delete_signin(&self, name: &str, unchanged: Unchanged) -> Result<Option<TkaSignin>, Error> {
        let deleted = self.request_end(name, unchanged).await?;
        if let Some(signin) = &deleted {
            self.finish(signin).await?;
        }
        Ok(deleted)
    }

    /// Deletes a `TkaSignin`, which its finalizer keeps until it is taken down. Returns it, if it was there.
    async fn request_end(&self, name: &str, unchanged: Unchanged) -> Result<Option<TkaSignin>, Error> {
        let delete = DeleteParams {
            preconditions: unchanged.0,
            ..DeleteParams::default()
        };
        let deleted = found(self.signins.delete(name, &delete).await).map_err(|error| {
            if status(&error).is_some_and(Status::is_conflict) {
                Error::Contended(name.into())
            } else {
                error.into()
            }
        })?;
        Ok(deleted.and_then(either::Either::left))
    }

    /// Removes account and bindings, then lets the `TkaSignin` go.
    pub(crate) async fn finish(&self, signin: &TkaSignin) -> Result<(), Error> {
        let name = signin.name_any();
        match objects::session(signin) {
            Ok(_) => self.delete_children(signin).await?,
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
}
