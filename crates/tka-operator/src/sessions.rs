//! The sessions of one server, and looking them up.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, RoleBinding};
use kube::api::{ListParams, VersionMatch};
use kube::{Api, Client, ResourceExt};
use tka_api::resource::{LABEL_CALLER, LABEL_USER, TkaSignin};
use tka_core::{Caller, Session, SessionName};
use tokio::sync::watch;

use crate::attempts::Attempts;
use crate::child_uids::ChildUids;
use crate::ends_in_progress::EndsInProgress;
use crate::events::Events;
use crate::lock::{SessionLock, SessionLocks};
use crate::objects::SELECTOR;
use crate::quota::SessionLimits;
use crate::records::{RecordedSessions, Records};
use crate::session_cache::SessionCache;
use crate::stored::{SessionFilter, StoredSession};
use crate::waiting::WatchedWaiting;
use crate::watch_activity::WatchActivity;
use crate::{Clients, Clock, Error, step};

/// The sessions of one server: those in its namespace.
pub struct Sessions {
    pub(crate) client: Client,
    pub(crate) signins: Api<TkaSignin>,
    /// The same, to watch.
    pub(crate) watched: Api<TkaSignin>,
    /// When that was last heard of.
    pub(crate) watch_activity: WatchActivity,
    pub(crate) accounts: Api<ServiceAccount>,
    /// What says of sessions that they were ended on purpose.
    pub(crate) tombstones: Api<ConfigMap>,
    pub(crate) cluster_bindings: Api<ClusterRoleBinding>,
    /// Those of all namespaces, to list.
    pub(crate) bindings: Api<RoleBinding>,
    pub(crate) roles: Api<ClusterRole>,
    pub(crate) namespace: String,
    pub(crate) clock: Clock,
    /// They may change while it runs.
    limits: watch::Sender<SessionLimits>,
    /// What the reconcile loop watches, once there is one.
    pub(crate) cache: OnceLock<SessionCache>,
    /// What is watched of sign-ins that wait for approval, once a watch runs.
    pub(crate) waiting: OnceLock<WatchedWaiting>,
    pub(crate) locks: SessionLocks,
    pub(crate) attempts: Attempts,
    pub(crate) events: Events,
    /// For what no request stands for.
    pub(crate) records: Arc<dyn Records>,
    pub(crate) recorded: RecordedSessions,
    /// What is known of accounts and bindings.
    pub(crate) child_uids: ChildUids,
    /// The ends that requests carry out.
    pub(crate) ends_in_progress: EndsInProgress,
    /// [`Self::newest_write`].
    newest_write: AtomicU64,
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
    /// The sessions in `namespace`, within `limits`. What no request stands for is recorded with `records`. Within an async runtime.
    #[must_use]
    pub fn new(
        clients: Clients,
        namespace: &str,
        limits: SessionLimits,
        clock: Clock,
        records: Arc<dyn Records>,
    ) -> Self {
        let Clients {
            requests: client,
            sessions,
            watch_activity,
            ..
        } = clients;
        Self {
            watched: Api::namespaced(sessions, namespace),
            watch_activity,
            signins: Api::namespaced(client.clone(), namespace),
            accounts: Api::namespaced(client.clone(), namespace),
            tombstones: Api::namespaced(client.clone(), namespace),
            cluster_bindings: Api::all(client.clone()),
            bindings: Api::all(client.clone()),
            roles: Api::all(client.clone()),
            events: Events::start(client.clone()),
            client,
            namespace: namespace.into(),
            clock,
            limits: watch::Sender::new(limits),
            cache: OnceLock::new(),
            waiting: OnceLock::new(),
            locks: SessionLocks::default(),
            attempts: Attempts::default(),
            records,
            recorded: RecordedSessions::default(),
            child_uids: ChildUids::default(),
            ends_in_progress: EndsInProgress::default(),
            newest_write: AtomicU64::default(),
        }
    }

    /// What sessions may have from now on. One that is being admitted keeps what it began to count by.
    pub fn set_limits(&self, limits: SessionLimits) {
        self.limits.send_replace(limits);
    }

    /// What sessions may have at this moment.
    pub(crate) fn limits(&self) -> SessionLimits {
        *self.limits.borrow()
    }

    /// The sign-ins that wait for approval, as they are watched; none before there is a reconcile loop.
    #[must_use]
    pub fn waiting(&self) -> Option<WatchedWaiting> {
        self.waiting.get().cloned()
    }

    /// Waits until nothing else in this process works on the session of that name.
    pub async fn lock(&self, name: &SessionName) -> Result<SessionLock, Error> {
        self.locks.take(name.as_str()).await
    }

    /// Tells that `caller` was refused a session, and `why`. Each may be a write to the API server. The caller of this sees to it that a
    /// storm of refusals is not one of events.
    pub fn emit_refused_event(&self, caller: &Caller, why: &str) {
        self.events.refused_session(caller, why);
    }

    /// When the session ends that `signin` holds, as far as is recorded.
    pub(crate) fn end_of(&self, signin: &TkaSignin, session: &Session) -> Timestamp {
        let is_recorded = self.recorded.has_begun(signin, session.signed_in);
        step::end(signin, session, is_recorded, (self.clock)())
    }

    /// The role bindings of one namespace.
    pub(crate) fn bindings_in(&self, namespace: &str) -> Api<RoleBinding> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Those of the named sessions that exist, read from the API server at this moment.
    pub async fn find(
        &self,
        names: impl IntoIterator<Item = SessionName>,
        filter: SessionFilter,
    ) -> Result<Vec<StoredSession>, Error> {
        let names = names.into_iter();
        let reads = names.map(|name| async move { self.signins.get_opt(name.as_str()).await });
        let signins = try_join_all(reads).await?;
        Ok(filter.all_stored(signins.iter().flatten()))
    }

    /// The session of that name, read from the API server at this moment.
    pub async fn named(&self, name: &str, filter: SessionFilter) -> Result<Option<StoredSession>, Error> {
        if !is_plain_name(name) {
            return Ok(None);
        }
        let signin = self.signins.get_opt(name).await?;
        Ok(signin.and_then(|signin| filter.stored(&signin)))
    }

    /// The session of that name, if it is one of `caller`'s, on whatever device.
    pub async fn get_for_user(
        &self,
        caller: &Caller,
        name: &str,
        filter: SessionFilter,
    ) -> Result<Option<StoredSession>, Error> {
        let is_own = |stored: &StoredSession| stored.session.caller.user_key() == caller.user_key();
        Ok(self.named(name, filter).await?.filter(is_own))
    }

    /// All sessions of one caller, on this device, read from the API server at this moment. Signing out must find the one that began a
    /// moment ago, also at another replica and by a rule that is gone.
    pub async fn of_caller(&self, caller: &Caller, filter: SessionFilter) -> Result<Vec<StoredSession>, Error> {
        Ok(filter.all_stored(&self.signins_of_caller(caller).await?))
    }

    /// All sessions of one user, on whatever device, read from the API server at this moment.
    pub async fn of_user(&self, caller: &Caller, filter: SessionFilter) -> Result<Vec<StoredSession>, Error> {
        Ok(filter.all_stored(&self.signins_of_user(caller).await?))
    }

    /// All that there is of one caller's sessions, on this device.
    pub(crate) async fn signins_of_caller(&self, caller: &Caller) -> Result<Vec<TkaSignin>, Error> {
        self.labelled(&of_caller(caller)).await
    }

    /// The same, as of a moment after `before`: what was told of [`Self::newest_write`] then.
    ///
    /// Where anything was written since, a list of this moment waits: the API server's cache must catch up with etcd first (<https://kep.k8s.io/2340>). With
    /// Kubernetes 1.35 that took 80 ms. A `TkaSignin` that was written meanwhile is in that cache at once, with all that was written before.
    pub(crate) async fn signins_of_caller_since(&self, caller: &Caller, before: u64) -> Result<Vec<TkaSignin>, Error> {
        let written = self.newest_write();
        if written <= before {
            return self.signins_of_caller(caller).await;
        }
        let list = ListParams::default()
            .labels(&of_caller(caller))
            .at(&written.to_string())
            .matching(VersionMatch::NotOlderThan);
        Ok(self.signins.list(&list).await?.items)
    }

    /// The version of the newest `TkaSignin` that an end wrote. A version that is no number does not count: versions are compared as numbers since
    /// Kubernetes 1.35 (<https://kep.k8s.io/5504>), and are numbers in earlier ones.
    pub(crate) fn newest_write(&self) -> u64 {
        self.newest_write.load(Ordering::SeqCst)
    }

    /// Takes note of a `TkaSignin` that was just written.
    pub(crate) fn note_write(&self, written: &TkaSignin) {
        let version = written.resource_version().and_then(|version| version.parse().ok());
        self.newest_write
            .fetch_max(version.unwrap_or_default(), Ordering::SeqCst);
    }

    /// All that there is of one user's sessions.
    pub(crate) async fn signins_of_user(&self, caller: &Caller) -> Result<Vec<TkaSignin>, Error> {
        let of_user = format!("{SELECTOR},{LABEL_USER}={}", caller.user_key());
        self.labelled(&of_user).await
    }

    async fn labelled(&self, labels: &str) -> Result<Vec<TkaSignin>, Error> {
        Ok(self.signins.list(&ListParams::default().labels(labels)).await?.items)
    }
}

/// Selects what there is of one caller's sessions, on this device.
fn of_caller(caller: &Caller) -> String {
    format!("{SELECTOR},{LABEL_CALLER}={}", caller.key())
}

/// Whether `name` can be that of a session. One that Kubernetes would not take leads to no object, and not into another path of the API.
pub(crate) fn is_plain_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&name.len()) && name.chars().all(is_plain)
}
