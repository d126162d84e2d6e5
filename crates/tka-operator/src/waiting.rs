//! The sign-ins that wait for approval as this process watches them.

use std::fmt;
use std::sync::Arc;

use futures::StreamExt;
use kube::ResourceExt;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::{WatchStreamExt, watcher};
use tka_api::resource::TkaSignin;
use tka_core::{Caller, RuleKey, SessionLabel, SessionName};
use tokio::sync::watch;

use crate::approval::ApprovalRequest;
use crate::error::with_causes;
use crate::objects::{self, AWAITING_SELECTOR, Subject};
use crate::{Sessions, watches};

/// A sign-in that waits for approval, or was decided.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WaitingSignIn {
    /// The name of the session that it would begin or extend.
    pub name: SessionName,
    /// Whose it is.
    pub caller: Caller,
    /// Through which rule.
    pub rule: RuleKey,
    /// What it is kept apart by.
    pub label: Option<SessionLabel>,
    /// What is asked, and what was decided.
    pub request: ApprovalRequest,
    /// Whether a session goes on that it would extend.
    pub extends: bool,
    /// The UID of the `TkaSignin`.
    pub(crate) uid: String,
    /// Its version: what is decided is decided about this one.
    pub(crate) version: String,
}

/// The sign-ins that wait, as they are watched.
#[derive(Clone)]
pub struct WatchedWaiting {
    /// Those that would begin a session.
    beginning: Store<TkaSignin>,
    /// The sessions, of which some are to be extended.
    sessions: Store<TkaSignin>,
    namespace: String,
    /// Notified whenever the watch of the first has told more.
    changes: watch::Receiver<()>,
    /// Notified whenever a session has changed that waits to be extended, or is gone.
    session_changes: watch::Receiver<()>,
}

/// Keeps the sign-ins that wait, as they are watched.
pub(crate) struct WaitingWatch {
    store: Store<TkaSignin>,
    writer: Writer<TkaSignin>,
    change: watch::Sender<()>,
}

// === impl WaitingSignIn ===

impl WaitingSignIn {
    /// What `signin` says of a sign-in that waits on it, or that was decided.
    pub(crate) fn of(signin: &TkaSignin) -> Option<Self> {
        if signin.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let request = ApprovalRequest::of(signin)?;
        let subject = objects::subject(signin).ok()?;
        let name = subject.name();
        let Subject { caller, rule, label } = subject;
        Some(Self {
            name,
            caller,
            rule,
            label,
            request,
            extends: !objects::is_awaiting(signin),
            uid: signin.uid()?,
            version: signin.resource_version()?,
        })
    }
}

// === impl WatchedWaiting ===

impl fmt::Debug for WatchedWaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedWaiting").finish_non_exhaustive()
    }
}

impl WatchedWaiting {
    /// All that there are, decided ones among them.
    #[must_use]
    pub fn all(&self) -> Vec<WaitingSignIn> {
        let stores = [self.beginning.state(), self.sessions.state()];
        stores
            .iter()
            .flatten()
            .filter_map(|signin| WaitingSignIn::of(signin))
            .collect()
    }

    /// What waits for the session of that name.
    #[must_use]
    pub fn named(&self, name: &SessionName) -> Option<WaitingSignIn> {
        let reference = ObjectRef::new(name.as_str()).within(&self.namespace);
        let stores = [&self.beginning, &self.sessions];
        let there: Vec<Arc<TkaSignin>> = stores.iter().filter_map(|store| store.get(&reference)).collect();
        there.iter().find_map(|signin| WaitingSignIn::of(signin))
    }

    /// Waits until either watch has told more than when this was last called.
    pub async fn changed(&mut self) {
        tokio::select! {
            _ = self.changes.changed() => {}
            _ = self.session_changes.changed() => {}
        }
    }
}

// === impl WaitingWatch ===

impl WaitingWatch {
    pub(crate) fn new() -> Self {
        let (store, writer) = reflector::store();
        Self {
            store,
            writer,
            change: watch::Sender::new(()),
        }
    }

    /// What it will know, beside the `sessions` and what tells of their changes.
    pub(crate) fn watched(
        &self,
        sessions: Store<TkaSignin>,
        namespace: &str,
        session_changes: watch::Receiver<()>,
    ) -> WatchedWaiting {
        WatchedWaiting {
            beginning: self.store.clone(),
            sessions,
            namespace: namespace.to_owned(),
            changes: self.change.subscribe(),
            session_changes,
        }
    }

    /// Watches for as long as it is polled.
    pub(crate) async fn run(self, sessions: &Sessions) {
        let Self { writer, change, .. } = self;
        let waiting = watches::config().labels(AWAITING_SELECTOR);
        let told = watches::patient(watcher(sessions.watched.clone(), waiting)).reflect(writer);
        told.for_each(|event| {
            if let Err(error) = &event {
                tracing::warn!(
                    error = with_causes(error),
                    "watching the sign-ins that wait for approval failed"
                );
            }
            change.send_replace(());
            std::future::ready(())
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{self, at};
    use kube::runtime::watcher::Event;
    use tka_core::Rule;

    fn request() -> ApprovalRequest {
        let rule = Rule::parse(r#"{"role": "view", "period": "1h", "approval": {"count": 1}}"#).unwrap();
        let period = rule.period;
        ApprovalRequest::new("r1".into(), "d".into(), &rule.approval.unwrap(), period, None, at(100))
    }

    fn stored(mut signin: TkaSignin) -> TkaSignin {
        signin.metadata.uid = Some("u1".into());
        signin.metadata.resource_version = Some("7".into());
        signin
    }

    #[test]
    fn what_waits_is_no_session() {
        let session = examples::session("1h", at(100));
        let waits = stored(objects::awaiting(&session, &request(), "tka"));
        assert!(objects::session(&waits).is_err());
        assert_eq!(waits.metadata.finalizers, None);
        let waiting = WaitingSignIn::of(&waits).unwrap();
        assert_eq!((&waiting.name, &waiting.caller), (&session.name(), &session.caller));
        assert!(!waiting.extends);
        // It would be none either for a version that does not know the label.
        let mut unlabelled = waits;
        unlabelled
            .metadata
            .labels
            .get_or_insert_default()
            .insert(tka_api::resource::LABEL_MANAGED_BY.into(), "tka".into());
        assert!(objects::session(&unlabelled).is_err());
    }

    #[test]
    fn name_of_another_caller_waits_for_nothing() {
        let session = examples::session("1h", at(100));
        let mut waits = stored(objects::awaiting(&session, &request(), "tka"));
        waits.metadata.name = Some("tka-bob-fidgpxew4cxzort5cv7xe52bbdzhfzkn".into());
        assert_eq!(WaitingSignIn::of(&waits), None);
    }

    #[test]
    fn sessions_to_be_extended_and_to_begin_are_all_that_wait() {
        let (first, second) = (examples::session("1h", at(100)), examples::labelled("1h", at(100), "b"));
        let watch = WaitingWatch::new();
        let (sessions, mut writer) = reflector::store();
        let mut extended = objects::signin(&second, None, "tka");
        let annotations = extended.metadata.annotations.get_or_insert_default();
        annotations.insert(tka_api::resource::ANNOTATION_APPROVAL.into(), request().to_annotation());
        writer.apply_watcher_event(&Event::Apply(stored(extended)));
        let watched = watch.watched(sessions, "tka", watch::channel(()).1);
        let WaitingWatch { mut writer, .. } = watch;
        writer.apply_watcher_event(&Event::Apply(stored(objects::awaiting(&first, &request(), "tka"))));
        assert_eq!(watched.all().len(), 2);
        assert!(watched.named(&second.name()).unwrap().extends);
        assert!(!watched.named(&first.name()).unwrap().extends);
    }
}
