//! Tokens of the account of just one session, for a gateway that acts as it.

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;
use tka_api::Token;
use tka_api::resource::LABEL_UID;
use tka_core::SessionName;

use crate::error::ignore_not_found;
use crate::live::{LiveSession, SessionState};
use crate::{Credential, Error, Sessions};

impl Sessions {
    /// How the session of that name stands, read from the API server at this moment.
    pub async fn session_state(&self, name: &SessionName) -> Result<SessionState, Error> {
        let signin = self.signins.get_opt(name.as_str()).await?;
        Ok(signin.map_or(SessionState::None, |signin| SessionState::of(&signin, (self.clock)())))
    }

    /// Issues a credential of the account that was made for just this session, and for none of its name before or after it.
    ///
    /// API servers compare the UID since 1.34 (`TokenRequestServiceAccountUIDValidation`); the token says it too, and is compared whatever they do.
    pub async fn credential_of(&self, live: &LiveSession) -> Result<Credential, Error> {
        let issued = self.issue_for(live).await;
        if let Err(Error::NoAccount(name)) = &issued {
            self.begin_end_if_children_missing(name).await?;
        }
        issued
    }

    async fn issue_for(&self, live: &LiveSession) -> Result<Credential, Error> {
        let name = live.session.name();
        let account = ignore_not_found(self.accounts.get(name.as_str()).await)?;
        let uid = account
            .filter(|account| is_of(account, live))
            .and_then(|account| account.uid());
        let uid = uid.ok_or_else(|| Error::NoAccount(name.clone()))?;
        let mut request = TokenRequest::default();
        request.metadata.uid = Some(uid.clone());
        let credential = self.issue_as(&live.session, request).await?;
        if account_of(&credential.token).as_deref() != Some(uid.as_str()) {
            return Err(Error::NoAccount(name));
        }
        Ok(credential)
    }
}

fn is_of(account: &ServiceAccount, live: &LiveSession) -> bool {
    account.labels().get(LABEL_UID) == Some(&live.uid)
}

/// What a token says of itself (RFC 7519). It was issued a moment ago, so there is nothing to verify; one of another form says nothing.
#[must_use]
pub fn claims(token: &Token) -> Option<serde_json::Value> {
    let payload = token.expose().split('.').nth(1)?.trim_end_matches('=');
    let claims = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    serde_json::from_slice(&claims).ok()
}

/// The UID of the account that a token is of.
fn account_of(token: &Token) -> Option<String> {
    let claims = claims(token)?;
    Some(claims["kubernetes.io"]["serviceaccount"]["uid"].as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_says_whose_it_is() {
        let token = |claims: &str| {
            let payload = data_encoding::BASE64URL_NOPAD.encode(claims.as_bytes());
            account_of(&Token::from(format!("e30.{payload}.x")))
        };
        let claims = r#"{"kubernetes.io": {"namespace": "tka", "serviceaccount": {"name": "a", "uid": "u7"}}}"#;
        assert_eq!(token(claims).as_deref(), Some("u7"));
        assert_eq!(token("{}"), None);
        assert_eq!(account_of(&Token::from("no token".to_owned())), None);
    }
}
