//! Refusals and failures as HTTP answers: what happened, what to do about it, and what caused it.

use std::error::Error as StdError;

use axum::Json;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tka_api::http::ErrorResponse;
use tka_core::{Refusal, shorten_to};
use tka_operator::error::{messages, with_causes};

/// An answer that is not what was asked for.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its status.
    pub status: StatusCode,
    /// What it says.
    pub body: ErrorResponse,
    /// When to try again, in seconds, where that may help.
    pub retry_after: Option<u32>,
    /// The kind of the refusal, if it is one that is decided by value.
    pub kind: Option<&'static str>,
}

/// The kind of a refusal, left in its answer for metrics and traces.
#[derive(Clone, Copy, Debug)]
pub struct RefusalKind(pub &'static str);

/// Why a request was refused, left in its answer for the record.
#[derive(Clone, Debug)]
pub struct RefusalCause(pub String);

/// How much of each reason is recorded. What callers send is in some of them.
const WHY_CHARACTERS: usize = 500;

// === impl Failure ===

impl Failure {
    /// A failure with `status`, that says `message` and advises `advice`.
    #[must_use]
    pub fn new(status: StatusCode, message: impl Into<String>, advice: &[&str]) -> Self {
        let advice = advice.iter().map(|line| (*line).to_owned()).collect();
        let body = ErrorResponse {
            message: message.into(),
            advice,
            cause: None,
        };
        Self {
            status,
            body,
            retry_after: None,
            kind: None,
        }
    }

    /// A failure that passes: the same request may succeed in a second.
    #[must_use]
    pub fn transient(message: impl Into<String>, advice: &[&str]) -> Self {
        Self {
            retry_after: Some(1),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, message, advice)
        }
    }

    /// The same failure, caused by `error` and by what that was caused by.
    #[must_use]
    pub fn with_cause(mut self, error: &(dyn StdError + 'static)) -> Self {
        self.body.cause = chain(error);
        self
    }

    /// There is nothing at that path, or nothing that this caller is told of.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no such path",
            &["see /swagger for what there is"],
        )
    }

    /// There is no session on the caller's device through a rule that still reaches them.
    #[must_use]
    pub fn not_signed_in(status: StatusCode) -> Self {
        Self::new(status, "you are not signed in", &["sign in with `tka login`"])
    }
}

/// What `error` and its causes say, outermost first.
fn chain(error: &(dyn StdError + 'static)) -> Option<Box<ErrorResponse>> {
    let messages: Vec<String> = messages(error).collect();
    messages.into_iter().rev().fold(None, |cause, message| {
        Some(Box::new(ErrorResponse {
            message,
            advice: Vec::new(),
            cause,
        }))
    })
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Funnel
            | Refusal::DeviceExpired { .. }
            | Refusal::NoRule
            | Refusal::NoSuchRule { .. }
            | Refusal::GatewayOnly { .. }
            | Refusal::DirectOnly { .. }
            | Refusal::NoGateway { .. }
            | Refusal::ElevationToken
            | Refusal::TooManySessions { .. }
            | Refusal::TooManyOnDevice { .. }
            | Refusal::TooManyBindings { .. }
            | Refusal::TooManyWaiting { .. } => StatusCode::FORBIDDEN,
            Refusal::AskedTooOften { .. } => StatusCode::TOO_MANY_REQUESTS,
            Refusal::ReasonRequired { .. }
            | Refusal::PeriodTooLong { .. }
            | Refusal::Machine { .. }
            | Refusal::MalformedRule(_)
            | Refusal::Ambiguous { .. }
            | Refusal::PeriodTooShort { .. } => StatusCode::BAD_REQUEST,
        };
        let retry_after = match &refusal {
            Refusal::AskedTooOften { retry_after } => Some(*retry_after),
            _ => None,
        };
        let cause = refusal.source().and_then(chain);
        let body = ErrorResponse {
            message: refusal.to_string(),
            advice: refusal.advice(),
            cause,
        };
        Self {
            status,
            body,
            retry_after,
            kind: Some(refusal.kind()),
        }
    }
}

impl From<tka_operator::Error> for Failure {
    fn from(error: tka_operator::Error) -> Self {
        Self::from(&error)
    }
}

impl From<&tka_operator::Error> for Failure {
    fn from(error: &tka_operator::Error) -> Self {
        use tka_operator::Error;
        match error {
            Error::RoleNotAllowed { .. } | Error::RoleNotAllowedThere { .. } => Self::new(
                StatusCode::FORBIDDEN,
                error.to_string(),
                &[
                    "ask an administrator to add the role to `roles` or `namespacedRoles` of the Helm chart, or to correct the tailnet policy",
                ],
            ),
            Error::NoSuchRole(_) | Error::NoSuchNamespace(_) => Self::new(
                StatusCode::FORBIDDEN,
                error.to_string(),
                &[
                    "ask an administrator of the tailnet to correct the rule, or an administrator of the cluster to create it",
                ],
            ),
            Error::Refused(refusal) => refusal.clone().into(),
            Error::EndedOnPurpose(_) => Self::new(
                StatusCode::UNAUTHORIZED,
                "your session was ended, and only you begin it again",
                &["sign in with `tka login`"],
            ),
            Error::NotRecorded(source) => not_recorded(&**source),
            Error::NoAccount(_) => Self::not_signed_in(StatusCode::UNAUTHORIZED),
            _ if error.is_transient() => {
                tracing::error!(
                    error = with_causes(error),
                    "request could not be completed; answered 503"
                );
                let advice = &[
                    "try again in a moment",
                    "if it persists, ask an administrator to look at the server's log",
                ];
                let failure = Self::transient("the request could not be completed just now", advice).with_cause(error);
                let asked = error.retry_after();
                let asked = asked.and_then(|after| u32::try_from(after.as_secs()).ok());
                Self {
                    retry_after: asked.or(failure.retry_after),
                    ..failure
                }
            }
            _ => {
                tracing::error!(error = with_causes(error), "the API server refused; answered 500");
                let advice = &["ask an administrator to look at the server's log"];
                let message = "the API server refused a request of the server";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, message, advice).with_cause(error)
            }
        }
    }
}

/// The answer while a session is not provisioned yet, and when to ask again.
pub(crate) fn pending(retry_after_seconds: u32, body: impl IntoResponse) -> Response {
    let retry_after = [(RETRY_AFTER, retry_after_seconds.to_string())];
    (StatusCode::ACCEPTED, retry_after, body).into_response()
}

/// Nothing is given, because records cannot be written, and `why`.
pub(crate) fn unwritable(why: &str) -> Failure {
    let advice = &["ask an administrator to look at the server's log"];
    Failure::transient(why, advice)
}

/// Nothing is given, because of an `error` that kept its audit record from being written.
pub(crate) fn not_recorded(error: &(dyn StdError + 'static)) -> Failure {
    let advice = &["ask an administrator to look at the server's log"];
    let message = "the audit record could not be written, so no access was given";
    Failure::transient(message, advice).with_cause(error)
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let why = RefusalCause::from(&self);
        let mut response = (self.status, Json(self.body)).into_response();
        response.extensions_mut().insert(why);
        if let Some(kind) = self.kind {
            response.extensions_mut().insert(RefusalKind(kind));
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

// === impl RefusalCause ===

impl From<&Failure> for RefusalCause {
    fn from(failure: &Failure) -> Self {
        let causes = failure.body.causes().map(|cause| cause.message.as_str());
        let messages = std::iter::once(failure.body.message.as_str()).chain(causes);
        let short: Vec<_> = messages.map(|message| shorten_to(message, WHY_CHARACTERS)).collect();
        Self(short.join(": "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;
    use tka_core::{ApplicableRules, RoleName};

    #[test]
    fn statuses_are_those_of_the_contract() {
        let malformed = Refusal::from(ApplicableRules::parse(["{}"]).unwrap_err());
        let ambiguous = Refusal::Ambiguous {
            priority: 1,
            rules: vec![],
            options: vec![],
            alike: vec![],
        };
        let short = Refusal::PeriodTooShort {
            role: RoleName::try_from("view".to_owned()).unwrap(),
            period: "1s".parse().unwrap(),
            min_period: "1m".parse().unwrap(),
        };
        let machine = Refusal::Machine {
            device: "ci".into(),
            tags: vec!["tag:ci".into()],
        };
        for refusal in [malformed, ambiguous, short, machine] {
            assert_eq!(Failure::from(refusal).status, 400);
        }
        for refusal in [Refusal::Funnel, Refusal::NoRule] {
            assert_eq!(Failure::from(refusal).status, 403);
        }
    }

    #[test]
    fn cause_is_what_the_api_server_says_and_no_debug_print() {
        let status = Status::failure("no room", "InternalError").with_code(500);
        let failure = Failure::from(tka_operator::Error::from(kube::Error::Api(status.boxed())));
        let causes: Vec<_> = failure.body.causes().map(|cause| cause.message.as_str()).collect();
        assert_eq!(causes, ["the request to the Kubernetes API server failed", "no room"]);
    }

    #[test]
    fn cause_of_a_malformed_rule_is_told() {
        let malformed = ApplicableRules::parse([r#"{"role": "view"}"#]).unwrap_err();
        let cause = Failure::from(Refusal::from(malformed)).body.cause.unwrap();
        let expected = r#"{"role": "view"} is not a rule: missing field `period`"#;
        assert_eq!(cause.message, expected);
    }

    #[test]
    fn why_is_recorded_in_short() {
        let failure = Failure::new(StatusCode::BAD_REQUEST, "x".repeat(60_000), &[]);
        assert!(RefusalCause::from(&failure).0.len() < 600);
    }
}
