//! Issuing tokens of a session's ServiceAccount.

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use kube::api::PostParams;
use kube::core::Status;
use tka_api::Token;
use tka_core::Session;

use crate::credential::lifetime;
use crate::error::{ignore_not_found, status};
use crate::{Credential, Error, Sessions};

impl Sessions {
    /// Issues a credential of `session`. A session that was usable and has lost its account is ended: deleting the account of a
    /// session ends it.
    pub async fn credential(&self, session: &Session) -> Result<Credential, Error> {
        let issued = self.issue(session).await;
        if let Err(Error::NoAccount(name)) = &issued {
            self.begin_end_if_children_missing(name).await?;
        }
        issued
    }

    /// Issues a credential of `session`.
    ///
    /// The API server issues none for less than ten minutes. One issued in a session's last minutes ends with the session all the
    /// same, because its ServiceAccount does
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#bound-service-account-tokens>).
    pub(crate) async fn issue(&self, session: &Session) -> Result<Credential, Error> {
        self.issue_as(session, TokenRequest::default()).await
    }

    /// Issues a credential of `session` as `request` asks for it, which says nothing of its time.
    pub(crate) async fn issue_as(&self, session: &Session, mut request: TokenRequest) -> Result<Credential, Error> {
        let name = session.name();
        let left = session.until().as_second() - (self.clock)().as_second();
        if left <= 0 {
            return Err(Error::NoAccount(name));
        }
        request.spec = TokenRequestSpec {
            expiration_seconds: Some(lifetime(left, self.limits().max_credential)),
            ..TokenRequestSpec::default()
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
            answer => ignore_not_found(answer)?.ok_or(Error::NoAccount(name))?,
        };
        let issued = answer.status.ok_or(Error::Incomplete("the status of a TokenRequest"))?;
        Ok(Credential {
            token: Token::from(issued.token),
            expires: issued.expiration_timestamp.0.min(session.until()),
        })
    }
}
