//! Tokens of a session's ServiceAccount.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use kube::api::PostParams;
use tka_api::Token;
use tka_core::Session;

use crate::error::found;
use crate::{Error, Sessions};

/// The API server's shortest token.
const SHORTEST_TOKEN_SECONDS: i64 = 600;

/// A token of a session's ServiceAccount.
#[derive(Debug)]
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
        let longest = i64::try_from(self.max_credential.as_secs()).unwrap_or(i64::MAX);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(left.min(longest).max(SHORTEST_TOKEN_SECONDS)),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = self
            .accounts
            .create_token_request(name.as_str(), &PostParams::default(), &request)
            .await;
        let answer = found(answer)?.ok_or(Error::NoAccount(name))?;
        let issued = answer.status.ok_or(Error::Incomplete("the status of a TokenRequest"))?;
        Ok(Credential {
            token: Token::from(issued.token),
            expires: issued.expiration_timestamp.0.min(session.until()),
        })
    }
}
