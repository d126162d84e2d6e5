//! What the cluster answers through the gateway.

use serde::Deserialize;
use tka_api::http::ErrorResponse;

use super::{Client, ClientError, ClientErrorKind, Operation};

/// The answer to a request that any session may make.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum GatewayAnswer {
    /// The cluster answered, with its version.
    Version(String),
    /// The gateway answered: there is no session that could act.
    NotSignedIn,
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
            401 if body.kind == "Status" => Ok(GatewayAnswer::NotSignedIn),
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
