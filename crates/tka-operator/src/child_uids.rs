//! The UIDs of accounts and bindings, as far as this process has made or seen them. They spare a read before each is deleted, and decide nothing: an object of
//! another UID is looked at before it goes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::{Resource, ResourceExt};
use tka_api::resource::{LABEL_SESSION, LABEL_UID};

use crate::per_session::PerSession;

/// What is known, by the session's name and the UID of its `TkaSignin`.
#[derive(Debug, Default)]
pub(crate) struct ChildUids(Mutex<PerSession<String, Vec<Child>>>);

#[derive(Debug)]
struct Child {
    kind: String,
    namespace: Option<String>,
    uid: String,
}

// === impl ChildUids ===

impl ChildUids {
    /// An object like `desired` is there, and has this UID.
    pub(crate) fn note<K: Resource<DynamicType = ()>>(&self, desired: &K, uid: Option<String>) {
        let (Some((name, session)), Some(uid)) = (owner(desired), uid) else {
            return;
        };
        let mut all = self.all();
        let children = all.get_or_insert_with(name, session.to_owned(), Vec::new);
        children.retain(|child| !child.is_place_of(desired));
        let (kind, namespace) = (K::kind(&()).into_owned(), desired.namespace());
        children.push(Child { kind, namespace, uid });
    }

    /// The UID of the object like `desired` that was there last.
    pub(crate) fn get<K: Resource<DynamicType = ()>>(&self, desired: &K) -> Option<String> {
        let (name, session) = owner(desired)?;
        let all = self.all();
        let mut children = all.get(name, &session.to_owned())?.iter();
        let child = children.find(|child| child.is_place_of(desired))?;
        Some(child.uid.clone())
    }

    /// Forgets the session of that name.
    pub(crate) fn forget(&self, name: &str) {
        self.all().forget(name);
    }

    /// Forgets all but those of which `is_there` holds, by name.
    pub(crate) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.all().retain(|name, _, _| is_there(name));
    }

    fn all(&self) -> MutexGuard<'_, PerSession<String, Vec<Child>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Child ===

impl Child {
    /// Whether it is where `desired` would be. A session has one account, and one binding in each namespace or in the cluster.
    fn is_place_of<K: Resource<DynamicType = ()>>(&self, desired: &K) -> bool {
        self.kind == K::kind(&()) && self.namespace == desired.namespace()
    }
}

/// The name of the session that an object belongs to, and the UID of its `TkaSignin`.
fn owner<K: Resource<DynamicType = ()>>(desired: &K) -> Option<(&str, &str)> {
    let labels = desired.labels();
    Some((labels.get(LABEL_SESSION)?, labels.get(LABEL_UID)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples;
    use crate::objects::{self, Bindings};
    use jiff::Timestamp;

    #[test]
    fn uid_is_of_one_place_of_one_incarnation() {
        let mut signin = objects::signin(&examples::session("1h", Timestamp::UNIX_EPOCH), None, "tka");
        signin.metadata.uid = Some("u1".into());
        let account = objects::service_account(&signin).unwrap();
        let Bindings::Cluster(binding) = objects::bindings(&signin).unwrap() else {
            panic!("the rule holds in the whole cluster")
        };
        let known = ChildUids::default();
        known.note(&account, Some("a1".into()));
        known.note(&*binding, Some("b1".into()));
        known.note(&account, Some("a2".into()));
        known.note(&account, None);
        assert_eq!(
            (known.get(&account), known.get(&*binding)),
            (Some("a2".into()), Some("b1".into()))
        );
        signin.metadata.uid = Some("u2".into());
        assert_eq!(known.get(&objects::service_account(&signin).unwrap()), None);
        known.retain(|name| name == account.name_any());
        assert!(known.get(&account).is_some());
        known.forget(&account.name_any());
        assert_eq!(known.get(&account), None);
    }
}
