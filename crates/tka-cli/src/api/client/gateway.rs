//! What the cluster answers through the gateway.

use serde::Deserialize;
use tka_api::http::{ErrorResponse, GATEWAY_MESSAGE};

use super::{Client, ClientError, ClientErrorKind, Operation};

/// The answer to a request that any session may make.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum GatewayAnswer {
    /// The cluster answered, with its version.
    Version(String),
    /// The gateway answered: there is no session that could act.
    NotSignedIn,
    /// The cluster answered, and does not take the credential of the session.
    CredentialRefused,
}

/// The body of an answer, of the cluster or of the gateway in its place.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(rename = "gitVersion")]
    git_version: String,
    kind: String,
    message: String,
}

// === impl Client ===

impl Client {
    /// Asks for the cluster's version through the gateway, as kubectl would.
    pub(crate) fn cluster_version(&self) -> Result<GatewayAnswer, ClientError> {
        let operation = Operation::AskCluster;
        let response = self.request(operation)?;
        let body: Body = serde_json::from_str(&response.body).unwrap_or_default();
        match response.status {
            200 if !body.git_version.is_empty() => Ok(GatewayAnswer::Version(body.git_version)),
            401 if body.kind == "Status" => Ok(body.unauthorized()),
            status if body.kind == "Status" => {
                let error = ErrorResponse {
                    message: body.message,
                    ..ErrorResponse::default()
                };
                Err(self.error(operation, ClientErrorKind::Rejected { status, error }))
            }
            _ => Err(self.refusal(operation, &response)),
        }
    }
}

// === impl Body ===

impl Body {
    /// Which of the two said that the request is not authenticated.
    fn unauthorized(&self) -> GatewayAnswer {
        if self.message.starts_with(GATEWAY_MESSAGE) {
            GatewayAnswer::NotSignedIn
        } else {
            GatewayAnswer::CredentialRefused
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_and_api_server_are_told_apart() {
        let said = |message: &str| {
            let body = Body {
                message: message.into(),
                ..Body::default()
            };
            body.unauthorized()
        };
        assert_eq!(
            said("TKA: you are not signed in: sign in with `tka login`"),
            GatewayAnswer::NotSignedIn
        );
        assert_eq!(said("Unauthorized"), GatewayAnswer::CredentialRefused);
    }
}
