//! The sessions as this process watches them, by value: for what needs no object of the API server.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tka_api::resource::TkaSignin;
use tka_core::{Session, SessionName};
use tokio::sync::watch;

use crate::live::LiveSession;
use crate::objects;

/// The sessions as the reconcile loop watches them.
#[derive(Clone)]
pub struct WatchedSessions {
    store: Store<TkaSignin>,
    namespace: String,
    /// Notified whenever the watch has told more.
    changes: watch::Receiver<()>,
}

// === impl WatchedSessions ===

impl fmt::Debug for WatchedSessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedSessions").finish_non_exhaustive()
    }
}

impl WatchedSessions {
    pub(crate) fn new(store: Store<TkaSignin>, namespace: &str, changes: watch::Receiver<()>) -> Self {
        let namespace = namespace.to_owned();
        Self {
            store,
            namespace,
            changes,
        }
    }

    /// Notified whenever the watch has told more.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    /// The session of that name, if it stands at `now`.
    #[must_use]
    pub fn named(&self, name: &SessionName, now: Timestamp) -> Option<LiveSession> {
        LiveSession::of(&*self.get(name)?, now)
    }

    /// Whether `live` is told of just as it is: then it stands until its time is over.
    #[must_use]
    pub fn is_unchanged(&self, live: &LiveSession) -> bool {
        let signin = self.get(&live.session.name());
        signin.is_some_and(|signin| live.version.is_some() && signin.resource_version() == live.version)
    }

    fn get(&self, name: &SessionName) -> Option<Arc<TkaSignin>> {
        let reference = ObjectRef::new(name.as_str()).within(&self.namespace);
        self.store.get(&reference)
    }

    /// The sessions that go on at `now`. What is written down to end is ended by the reconcile loop, and is none of these.
    #[must_use]
    pub fn live(&self, now: Timestamp) -> Vec<Session> {
        let signins = self.store.state();
        let live = signins
            .iter()
            .filter(|signin| signin.metadata.deletion_timestamp.is_none());
        live.filter_map(|signin| Some((signin, objects::session(signin).ok()?)))
            .filter(|(signin, session)| session.until() > now && !objects::has_end_reason(signin, session))
            .map(|(_, session)| session)
            .collect()
    }

    /// The ClusterRole of each session that is provisioned and not being deleted.
    #[must_use]
    pub fn provisioned_roles(&self) -> Vec<String> {
        let signins = self.store.state();
        let provisioned = signins.iter().filter(|signin| objects::was_provisioned(signin));
        let live = provisioned.filter(|signin| signin.metadata.deletion_timestamp.is_none());
        live.map(|signin| signin.spec.role.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::end_reason::EndRecord;
    use crate::{EndReason, examples, progress};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use kube::runtime::{reflector, watcher::Event};
    use tka_api::resource::ANNOTATION_END;

    fn watched(signins: &[&TkaSignin]) -> WatchedSessions {
        let (store, mut writer) = reflector::store();
        for signin in signins {
            writer.apply_watcher_event(&Event::Apply((*signin).clone()));
        }
        WatchedSessions::new(store, "tka", watch::channel(()).1)
    }

    #[test]
    fn sessions_that_end_are_not_live() {
        let start = examples::at(100);
        let [one, deleted, ended] = ["a", "b", "c"].map(|label| examples::labelled("1h", start, label));
        let one_signin = objects::signin(&one, None, "tka");
        let mut deleted = objects::signin(&deleted, None, "tka");
        deleted.metadata.deletion_timestamp = Some(Time(start));
        let intent = EndRecord::new(&ended, EndReason::SignedOut, start).to_annotation();
        let mut ended = objects::signin(&ended, None, "tka");
        let annotations = ended.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_END.to_owned(), intent);
        let watched = watched(&[&one_signin, &deleted, &ended]);
        assert_eq!(watched.live(start), std::slice::from_ref(&one));
        assert_eq!(watched.live(one.until()), []);
    }

    #[test]
    fn roles_are_those_of_provisioned_sessions() {
        let start = examples::at(100);
        let [one, pending] = ["a", "b"].map(|label| examples::labelled("1h", start, label));
        let mut provisioned = objects::signin(&one, None, "tka");
        provisioned.status = Some(progress::active(&provisioned, &one, start));
        let pending = objects::signin(&pending, None, "tka");
        let roles = watched(&[&provisioned, &pending]).provisioned_roles();
        assert_eq!(roles, [one.rule.role.to_string()]);
        provisioned.metadata.deletion_timestamp = Some(Time(start));
        assert!(watched(&[&provisioned]).provisioned_roles().is_empty());
    }
}
