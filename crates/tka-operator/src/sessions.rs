//! What can be done with sessions: sign in, provision, look up, end.

use std::borrow::Borrow;
use std::fmt;

use futures::future::{join, try_join_all};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tka_api::resource::{FINALIZER, LABEL_CALLER, TkaSignin, TkaSigninStatus};
use tka_core::{CallerKey, RoleName, Session, SessionName};

use crate::Error;
use crate::error::{found, status};
use crate::objects::{self, SELECTOR};
use crate::turns::Turns;

/// The field manager of server-side apply
/// (<https://kubernetes.io/docs/reference/using-api/server-side-apply/#managers>).
const FIELD_MANAGER: &str = "tka";
/// How often signing in starts anew because the session it would extend is being taken down.
const SIGN_IN_ATTEMPTS: usize = 3;

/// The sessions of one server: those in its namespace.
pub struct Sessions {
    pub(crate) signins: Api<TkaSignin>,
    pub(crate) accounts: Api<ServiceAccount>,
    pub(crate) bindings: Api<ClusterRoleBinding>,
    pub(crate) namespace: String,
    turns: Turns,
}

/// A session, as the cluster has it.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// The session.
    pub session: Session,
    /// Whether its account and binding exist.
    pub provisioned: bool,
}

// === impl StoredSession ===

impl Borrow<Session> for StoredSession {
    fn borrow(&self) -> &Session {
        &self.session
    }
}

// === impl Sessions ===

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// The sessions in `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            signins: Api::namespaced(client.clone(), namespace),
            accounts: Api::namespaced(client.clone(), namespace),
            bindings: Api::all(client),
            namespace: namespace.into(),
            turns: Turns::default(),
        }
    }

    /// Signs in: creates `session`, or extends it when it is there, and provisions it.
    ///
    /// When this fails with a transient error, the session may exist without being provisioned; the reconcile loop completes
    /// it then. A session whose role this server may not bind is taken down again.
    pub async fn sign_in(&self, session: &Session) -> Result<StoredSession, Error> {
        let name = session.name();
        let _turn = self.turns.take(name.as_str()).await;
        let signin = self.write_signin(session).await?;
        match self.provision(&signin, session).await {
            Ok(()) => Ok(StoredSession {
                session: session.clone(),
                provisioned: true,
            }),
            Err(error @ Error::RoleNotAllowed { .. }) => {
                self.delete_signin(name.as_str(), None).await?;
                Err(error)
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(session = %name, error = &error as &dyn std::error::Error, "session not provisioned yet");
                Ok(StoredSession {
                    session: session.clone(),
                    provisioned: false,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the `TkaSignin`. One that is being deleted cannot be extended: it is seen to its end first.
    async fn write_signin(&self, session: &Session) -> Result<TkaSignin, Error> {
        let desired = objects::signin(session, &self.namespace);
        for _ in 0..SIGN_IN_ATTEMPTS {
            let written = self
                .signins
                .patch(session.name().as_str(), &apply(), &Patch::Apply(&desired))
                .await?;
            if written.metadata.deletion_timestamp.is_none() {
                return Ok(written);
            }
            self.finish(&written).await?;
        }
        Err(Error::Contended(session.name().to_string()))
    }

    /// Makes account and binding of the session that `signin` holds, then says so in its status.
    ///
    /// Whoever calls this has the session's turn.
    async fn provision(&self, signin: &TkaSignin, session: &Session) -> Result<(), Error> {
        let account = objects::service_account(signin)?;
        let binding = objects::binding(signin);
        let (binding_name, account_name) = (binding.name_any(), account.name_any());
        // Neither is cut off when the other fails: a request that was sent is waited for, so that taking down finds its effect.
        let (account, binding) = join(
            self.accounts.patch(&account_name, &apply(), &Patch::Apply(&account)),
            self.bindings.patch(&binding_name, &apply(), &Patch::Apply(&binding)),
        )
        .await;
        binding.map_err(|error| refused_role(error, &session.role))?;
        account?;
        self.write_status(signin, session).await
    }

    async fn write_status(&self, signin: &TkaSignin, session: &Session) -> Result<(), Error> {
        let name = session.name();
        let mut desired = TkaSignin::new(name.as_str(), signin.spec.clone());
        // The UID makes the API server refuse the write when this object was replaced by another of its name.
        desired.metadata = ObjectMeta {
            name: Some(name.to_string()),
            uid: signin.uid(),
            ..ObjectMeta::default()
        };
        let status = TkaSigninStatus {
            provisioned: true,
            valid_until: Some(session.until()),
            signed_in: Some(session.signed_in),
        };
        let mut desired = serde_json::to_value(&desired).map_err(kube::Error::SerdeError)?;
        desired["status"] = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
        if let Some(desired) = desired.as_object_mut() {
            desired.remove("spec");
        }
        match self
            .signins
            .patch_status(name.as_str(), &apply(), &Patch::Apply(&desired))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => match crate::error::status(&error) {
                // Ended while it was being provisioned: nothing of it may stay.
                Some(status) if status.is_not_found() => {
                    self.delete_children(name.as_str()).await?;
                    Err(Error::Contended(name.to_string()))
                }
                Some(status) if status.is_conflict() => Err(Error::Contended(name.to_string())),
                _ => Err(error.into()),
            },
        }
    }

    /// Those of the named sessions that exist and are not being ended, read from the API server at this moment.
    pub async fn find(&self, names: impl IntoIterator<Item = SessionName>) -> Result<Vec<StoredSession>, Error> {
        let reads = names
            .into_iter()
            .map(|name| async move { self.signins.get_opt(name.as_str()).await });
        let signins = try_join_all(reads).await?;
        Ok(signins.iter().flatten().filter_map(stored).collect())
    }

    /// All sessions of one caller that are not being ended. One that began a moment ago may not be among them yet: this reads
    /// the API server's cache (<https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>).
    pub async fn of_caller(&self, caller: &CallerKey) -> Result<Vec<StoredSession>, Error> {
        let of_caller = ListParams::default()
            .labels(&format!("{SELECTOR},{LABEL_CALLER}={caller}"))
            .match_any();
        let signins = self.signins.list(&of_caller).await?;
        Ok(signins.iter().filter_map(stored).collect())
    }

    /// Ends a session: when this returns, its account and binding are gone.
    pub async fn end(&self, name: &SessionName) -> Result<(), Error> {
        let _turn = self.turns.take(name.as_str()).await;
        self.delete_signin(name.as_str(), None).await
    }

    /// Completes a session that is not provisioned. The object is read anew: whoever had the turn before may have done it.
    pub(crate) async fn complete(&self, name: &SessionName) -> Result<(), Error> {
        let _turn = self.turns.take(name.as_str()).await;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(());
        };
        let session = objects::session(&signin)?;
        if signin.metadata.deletion_timestamp.is_some() || objects::is_provisioned(&signin, &session) {
            return Ok(());
        }
        self.provision(&signin, &session).await
    }

    /// Ends a session if it is over at `now`, and not if it was extended in the meantime.
    pub(crate) async fn expire(&self, name: &SessionName, now: Timestamp) -> Result<(), Error> {
        let _turn = self.turns.take(name.as_str()).await;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(());
        };
        if objects::session(&signin)?.until() > now {
            return Ok(());
        }
        self.delete_signin(name.as_str(), signin.resource_version()).await
    }

    /// Takes down what is left of a session that is being deleted, or of an object that carries our labels and is no session:
    /// nobody could tell when that would be over.
    pub(crate) async fn take_down(&self, signin: &TkaSignin) -> Result<(), Error> {
        let name = signin.name_any();
        let _turn = self.turns.take(&name).await;
        if signin.metadata.deletion_timestamp.is_some() {
            return self.finish(signin).await;
        }
        self.delete_signin(&name, signin.resource_version()).await
    }

    async fn delete_signin(&self, name: &str, resource_version: Option<String>) -> Result<(), Error> {
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
                Error::Contended(name.to_owned())
            } else {
                error.into()
            }
        })?;
        match deleted.and_then(either::Either::left) {
            Some(signin) => self.finish(&signin).await,
            None => Ok(()),
        }
    }

    /// Removes account and binding, then lets the `TkaSignin` go.
    async fn finish(&self, signin: &TkaSignin) -> Result<(), Error> {
        let name = signin.name_any();
        match objects::session(signin) {
            Ok(_) => self.delete_children(&name).await?,
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

    async fn delete_children(&self, session: &str) -> Result<(), Error> {
        let binding = objects::binding_name(&self.namespace, session);
        let delete = DeleteParams::default();
        let (account, binding) = join(
            self.accounts.delete(session, &delete),
            self.bindings.delete(&binding, &delete),
        )
        .await;
        found(binding)?;
        found(account)?;
        Ok(())
    }
}

fn apply() -> PatchParams {
    PatchParams::apply(FIELD_MANAGER).force()
}

/// Those that are being ended, and those that are no sessions of ours, are none.
fn stored(signin: &TkaSignin) -> Option<StoredSession> {
    if signin.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let session = objects::session(signin).ok()?;
    let provisioned = objects::is_provisioned(signin, &session);
    Some(StoredSession { session, provisioned })
}

fn refused_role(error: kube::Error, role: &RoleName) -> Error {
    match error {
        kube::Error::Api(status) if status.is_forbidden() => Error::RoleNotAllowed {
            role: role.clone(),
            source: status,
        },
        error => error.into(),
    }
}
