//! Sessions that stand at this moment, for a gateway that acts as their accounts.

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt;
use serde::Deserialize;
use tka_api::Token;
use tka_api::resource::{LABEL_UID, TkaSignin};
use tka_core::{Session, SessionName};

use crate::error::found;
use crate::{Credential, Error, Sessions, objects, step};

/// A session that stands, as it was last told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LiveSession {
    /// The session.
    pub session: Session,
    /// The UID of its `TkaSignin`, which tells it from the sessions before and after it.
    pub uid: String,
    /// When it ends, if nothing ends it before. While it is being extended that is its end before.
    pub until: Timestamp,
    /// The version of its `TkaSignin`.
    pub(crate) version: Option<String>,
}

// === impl LiveSession ===

impl LiveSession {
    /// The session that `signin` holds, if it stands at `now`: its account and bindings were made, it is not to end, and its time is not over.
    pub(crate) fn of(signin: &TkaSignin, now: Timestamp) -> Option<Self> {
        if signin.metadata.deletion_timestamp.is_some() || !objects::was_provisioned(signin) {
            return None;
        }
        let session = objects::session(signin).ok()?;
        let until = step::end(signin, &session, false);
        if until <= now || objects::is_to_end(signin, &session) {
            return None;
        }
        Some(Self {
            uid: signin.uid()?,
            version: signin.resource_version(),
            session,
            until,
        })
    }
}

impl Sessions {
    /// The session of that name, read from the API server at this moment, if it stands.
    pub async fn live(&self, name: &SessionName) -> Result<Option<LiveSession>, Error> {
        let signin = self.signins.get_opt(name.as_str()).await?;
        Ok(signin.and_then(|signin| LiveSession::of(&signin, (self.clock)())))
    }

    /// Issues a credential of the account that was made for just this session, and for none of its name before or after it.
    ///
    /// API servers compare the UID since 1.34 (`TokenRequestServiceAccountUIDValidation`); the token says it too, and is compared whatever they do.
    pub async fn credential_of(&self, live: &LiveSession) -> Result<Credential, Error> {
        let issued = self.issue_for(live).await;
        if let Err(Error::NoAccount(name)) = &issued {
            self.end_if_broken(name).await?;
        }
        issued
    }

    async fn issue_for(&self, live: &LiveSession) -> Result<Credential, Error> {
        let name = live.session.name();
        let account = found(self.accounts.get(name.as_str()).await)?;
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

/// The UID of the account that a token is of. It was issued a moment ago, so there is nothing to verify.
fn account_of(token: &Token) -> Option<String> {
    #[derive(Deserialize)]
    struct Claims {
        #[serde(rename = "kubernetes.io")]
        kubernetes: Kubernetes,
    }
    #[derive(Deserialize)]
    struct Kubernetes {
        serviceaccount: Account,
    }
    #[derive(Deserialize)]
    struct Account {
        uid: String,
    }
    let payload = token.expose().split('.').nth(1)?;
    let claims = data_encoding::BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    let claims: Claims = serde_json::from_slice(&claims).ok()?;
    Some(claims.kubernetes.serviceaccount.uid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::end_reason::{EndReason, Intent};
    use crate::{examples, progress};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use tka_api::resource::ANNOTATION_END;

    fn provisioned(session: &Session, now: Timestamp) -> TkaSignin {
        let mut signin = objects::signin(session, None, "tka");
        signin.metadata.uid = Some("u1".into());
        signin.status = Some(progress::active(&signin, session, now));
        signin
    }

    #[test]
    fn session_stands_from_its_provisioning_to_its_end() {
        let start = examples::at(100);
        let session = examples::session("1h", start);
        let mut signin = provisioned(&session, start);
        let live = LiveSession::of(&signin, start).unwrap();
        assert_eq!((live.uid.as_str(), live.until), ("u1", session.until()));
        assert_eq!(LiveSession::of(&signin, session.until()), None);
        let pending = objects::signin(&session, None, "tka");
        assert_eq!(LiveSession::of(&pending, start), None);
        signin.metadata.deletion_timestamp = Some(Time(start));
        assert_eq!(LiveSession::of(&signin, start), None);
    }

    #[test]
    fn session_of_which_the_end_is_written_does_not_stand() {
        let start = examples::at(100);
        let session = examples::session("1h", start);
        let mut signin = provisioned(&session, start);
        let intent = Intent::new(&session, EndReason::SignedOut, start).to_annotation();
        signin
            .metadata
            .annotations
            .get_or_insert_default()
            .insert(ANNOTATION_END.into(), intent);
        assert_eq!(LiveSession::of(&signin, start), None);
    }

    #[test]
    fn extension_counts_when_its_status_is_written() {
        let (start, later) = (examples::at(100), examples::at(1000));
        let before = examples::session("1h", start);
        let after = examples::session("1h", later);
        let mut signin = provisioned(&before, start);
        let extended = objects::signin(&after, None, "tka");
        (signin.spec, signin.metadata.annotations) = (extended.spec, extended.metadata.annotations);
        assert_eq!(LiveSession::of(&signin, later).unwrap().until, before.until());
        signin.status = Some(progress::active(&signin, &after, later));
        assert_eq!(LiveSession::of(&signin, later).unwrap().until, after.until());
    }

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
