//! Ending a session because what it was given through does not hold any more.

use tka_core::{Revocation, Session};

use crate::end::Unchanged;
use crate::{End, Error, Sessions, objects};

impl Sessions {
    /// Ends `session` because of `reason`, unless its caller signed in again since it was read: then it was given anew, by a later answer of the
    /// tailnet. Says whether it ended by this.
    pub async fn revoke(&self, session: &Session, reason: &Revocation) -> Result<bool, Error> {
        let name = session.name();
        let _turn = self.turns.take(name.as_str()).await?;
        let Some(signin) = self.signins.get_opt(name.as_str()).await? else {
            return Ok(false);
        };
        if signin.metadata.deletion_timestamp.is_some() || objects::session(&signin)?.signed_in != session.signed_in {
            return Ok(false);
        }
        self.delete_signin(name.as_str(), Unchanged::since(&signin)).await?;
        self.events.ended(&signin, &End::Revoked(reason.clone()));
        Ok(true)
    }
}
