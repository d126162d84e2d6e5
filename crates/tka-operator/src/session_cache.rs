//! The sessions as this process watches them, for what needs them no fresher than a write of its own.
//!
//! A watch tells of changes in the order in which the API server made them. So once it has told of a write, it has told of all that was written before.

use std::sync::Arc;

use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tka_api::resource::{ANNOTATION_END, ANNOTATION_LAST_SIGN_IN, TkaSignin};
use tokio::sync::watch;

use crate::objects;

/// Name and value of a label.
pub(crate) type Label<'l> = (&'static str, &'l str);

/// What a watch has told so far.
#[derive(Clone)]
pub(crate) struct SessionCache {
    store: Store<TkaSignin>,
    /// Notified whenever it has told more.
    changes: watch::Receiver<()>,
}

// === impl SessionCache ===

impl SessionCache {
    pub(crate) fn new(store: Store<TkaSignin>, changes: watch::Receiver<()>) -> Self {
        Self { store, changes }
    }

    /// What was told last of the object of that name.
    pub(crate) fn get(&self, name: &str, namespace: &str) -> Option<Arc<TkaSignin>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All that was told of and carries this label.
    pub(crate) fn labelled(&self, (name, value): Label<'_>) -> Vec<Arc<TkaSignin>> {
        let all = self.store.state().into_iter();
        all.filter(|signin| signin.labels().get(name).is_some_and(|other| other == value))
            .collect()
    }

    /// Waits until an end is told of that was written onto what was told of as `before`, and returns all that carries this `label`. None if the watch has
    /// come to its end.
    pub(crate) async fn since_end_of(mut self, before: &TkaSignin, label: Label<'_>) -> Option<Vec<Arc<TkaSignin>>> {
        let reference = ObjectRef::from_obj(before);
        loop {
            self.changes.borrow_and_update();
            let cached = self.store.get(&reference);
            if !cached.is_some_and(|cached| is_end_unknown(&cached, before)) {
                return Some(self.labelled(label));
            }
            self.changes.changed().await.ok()?;
        }
    }

    /// Waits until the sign-in that `signin` holds is told of, and returns all sessions that carry its `label`, too. None if the watch has come to its end.
    pub(crate) async fn since(mut self, signin: &TkaSignin, label: &str) -> Option<Vec<Arc<TkaSignin>>> {
        let reference = ObjectRef::from_obj(signin);
        loop {
            self.changes.borrow_and_update();
            let cached = self.store.get(&reference);
            if cached.is_some_and(|cached| is_same_sign_in(&cached, signin)) {
                let value = signin.labels().get(label);
                let all = self.store.state().into_iter();
                let counts =
                    |other: &Arc<TkaSignin>| other.labels().get(label) == value && !objects::is_awaiting(other);
                return Some(all.filter(counts).collect());
            }
            self.changes.changed().await.ok()?;
        }
    }
}

/// Whether `cached` says no more of its end than `before`. What is gone by now, or has another in its place, has ended.
fn is_end_unknown(cached: &TkaSignin, before: &TkaSignin) -> bool {
    let end = |signin: &TkaSignin| signin.annotations().get(ANNOTATION_END).cloned();
    cached.uid() == before.uid() && cached.metadata.deletion_timestamp.is_none() && end(cached) == end(before)
}

fn is_same_sign_in(a: &TkaSignin, b: &TkaSignin) -> bool {
    let last = |signin: &TkaSignin| signin.annotations().get(ANNOTATION_LAST_SIGN_IN).cloned();
    a.uid() == b.uid() && last(a) == last(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::approval::ApprovalRequest;
    use crate::examples;
    use futures::FutureExt;
    use kube::runtime::{reflector, watcher::Event};
    use tka_api::resource::LABEL_CALLER;
    use tka_core::Session;

    fn signin(session: &Session) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.metadata.uid = Some(session.name().to_string());
        signin
    }

    #[tokio::test]
    async fn end_is_waited_for_and_what_is_told_with_it_is_returned() {
        let now = examples::at(100);
        let (store, mut writer) = reflector::store();
        let (sender, changes) = watch::channel(());
        let cache = SessionCache::new(store, changes);
        let before = signin(&examples::session("1h", now));
        let key = before.labels()[LABEL_CALLER].clone();
        writer.apply_watcher_event(&Event::Apply(before.clone()));
        let mut waits = Box::pin(cache.clone().since_end_of(&before, (LABEL_CALLER, &key)));
        assert!((&mut waits).now_or_never().is_none());
        // Another of theirs began before the end was written, and is told of before it.
        writer.apply_watcher_event(&Event::Apply(signin(&examples::labelled("1h", now, "b"))));
        sender.send_replace(());
        assert!((&mut waits).now_or_never().is_none());
        let mut ended = before.clone();
        let annotations = ended.metadata.annotations.get_or_insert_default();
        annotations.insert(ANNOTATION_END.into(), "{}".into());
        writer.apply_watcher_event(&Event::Apply(ended.clone()));
        sender.send_replace(());
        assert_eq!(waits.await.unwrap().len(), 2);
        writer.apply_watcher_event(&Event::Delete(ended));
        let all = cache.clone().since_end_of(&before, (LABEL_CALLER, &key)).await.unwrap();
        assert_eq!(all.len(), 1, "what is gone has ended");
        assert!(
            cache
                .since_end_of(&before, (LABEL_CALLER, "another"))
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[tokio::test]
    async fn what_is_written_is_waited_for_and_comes_with_its_label() {
        let (store, mut writer) = reflector::store();
        let (sender, changes) = watch::channel(());
        let cache = SessionCache::new(store, changes);
        let now = examples::at(100);
        let (before, written) = (examples::session("1h", now), examples::labelled("1h", now, "b"));
        let mut of_another = examples::session("1h", now);
        of_another.caller.device.stable_id = "another".into();
        for there in [&before, &of_another] {
            writer.apply_watcher_event(&Event::Apply(signin(there)));
        }
        // What waits for approval is no session that counts.
        let rule = tka_core::Rule::parse(r#"{"role": "view", "period": "1h", "approval": {"count": 1}}"#).unwrap();
        let request = ApprovalRequest::new("r".into(), "d".into(), &rule.approval.unwrap(), rule.period, None, now);
        let waits = objects::awaiting(&examples::labelled("1h", now, "c"), &request, "tka");
        writer.apply_watcher_event(&Event::Apply(waits));
        let written = signin(&written);
        let mut waits = Box::pin(cache.clone().since(&written, LABEL_CALLER));
        assert!((&mut waits).now_or_never().is_none());
        writer.apply_watcher_event(&Event::Apply(written.clone()));
        sender.send_replace(());
        assert_eq!(waits.await.unwrap().len(), 2);
        // What is signed in to again is another write.
        let again = signin(&examples::labelled("1h", examples::at(101), "b"));
        assert!(cache.clone().since(&again, LABEL_CALLER).now_or_never().is_none());
        drop(sender);
        assert!(cache.since(&again, LABEL_CALLER).await.is_none());
    }
}
