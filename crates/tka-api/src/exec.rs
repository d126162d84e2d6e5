//! The document by which an exec plugin hands kubectl a credential
//! (<https://kubernetes.io/docs/reference/config-api/client-authentication.v1/>).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Token;

/// The API version of [`ExecCredential`].
pub const API_VERSION: &str = "client.authentication.k8s.io/v1";

/// A credential for kubectl.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ExecCredential {
    /// Always `client.authentication.k8s.io/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Always `ExecCredential`.
    pub kind: String,
    /// The credential.
    pub status: ExecCredentialStatus,
}

/// The credential itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
pub struct ExecCredentialStatus {
    /// Bearer token.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub token: Token,
    /// When it stops working (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expiration_timestamp: Timestamp,
}

// === impl ExecCredential ===

impl ExecCredential {
    /// The credential that is `token` until `expires`.
    #[must_use]
    pub fn new(token: Token, expires: Timestamp) -> Self {
        Self {
            api_version: API_VERSION.into(),
            kind: "ExecCredential".into(),
            status: ExecCredentialStatus {
                token,
                expiration_timestamp: expires,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_what_kubectl_reads() {
        let credential = ExecCredential::new(Token::from("t".to_owned()), "2026-01-02T15:04:05Z".parse().unwrap());
        assert_eq!(
            serde_json::to_string(&credential).unwrap(),
            r#"{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t","expirationTimestamp":"2026-01-02T15:04:05Z"}}"#
        );
    }
}
