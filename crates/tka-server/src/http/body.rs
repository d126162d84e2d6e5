//! Bodies of requests: optional, small, JSON, and in time.

use std::sync::Arc;

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use serde::de::DeserializeOwned;
use tka_core::fields;

use crate::App;
use crate::answer::Failure;

/// The largest body: what may be asked for fits many times.
pub(super) const BODY_BYTES: usize = 16 * 1024;

/// The body of a request; what it is without a body, when there is none.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<Arc<App>> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let received = tokio::time::timeout(app.read_timeout, to_bytes(body, BODY_BYTES)).await;
        let late = |_| {
            let what = "the request did not arrive in time";
            Failure::new(StatusCode::REQUEST_TIMEOUT, what, &["try again"])
        };
        let bytes = received.map_err(late)?.map_err(|_| {
            let what = format!("the request's body could not be read, or has more than {BODY_BYTES} bytes");
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, what, &["send less"])
        })?;
        // JSON's nothing is what the document says of a body that is optional.
        if matches!(bytes.trim_ascii(), b"" | b"null") {
            return Ok(Self(T::default()));
        }
        let media_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        parse(media_type.unwrap_or_default(), &bytes).map(Self)
    }
}

fn parse<T: DeserializeOwned>(media_type: &str, bytes: &Bytes) -> Result<T, Failure> {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let advice = &["send JSON, with the header `Content-Type: application/json`"];
        let what = "the request's body is not JSON";
        return Err(Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what, advice));
    }
    let refuse = || {
        let advice = &["see /swagger for what may be asked for"];
        let what = "the request's body is not what this path takes";
        Failure::new(StatusCode::BAD_REQUEST, what, advice)
    };
    let text = std::str::from_utf8(bytes).map_err(|error| refuse().with_cause(&error))?;
    // A `rule` or `session` that is null was meant to choose one: to take another for it might give more than was meant.
    fields::read(text).map_err(|error| refuse().with_cause(&error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tka_api::http::LoginRequest;

    fn status(media_type: &str, body: &str) -> u16 {
        parse::<LoginRequest>(media_type, &Bytes::copy_from_slice(body.as_bytes()))
            .map_or_else(|f| f.status.as_u16(), |_| 200)
    }

    #[test]
    fn body_is_json_of_known_fields() {
        assert_eq!(status("application/json; charset=utf-8", r#"{"role": "view"}"#), 200);
        assert_eq!(status("application/json", "{}"), 200);
        assert_eq!(status("application/json", r#"{"rol": "view"}"#), 400);
        assert_eq!(status("application/json", r#"{"role": 7}"#), 400);
        assert_eq!(status("application/json", "[null, null]"), 400);
        assert_eq!(status("application/json", r#"{"role": "a", "role": "b"}"#), 400);
        // cases.md 4
        for field in ["rule", "role", "period", "reason", "session", "elevate"] {
            let null = format!(r#"{{"{field}": null}}"#);
            assert_eq!(status("application/json", &null), 400, "{null}");
        }
        assert_eq!(status("application/x-www-form-urlencoded", "role=view"), 415);
        assert_eq!(status("", "{}"), 415);
    }

    proptest! {
        #[test]
        fn any_body_is_read_or_refused(body in ".*") {
            prop_assert!(matches!(status("application/json", &body), 200 | 400));
        }
    }
}

#[cfg(test)]
mod fuzz {
    use tka_api::http::{CredentialRequest, LoginRequest};

    use super::*;

    fn is_read_or_refused<T: DeserializeOwned>(bytes: &[u8]) {
        if let Err(failure) = parse::<T>("application/json", &Bytes::copy_from_slice(bytes)) {
            assert_eq!(failure.status, StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn login() {
        bolero::check!().for_each(is_read_or_refused::<LoginRequest>);
    }

    #[test]
    fn credential() {
        bolero::check!().for_each(is_read_or_refused::<CredentialRequest>);
    }
}
