//! Tokens of a session's ServiceAccount.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use kube::api::PostParams;
use kube::core::Status;
use tka_api::Token;
use tka_core::Session;

use crate::error::{found, status};
use crate::{Error, Sessions};

/// The API server's shortest token.
const SHORTEST: Duration = Duration::from_mins(10);
/// How long a credential lives at the most, whatever is configured: it is what a server that is down, or has lost the tailnet, cannot
/// take back.
pub const LONGEST_CREDENTIAL: Duration = Duration::from_hours(1);

/// A token of a session's ServiceAccount.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The token.
    pub token: Token,
    /// When it stops working: its own end or that of the session, whichever comes first.
    pub expires: Timestamp,
}

impl Sessions {
    /// Issues a credential of `session`. When it turns out to have no account, or none any more, it is seen to its end if it was
    /// usable before: whoever deletes the account of a session means to end it.
    pub async fn credential(&self, session: &Session) -> Result<Credential, Error> {
        let issued = self.issue(session).await;
        if let Err(Error::NoAccount(name)) = &issued {
            self.end_if_broken(name).await?;
        }
        issued
    }

    /// Issues a credential of `session`.
    ///
    /// The API server issues none for less than ten minutes. One issued in a session's last minutes ends with the session all the
    /// same, because its ServiceAccount does
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>).
    pub(crate) async fn issue(&self, session: &Session) -> Result<Credential, Error> {
        let name = session.name();
        let left = session.until().as_second() - (self.clock)().as_second();
        if left <= 0 {
            return Err(Error::NoAccount(name));
        }
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(lifetime(left, self.max_credential)),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let params = PostParams::default();
        let ask = || self.accounts.create_token_request(name.as_str(), &params, &request);
        let answer = match ask().await {
            // One more does no harm.
            Err(error) if status(&error).is_some_and(Status::is_conflict) => ask().await,
            answer => answer,
        };
        let answer = match answer {
            // What serde says of it may quote the token.
            Err(kube::Error::SerdeError(_)) => return Err(Error::Incomplete("what makes it a TokenRequest")),
            answer => found(answer)?.ok_or(Error::NoAccount(name))?,
        };
        let issued = answer.status.ok_or(Error::Incomplete("the status of a TokenRequest"))?;
        Ok(Credential {
            token: Token::from(issued.token),
            expires: issued.expiration_timestamp.0.min(session.until()),
        })
    }
}

/// For how many seconds to ask, when `left` are left of the session and no credential may live longer than `max`.
fn lifetime(left: i64, max: Duration) -> i64 {
    let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    left.min(seconds(max.min(LONGEST_CREDENTIAL))).max(seconds(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credential_lives_no_longer_than_session_setting_and_an_hour() {
        let (half, day) = (Duration::from_mins(30), Duration::from_hours(24));
        assert_eq!(lifetime(900, day), 900);
        assert_eq!(lifetime(7200, half), 1800);
        assert_eq!(lifetime(7200, day), 3600);
        assert_eq!(lifetime(1, day), 600, "the API server issues none for less");
        assert_eq!(lifetime(7200, Duration::from_secs(1)), 600);
        assert_eq!(lifetime(i64::MAX, Duration::MAX), 3600);
    }
}
