//! A session, as the cluster has it.

use std::borrow::Borrow;

use tka_api::resource::TkaSignin;
use tka_core::Session;

use crate::objects;

/// Which sessions are looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SessionFilter {
    /// Those that go on.
    Live,
    /// Also those that are being ended: whatever is left of them may still give access.
    WithTerminating,
}

/// A session, as the cluster has it.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// The session.
    pub session: Session,
    /// Whether its account and bindings exist, and the cluster says until when.
    pub provisioned: bool,
}

// === impl StoredSession ===

impl Borrow<Session> for StoredSession {
    fn borrow(&self) -> &Session {
        &self.session
    }
}

// === impl SessionFilter ===

impl SessionFilter {
    /// The session that `signin` holds, if it is one of these. What is no session of ours is none.
    pub(crate) fn stored(self, signin: &TkaSignin) -> Option<StoredSession> {
        if self == Self::Live && signin.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let session = objects::session(signin).ok()?;
        let provisioned = objects::is_provisioned(signin, &session);
        Some(StoredSession { session, provisioned })
    }

    pub(crate) fn all_stored<'a>(self, signins: impl IntoIterator<Item = &'a TkaSignin>) -> Vec<StoredSession> {
        signins.into_iter().filter_map(|signin| self.stored(signin)).collect()
    }
}
