//! Whether what tailscaled answers is the tailnet's present word.
//!
//! tailscaled answers WhoIs from what its control server last told it, also while it is stopped or cut off. To ask it for its
//! state with every request would double what a request costs. So the state is kept here, as its bus and the last round tell it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::sync::watch;

/// What is known of tailscaled's contact with the tailnet. Clones know the same.
#[derive(Clone, Debug, Default)]
pub struct Contact(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: Mutex<ControlState>,
    is_there: watch::Sender<bool>,
}

/// Why the tailnet's present word is not known.
#[derive(Clone, Debug, Error, Eq, PartialEq)]
#[error("tailscaled cannot confirm the tailnet policy at present: {0}")]
pub struct NoContact(String);

#[derive(Debug)]
struct ControlState {
    /// What the bus told last.
    heard: Result<(), String>,
    /// What the last status said.
    answered: Result<(), String>,
}

// === impl Contact ===

impl Contact {
    /// Whether tailscaled is there, on the tailnet, and in touch with its control server. Not knowing is a no.
    pub fn check(&self) -> Result<(), NoContact> {
        self.known().check()
    }

    /// Whether [`Contact::check`] finds nothing wrong, to be told when that changes.
    #[must_use]
    pub fn is_there(&self) -> watch::Receiver<bool> {
        self.0.is_there.subscribe()
    }

    /// The bus told of a state, or broke.
    pub(super) fn heard(&self, state: Result<(), String>) {
        self.update(|known| known.heard = state);
    }

    /// A status came, or did not.
    pub(super) fn answered(&self, state: Result<(), String>) {
        self.update(|known| known.answered = state);
    }

    fn update(&self, change: impl FnOnce(&mut ControlState)) {
        let (before, after) = {
            let mut known = self.known();
            let before = known.check();
            change(&mut known);
            let after = known.check();
            self.0.is_there.send_replace(after.is_ok());
            (before, after)
        };
        match after {
            _ if before == after => {}
            Ok(()) => tracing::info!("tailscaled connected; sign-ins and credentials resumed"),
            Err(error) => tracing::warn!(%error, "tailscaled disconnected; sign-ins and credentials suspended"),
        }
    }

    fn known(&self) -> MutexGuard<'_, ControlState> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl ControlState ===

impl Default for ControlState {
    fn default() -> Self {
        let not_yet = || Err("tailscaled was not asked yet".to_owned());
        Self {
            heard: not_yet(),
            answered: not_yet(),
        }
    }
}

impl ControlState {
    fn check(&self) -> Result<(), NoContact> {
        // A status says more than the bus: what tailscaled finds wrong.
        let known = self.answered.clone().and_then(|()| self.heard.clone());
        known.map_err(NoContact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_must_say_so() {
        let contact = Contact::default();
        let is_there = contact.is_there();
        assert!(contact.check().is_err() && !*is_there.borrow());
        contact.answered(Ok(()));
        assert!(contact.check().is_err());
        contact.heard(Ok(()));
        assert_eq!(contact.check(), Ok(()));
        assert!(*is_there.borrow());
        contact.clone().heard(Err("Stopped".into()));
        // An answer that was on its way when tailscaled stopped.
        contact.answered(Ok(()));
        assert_eq!(contact.check(), Err(NoContact("Stopped".into())));
        assert!(!*is_there.borrow());
        contact.answered(Err("Stopped by hand".into()));
        assert_eq!(contact.check(), Err(NoContact("Stopped by hand".into())));
    }
}
