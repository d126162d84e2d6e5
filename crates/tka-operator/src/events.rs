//! Kubernetes Events about sessions: what `kubectl describe signin` shows happened.
//!
//! They are a courtesy to people; the audit log is the record. Telling one delays nothing and fails nothing: what cannot be told
//! is dropped.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, Resource};
use tka_api::resource::TkaSignin;
use tka_core::Session;
use tokio::sync::mpsc;

use crate::error::with_causes;
use crate::{End, Error};

/// What reports them.
const CONTROLLER: &str = "tka.specht-labs.de/tka-server";
/// How many may wait to be told.
const QUEUE: usize = 256;
/// How long telling one may take.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest note that Kubernetes takes, in bytes
/// (<https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/>).
const NOTE_BYTES: usize = 1024;

/// Tells events, one after the other, beside whatever else is going on.
pub(crate) struct Events(mpsc::Sender<(Event, ObjectReference)>);

// === impl Events ===

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}

impl Events {
    /// Starts to tell events. Within an async runtime.
    pub(crate) fn start(client: Client) -> Self {
        let (sender, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(QUEUE);
        let recorder = Recorder::new(client, CONTROLLER.into());
        tokio::spawn(async move {
            while let Some((event, regarding)) = waiting.recv().await {
                match tokio::time::timeout(LIMIT, recorder.publish(&event, &regarding)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(reason = event.reason, %error, "an event was not told"),
                    Err(_) => tracing::debug!(reason = event.reason, "an event was not told in time"),
                }
            }
        });
        Self(sender)
    }

    pub(crate) fn signed_in(&self, signin: &TkaSignin, session: &Session, extended: bool) {
        let (reason, action) = if extended {
            ("Extended", "Extend")
        } else {
            ("SignedIn", "SignIn")
        };
        let (username, device) = (session.caller.username(), &session.caller.device.name);
        let (role, until) = (&session.rule.role, session.until());
        let note = format!("{username} on {device} has the role {role} until {until}");
        self.tell(signin, event(EventType::Normal, reason, action, note));
    }

    /// A sign-in that came as far as its `TkaSignin`, and no further.
    pub(crate) fn refused(&self, signin: &TkaSignin, error: &Error) {
        let note = with_causes(error);
        self.tell(signin, event(EventType::Warning, "Refused", "SignIn", note));
    }

    pub(crate) fn ended(&self, signin: &TkaSignin, how: &End) {
        let (type_, reason) = match how {
            End::SignedOut => (EventType::Normal, "SignedOut"),
            End::Expired => (EventType::Normal, "Expired"),
            End::Revoked(_) => (EventType::Warning, "Revoked"),
            End::TakenDown => (EventType::Warning, "TakenDown"),
            End::Broken => (EventType::Warning, "Broken"),
        };
        self.tell(signin, event(type_, reason, "End", how.to_string()));
    }

    fn tell(&self, signin: &TkaSignin, event: Event) {
        if let Err(error) = self.0.try_send((event, signin.object_ref(&()))) {
            tracing::debug!(%error, "an event was not told");
        }
    }
}

fn event(type_: EventType, reason: &str, action: &str, mut note: String) -> Event {
    note.truncate(note.floor_char_boundary(NOTE_BYTES));
    Event {
        type_,
        reason: reason.into(),
        note: Some(note),
        action: action.into(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_is_never_longer_than_kubernetes_takes() {
        let told = event(EventType::Normal, "SignedIn", "SignIn", "ü".repeat(NOTE_BYTES));
        assert_eq!(told.note.unwrap().len(), NOTE_BYTES);
        let told = event(
            EventType::Normal,
            "SignedIn",
            "SignIn",
            format!("a{}", "ü".repeat(NOTE_BYTES)),
        );
        assert_eq!(told.note.unwrap().len(), NOTE_BYTES - 1);
    }
}
