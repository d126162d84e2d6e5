//! The sign-ins that wait for approval as this process watches them.

use std::fmt;

use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tka_api::resource::TkaSignin;
use tka_core::session::whole_seconds;
use tka_core::{Caller, RuleKey, Session, SessionLabel, SessionName};
use tokio::sync::watch;

use crate::approval::ApprovalRequest;
use crate::objects::{self, SessionIdentity};

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

/// The sign-ins that wait, as they are watched with the sessions.
#[derive(Clone)]
pub struct WatchedWaiting {
    store: Store<TkaSignin>,
    namespace: String,
    /// Notified whenever one has changed on which a sign-in waits, or one is gone.
    changes: watch::Receiver<()>,
}

// === impl WaitingSignIn ===

impl WaitingSignIn {
    /// The session that it would give: since it was approved, or else as if it had been when it was asked for. What its rule says beside is left out.
    #[must_use]
    pub fn session(&self) -> Session {
        let request = &self.request;
        Session {
            caller: self.caller.clone(),
            rule: self.rule.clone(),
            label: self.label.clone(),
            period: request.period,
            signed_in: whole_seconds(request.approved_at().unwrap_or(request.requested)),
            reason: request.reason.clone().and_then(|reason| reason.try_into().ok()),
            on_use: None,
            idle: None,
        }
    }

    /// What `signin` says of a sign-in that waits on it, or that was decided.
    pub(crate) fn of(signin: &TkaSignin) -> Option<Self> {
        if signin.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let request = ApprovalRequest::of(signin)?;
        let subject = objects::subject(signin).ok()?;
        let name = subject.name();
        let SessionIdentity { caller, rule, label } = subject;
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
    pub(crate) fn new(store: Store<TkaSignin>, namespace: &str, changes: watch::Receiver<()>) -> Self {
        let namespace = namespace.to_owned();
        Self {
            store,
            namespace,
            changes,
        }
    }

    /// All that there are, decided ones among them.
    #[must_use]
    pub fn all(&self) -> Vec<WaitingSignIn> {
        let all = self.store.state();
        all.iter().filter_map(|signin| WaitingSignIn::of(signin)).collect()
    }

    /// What waits for the session of that name.
    #[must_use]
    pub fn named(&self, name: &SessionName) -> Option<WaitingSignIn> {
        let reference = ObjectRef::new(name.as_str()).within(&self.namespace);
        WaitingSignIn::of(&*self.store.get(&reference)?)
    }

    /// Waits until the watch has told more than when this was last called.
    pub async fn changed(&mut self) {
        if self.changes.changed().await.is_err() {
            // The watch has ended, and tells nothing more.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::examples::{self, at};
    use kube::runtime::reflector;
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
        let (store, mut writer) = reflector::store();
        let mut extended = objects::signin(&second, None, "tka");
        let annotations = extended.metadata.annotations.get_or_insert_default();
        annotations.insert(tka_api::resource::ANNOTATION_APPROVAL.into(), request().to_annotation());
        let beginning = objects::awaiting(&first, &request(), "tka");
        let other = objects::signin(&examples::labelled("1h", at(100), "c"), None, "tka");
        for signin in [extended, beginning, other] {
            writer.apply_watcher_event(&Event::Apply(stored(signin)));
        }
        let watched = WatchedWaiting::new(store, "tka", watch::channel(()).1);
        assert_eq!(watched.all().len(), 2);
        assert!(watched.named(&second.name()).unwrap().extends);
        assert!(!watched.named(&first.name()).unwrap().extends);
    }
}
