//! The JSON bodies of the HTTP API, and the names of its paths and headers.
//!
//! The shapes are a contract with the CLI of the original TKA (`SpechtLabs/tka`), which is installed on its users' machines:
//! fields may be added, none may be renamed, retyped or dropped.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What every path of the API begins with.
pub const PREFIX: &str = "/api/v1alpha1";

/// Signs in (`POST`), or says who is signed in (`GET`).
pub const LOGIN: &str = "/login";
/// Ends the calling device's session.
pub const LOGOUT: &str = "/logout";
/// A kubeconfig with a fresh credential of the calling device's session.
pub const KUBECONFIG: &str = "/kubeconfig";
/// How to reach the Kubernetes API server.
pub const CLUSTER_INFO: &str = "/cluster-info";

/// Who is signed in, as what, and until when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginResponse {
    /// The caller's login name on the tailnet.
    #[cfg_attr(feature = "openapi", schema(example = "alice@example.com"))]
    pub username: String,
    /// The ClusterRole the session is bound to.
    #[cfg_attr(feature = "openapi", schema(example = "view"))]
    pub role: String,
    /// When the session ends (RFC 3339, whole seconds).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime, example = "2026-01-02T15:04:05Z"))]
    pub until: Timestamp,
}

/// How to reach the Kubernetes API server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterInfo {
    /// URL of the API server, as people reach it.
    #[cfg_attr(feature = "openapi", schema(example = "https://k8s.example.com:6443"))]
    pub server_url: String,
    /// Whether clients skip verifying the API server's certificate. Never in production.
    #[serde(default)]
    pub insecure_skip_tls_verify: bool,
    /// The certificate authority, PEM in base64; empty when the system's authorities serve.
    #[serde(default)]
    pub ca_data: String,
    /// Free labels of the cluster (environment, region, …).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

/// What every refusal and failure answers: what happened, what to do about it, and what caused it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorResponse {
    /// What happened.
    #[cfg_attr(feature = "openapi", schema(example = "no rule of the tailnet policy reaches you"))]
    pub message: String,
    /// What to do about it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// What caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub cause: Option<Box<ErrorResponse>>,
}

impl ErrorResponse {
    /// The causes, outermost first, this response itself not among them.
    pub fn causes(&self) -> impl Iterator<Item = &ErrorResponse> {
        std::iter::successors(self.cause.as_deref(), |error| error.cause.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn login_response_is_byte_compatible_with_the_original() {
        let response = LoginResponse {
            username: "alice@example.com".into(),
            role: "view".into(),
            until: "2026-01-02T15:04:05Z".parse().unwrap(),
        };
        assert_eq!(
            serde_json::to_string(&response).unwrap(),
            r#"{"username":"alice@example.com","role":"view","until":"2026-01-02T15:04:05Z"}"#
        );
    }

    #[test]
    fn until_is_understood_in_any_offset() {
        let response: LoginResponse =
            serde_json::from_value(json!({"username": "a", "role": "b", "until": "2026-01-02T16:04:05+01:00"}))
                .unwrap();
        assert_eq!(response.until, "2026-01-02T15:04:05Z".parse().unwrap());
    }

    #[test]
    fn error_omits_what_is_absent() {
        let error = ErrorResponse {
            message: "no".into(),
            ..ErrorResponse::default()
        };
        assert_eq!(serde_json::to_string(&error).unwrap(), r#"{"message":"no"}"#);
    }

    #[test]
    fn causes_are_listed_outermost_first() {
        let error: ErrorResponse =
            serde_json::from_value(json!({"message": "a", "cause": {"message": "b", "cause": {"message": "c"}}}))
                .unwrap();
        let messages: Vec<_> = error.causes().map(|cause| cause.message.as_str()).collect();
        assert_eq!(messages, ["b", "c"]);
    }

    #[test]
    fn cluster_info_reads_what_the_original_sends() {
        let info: ClusterInfo = serde_json::from_value(
            json!({"server_url": "https://k:6443", "insecure_skip_tls_verify": false, "ca_data": "", "labels": {"env": "dev"}}),
        )
        .unwrap();
        assert_eq!(info.labels["env"], "dev");
    }
}
