//! The account and the bindings of a session: making and removing them, each for one `TkaSignin` and no other of its name.
//!
//! A session that is signed in to again after its end has the names of the one before, and another process may still be taking
//! that one down. So each object carries the UID of its `TkaSignin`, and only what carries the right one is kept or removed.

use std::fmt::Debug;

use futures::future::{join, join_all};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::Status;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tka_api::resource::{LABEL_UID, TkaSignin};
use tka_core::Session;

use crate::error::{found, status};
use crate::objects::{self, Bindings};
use crate::provision::refused_role;
use crate::{Error, Sessions};

/// How often making an object starts anew because something else is in its place.
const ATTEMPTS: usize = 3;

/// An object of the API server's.
pub(crate) trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {}

impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize> Object for K {}

// === impl Sessions ===

impl Sessions {
    /// Makes the account and the bindings of the session that `signin` holds. When it was `established` before they are looked for
    /// first.
    pub(crate) async fn make_children(&self, signin: &TkaSignin, session: &Session) -> Result<(), Error> {
        let established = objects::is_established(signin);
        let account = objects::service_account(signin)?;
        // Neither is cut off when the other fails: a request that was sent is waited for, so that taking down finds its effect.
        let (account, bindings) = join(
            make(&self.accounts, &account, established),
            self.bind(signin, session, established),
        )
        .await;
        bindings?;
        account?;
        Ok(())
    }

    async fn bind(&self, signin: &TkaSignin, session: &Session, established: bool) -> Result<(), Error> {
        let refused = |error| refused_role(error, &session.rule.role);
        match objects::bindings(signin)? {
            Bindings::Cluster(binding) => make(&self.cluster_bindings, &*binding, established)
                .await
                .map_err(refused),
            Bindings::Namespaces(bindings) => {
                let makes = bindings.iter().map(|binding| async move {
                    let namespace = binding.namespace().unwrap_or_default();
                    let made = found(make(&self.bindings_in(&namespace), binding, established).await);
                    made.map_err(refused)?.ok_or(Error::NoSuchNamespace(namespace))
                });
                join_all(makes).await.into_iter().collect()
            }
        }
    }

    /// Removes the account and the bindings of the session that `signin` holds.
    pub(crate) async fn delete_children(&self, signin: &TkaSignin) -> Result<(), Error> {
        let account = objects::service_account(signin)?;
        let (account, bindings) = join(remove(&self.accounts, &account), self.unbind(signin)).await;
        bindings?;
        account?;
        Ok(())
    }

    async fn unbind(&self, signin: &TkaSignin) -> Result<(), Error> {
        match objects::bindings(signin)? {
            Bindings::Cluster(binding) => remove(&self.cluster_bindings, &*binding).await?,
            Bindings::Namespaces(bindings) => {
                let removals = bindings.iter().map(|binding| async move {
                    let namespace = binding.namespace().unwrap_or_default();
                    remove(&self.bindings_in(&namespace), binding).await
                });
                join_all(removals).await.into_iter().collect::<kube::Result<()>>()?;
            }
        }
        Ok(())
    }

    /// Whether the account and all bindings of the session that `signin` holds are there.
    pub(crate) async fn has_children(&self, signin: &TkaSignin) -> Result<bool, Error> {
        let account = objects::service_account(signin)?;
        let bound = async {
            Ok::<_, Error>(match objects::bindings(signin)? {
                Bindings::Cluster(binding) => exists(&self.cluster_bindings, &*binding).await?,
                Bindings::Namespaces(bindings) => {
                    let looks = bindings.iter().map(|binding| async move {
                        let namespace = binding.namespace().unwrap_or_default();
                        exists(&self.bindings_in(&namespace), binding).await
                    });
                    let looks = join_all(looks).await.into_iter().collect::<kube::Result<Vec<_>>>()?;
                    looks.into_iter().all(|exists| exists)
                }
            })
        };
        let (account, bound) = join(exists(&self.accounts, &account), bound).await;
        Ok(account? && bound?)
    }
}

/// Makes `desired`, in the place of what belongs to another. One that is `likely` there is looked for first.
async fn make<K: Object>(api: &Api<K>, desired: &K, likely: bool) -> kube::Result<()> {
    if likely && exists(api, desired).await? {
        return Ok(());
    }
    let mut attempt = 1;
    loop {
        match api.create(&PostParams::default(), desired).await {
            Err(error) if attempt < ATTEMPTS && status(&error).is_some_and(is_in_place) => {
                if make_room(api, desired).await? {
                    return Ok(());
                }
            }
            made => return made.map(drop),
        }
        attempt += 1;
    }
}

/// Whether something is in the place, or the API server could not make up its mind.
fn is_in_place(status: &Status) -> bool {
    status.is_already_exists() || status.is_conflict()
}

/// Removes what is in the place of `desired`, unless that is `desired` itself.
async fn make_room<K: Object>(api: &Api<K>, desired: &K) -> kube::Result<bool> {
    let Some(other) = found(api.get_metadata(&desired.name_any()).await)? else {
        return Ok(false);
    };
    if uid_label(&other) == uid_label(desired) {
        return Ok(true);
    }
    delete(api, &other).await?;
    Ok(false)
}

async fn exists<K: Object>(api: &Api<K>, desired: &K) -> kube::Result<bool> {
    let there = found(api.get_metadata(&desired.name_any()).await)?;
    Ok(there.is_some_and(|there| uid_label(&there) == uid_label(desired)))
}

async fn remove<K: Object>(api: &Api<K>, made: &K) -> kube::Result<()> {
    match found(api.get_metadata(&made.name_any()).await)? {
        Some(there) if uid_label(&there) == uid_label(made) => delete(api, &there).await,
        _ => Ok(()),
    }
}

/// Deletes exactly this object, and not another that took its name since it was read.
pub(crate) async fn delete<K: Object>(api: &Api<K>, object: &impl ResourceExt) -> kube::Result<()> {
    let preconditions = Preconditions {
        uid: object.uid(),
        resource_version: None,
    };
    let delete = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    let name = object.name_any();
    match found(api.delete(&name, &delete).await) {
        Err(error) if status(&error).is_some_and(Status::is_conflict) => {}
        deleted => return deleted.map(drop),
    }
    // Another has its name, and is left alone; or it is still there.
    match found(api.get_metadata(&name).await)? {
        Some(there) if there.uid() == object.uid() => found(api.delete(&name, &delete).await).map(drop),
        _ => Ok(()),
    }
}

/// The UID of the `TkaSignin` that an object was made for.
pub(crate) fn uid_label(object: &impl ResourceExt) -> Option<&str> {
    object.labels().get(LABEL_UID).map(String::as_str)
}
