//! Refusals below `/k8s`, as clients of the Kubernetes API read them.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tka_api::http::GATEWAY_MESSAGE;

use crate::answer::{Failure, RefusalCause, RefusalKind};

/// kubectl prints warnings, also where it drops the message of a refusal (<https://www.rfc-editor.org/rfc/rfc7234#section-5.5>).
pub(super) const WARNING: HeaderName = HeaderName::from_static("warning");

/// `failure` as a `Status` of Kubernetes (<https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/>), with its advice in the message and in a
/// warning.
pub(super) fn status(failure: &Failure) -> Response {
    let advice = failure
        .body
        .advice
        .first()
        .map(|advice| format!(": {advice}"))
        .unwrap_or_default();
    let message = format!("{GATEWAY_MESSAGE}{}{advice}", failure.body.message);
    let code = failure.status;
    let mut body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason(code), "code": code.as_u16(),
    });
    if let Some(seconds) = failure.retry_after {
        body["details"] = json!({"retryAfterSeconds": seconds});
    }
    let mut response = (code, [(CACHE_CONTROL, "no-store")], Json(body)).into_response();
    let headers = response.headers_mut();
    if let Some(warning) = warning(&message) {
        headers.insert(WARNING, warning);
    }
    if let Some(seconds) = failure.retry_after {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    response.extensions_mut().insert(RefusalCause::from(failure));
    if let Some(kind) = failure.kind {
        response.extensions_mut().insert(RefusalKind(kind));
    }
    response
}

/// A warning of no particular agent (`299 -`), as a quoted string of what a header may hold.
pub(super) fn warning(message: &str) -> Option<HeaderValue> {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let text: String = message.chars().map(plain).collect();
    let quoted = text.replace('\\', "\\\\").replace('"', "\\\"");
    HeaderValue::try_from(format!("299 - \"{quoted}\"")).ok()
}

/// `metav1.StatusReason`, which clients decide by.
fn reason(code: StatusCode) -> &'static str {
    match code.as_u16() {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        415 => "UnsupportedMediaType",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::to_bytes;
    use serde_json::Value;

    #[tokio::test]
    async fn refusal_is_a_status_with_a_warning() {
        let response = status(&Failure::not_signed_in(StatusCode::UNAUTHORIZED));
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(
            response.headers()["warning"],
            "299 - \"TKA: you are not signed in: sign in with `tka login`\""
        );
        let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 4096).await.unwrap()).unwrap();
        assert_eq!(
            (body["kind"].as_str(), body["reason"].as_str(), body["code"].as_u64()),
            (Some("Status"), Some("Unauthorized"), Some(401))
        );
        assert_eq!(body["message"], "TKA: you are not signed in: sign in with `tka login`");
    }

    #[test]
    fn what_passes_says_when_to_ask_again() {
        let response = status(&Failure::transient("not \"now\"\r\n", &[]));
        assert_eq!(response.headers()["retry-after"], "1");
        assert_eq!(response.headers()["warning"], "299 - \"TKA: not \\\"now\\\"??\"");
    }
}
