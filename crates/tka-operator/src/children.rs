//! The account and the bindings of a session: making and removing them, each for one `TkaSignin` and no other of its name.
//!
//! A session that is signed in to again after its end has the names of the one before. Another process may still be taking that one down.
//! So each object carries the UID of its `TkaSignin`. Only what carries the right one is kept or taken down. Only what an earlier session
//! left is removed to make room.

use std::fmt::Debug;

use futures::future::{join, join_all};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::{PartialObjectMeta, Status};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tka_api::resource::{LABEL_UID, TkaSignin};
use tka_core::Session;

use crate::error::{ignore_not_found, status};
use crate::objects::{self, Bindings};
use crate::provision::role_error;
use crate::{Error, Sessions};

/// How often making an object starts anew because something else is in its place.
const ATTEMPTS: usize = 3;

/// An object of the API server's.
pub(crate) trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {}

impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize> Object for K {}

/// What came of making an object.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum CreateOutcome {
    /// It is there.
    Done,
    /// The `TkaSignin` that it was for is gone, or a later one has its name. Nothing was removed.
    Outdated,
}

/// What is in the place of an object.
enum Slot {
    /// The object itself.
    Taken,
    /// Nothing, or nothing any more.
    Free,
    /// An object that may be a later session's.
    Foreign,
}

// === impl Sessions ===

impl Sessions {
    /// Makes the account and the bindings of the session that `signin` holds. Those of a session that was provisioned before are read
    /// first.
    pub(crate) async fn make_children(&self, signin: &TkaSignin, session: &Session) -> Result<(), Error> {
        let was_provisioned = objects::was_provisioned(signin);
        let account = objects::service_account(signin)?;
        // Neither is cut off when the other fails: a request that was sent is waited for, so that taking down finds its effect.
        let (account, bindings) = join(
            self.make(&self.accounts, signin, &account, was_provisioned),
            self.bind(signin, session, was_provisioned),
        )
        .await;
        match (bindings?, account?) {
            (CreateOutcome::Done, CreateOutcome::Done) => Ok(()),
            _ => Err(Error::EndedMeanwhile(session.name())),
        }
    }

    async fn bind(&self, signin: &TkaSignin, session: &Session, was_provisioned: bool) -> Result<CreateOutcome, Error> {
        let refused = |error| role_error(error, &session.rule.role);
        match objects::bindings(signin)? {
            Bindings::Cluster(binding) => self
                .make(&self.cluster_bindings, signin, &*binding, was_provisioned)
                .await
                .map_err(refused),
            Bindings::Namespaces(bindings) => {
                let makes = bindings.iter().map(|binding| async move {
                    let namespace = binding.namespace().unwrap_or_default();
                    let bindings = self.bindings_in(&namespace);
                    let made = ignore_not_found(self.make(&bindings, signin, binding, was_provisioned).await);
                    made.map_err(refused)?.ok_or(Error::NoSuchNamespace(namespace))
                });
                let made = join_all(makes).await.into_iter().collect::<Result<Vec<_>, _>>()?;
                let is_outdated = made.contains(&CreateOutcome::Outdated);
                Ok(if is_outdated {
                    CreateOutcome::Outdated
                } else {
                    CreateOutcome::Done
                })
            }
        }
    }

    /// Removes the account and the bindings of the session that `signin` holds.
    pub(crate) async fn delete_children(&self, signin: &TkaSignin) -> Result<(), Error> {
        let account = objects::service_account(signin)?;
        let (account, bindings) = join(self.remove(&self.accounts, &account), self.unbind(signin)).await;
        bindings?;
        account?;
        Ok(())
    }

    async fn unbind(&self, signin: &TkaSignin) -> Result<(), Error> {
        match objects::bindings(signin)? {
            Bindings::Cluster(binding) => self.remove(&self.cluster_bindings, &*binding).await?,
            Bindings::Namespaces(bindings) => {
                let removals = bindings.iter().map(|binding| async move {
                    let namespace = binding.namespace().unwrap_or_default();
                    self.remove(&self.bindings_in(&namespace), binding).await
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

    /// Makes `desired` for `signin`, in the place of what belongs to a session before it. One that is `likely` there is looked for first.
    async fn make<K: Object>(
        &self,
        api: &Api<K>,
        signin: &TkaSignin,
        desired: &K,
        likely: bool,
    ) -> kube::Result<CreateOutcome> {
        if likely && let Some(there) = seen(api, desired).await? {
            self.child_uids.note(desired, there.uid());
            return Ok(CreateOutcome::Done);
        }
        let mut attempt = 1;
        loop {
            match api.create(&PostParams::default(), desired).await {
                Err(error) if attempt < ATTEMPTS && status(&error).is_some_and(is_in_place) => {
                    match self.make_room(api, signin, desired).await? {
                        Slot::Taken => return Ok(CreateOutcome::Done),
                        Slot::Foreign => return Ok(CreateOutcome::Outdated),
                        Slot::Free => {}
                    }
                }
                made => {
                    let made = made?;
                    self.child_uids.note(desired, made.uid());
                    return Ok(CreateOutcome::Done);
                }
            }
            attempt += 1;
        }
    }

    /// Removes `made`, and nothing of another session that has its name.
    async fn remove<K: Object>(&self, api: &Api<K>, made: &K) -> kube::Result<()> {
        if let Some(uid) = self.child_uids.get(made) {
            match ignore_not_found(api.delete(&made.name_any(), &exactly(Some(uid))).await) {
                // What has its name is another by now, which is looked at.
                Err(error) if status(&error).is_some_and(Status::is_conflict) => {}
                deleted => return deleted.map(drop),
            }
        }
        match seen(api, made).await? {
            Some(there) => delete(api, &there).await,
            None => Ok(()),
        }
    }

    /// Removes what is in the place of `desired`, if it belongs to a session before `signin`.
    ///
    /// The order of the reads decides: if `signin` is there after the other object was read, no later session can have made that object.
    async fn make_room<K: Object>(&self, api: &Api<K>, signin: &TkaSignin, desired: &K) -> kube::Result<Slot> {
        let Some(other) = ignore_not_found(api.get_metadata(&desired.name_any()).await)? else {
            return Ok(Slot::Free);
        };
        if uid_label(&other) == uid_label(desired) {
            return Ok(Slot::Taken);
        }
        let current = ignore_not_found(self.signins.get_metadata(&signin.name_any()).await)?;
        if current.is_none_or(|current| current.uid() != signin.uid()) {
            return Ok(Slot::Foreign);
        }
        delete(api, &other).await?;
        Ok(Slot::Free)
    }
}

/// Whether something is in the place, or the API server could not make up its mind.
fn is_in_place(status: &Status) -> bool {
    status.is_already_exists() || status.is_conflict()
}

async fn exists<K: Object>(api: &Api<K>, desired: &K) -> kube::Result<bool> {
    Ok(seen(api, desired).await?.is_some())
}

/// The object in the place of `desired`, if it is of the same session.
async fn seen<K: Object>(api: &Api<K>, desired: &K) -> kube::Result<Option<PartialObjectMeta<K>>> {
    let there = ignore_not_found(api.get_metadata(&desired.name_any()).await)?;
    Ok(there.filter(|there| uid_label(there) == uid_label(desired)))
}

/// Deletes exactly this object, and not another that took its name since it was read.
pub(crate) async fn delete<K: Object>(api: &Api<K>, object: &impl ResourceExt) -> kube::Result<()> {
    let (name, delete) = (object.name_any(), exactly(object.uid()));
    match ignore_not_found(api.delete(&name, &delete).await) {
        Err(error) if status(&error).is_some_and(Status::is_conflict) => {}
        deleted => return deleted.map(drop),
    }
    // Another has its name, and is left alone; or it is still there.
    match ignore_not_found(api.get_metadata(&name).await)? {
        Some(there) if there.uid() == object.uid() => ignore_not_found(api.delete(&name, &delete).await).map(drop),
        _ => Ok(()),
    }
}

/// That the object of that UID is deleted, and no other of its name.
fn exactly(uid: Option<String>) -> DeleteParams {
    DeleteParams::default().preconditions(Preconditions {
        uid,
        resource_version: None,
    })
}

/// The UID of the `TkaSignin` that an object was made for.
pub(crate) fn uid_label(object: &impl ResourceExt) -> Option<&str> {
    object.labels().get(LABEL_UID).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::{examples, fake_api_server};

    /// Makes the children of a session in whose place another has an account, while the `TkaSignin` of its name has the UID `current`.
    /// Returns the outcome, and how the other account was deleted.
    async fn make_in_place_of_another(current: &'static str) -> (Result<(), Error>, Vec<String>) {
        let session = examples::session("1h", Timestamp::UNIX_EPOCH);
        let mut signin = objects::signin(&session, None, "tka");
        signin.metadata.uid = Some("u1".into());
        let deletions = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&deletions);
        let clients = fake_api_server::clients(move |request| {
            let mut deletions = noted.lock().unwrap();
            let is_account = request.path.contains("/serviceaccounts");
            let object = |uid: &str, label: &str| {
                let metadata = json!({"name": "x", "uid": uid, "labels": {LABEL_UID: label}});
                json!({"apiVersion": "v1", "kind": "PartialObjectMetadata", "metadata": metadata})
            };
            Some(match &*request.method {
                "POST" if is_account && deletions.is_empty() => fake_api_server::failure(409, 0),
                "POST" => (201, request.body.clone()),
                "DELETE" => {
                    deletions.push(request.body["preconditions"]["uid"].to_string());
                    (200, json!({"kind": "Status", "status": "Success"}))
                }
                _ if is_account => (200, object("other", "u2")),
                _ => (200, object(current, "")),
            })
        });
        let sessions = examples::sessions(clients, Timestamp::UNIX_EPOCH);
        let made = sessions.make_children(&signin, &session).await;
        let deletions = deletions.lock().unwrap().clone();
        (made, deletions)
    }

    #[tokio::test]
    async fn account_of_an_earlier_session_makes_room() {
        let (made, deletions) = make_in_place_of_another("u1").await;
        made.unwrap();
        assert_eq!(deletions, [r#""other""#]);
    }

    /// A replica may be late: the session that it provisions was ended, and began anew under its name.
    #[tokio::test]
    async fn account_of_a_later_session_is_left_alone() {
        let (made, deletions) = make_in_place_of_another("u2").await;
        assert!(matches!(made, Err(Error::EndedMeanwhile(_))), "{made:?}");
        assert!(deletions.is_empty(), "{deletions:?}");
    }
}
