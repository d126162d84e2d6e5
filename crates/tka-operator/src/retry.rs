//! Trying a request to the API server again, and a reconcile.
//!
//! Every request that is made here may be sent twice. What is written says what is to be, what is deleted may be gone, and a second credential is no
//! harm. So a request is tried again also when it is not known whether the first try was carried out.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use kube::client::Body;
use kube::client::retry::RetryPolicy;
use kube::core::Status;
use kube::core::response::StatusDetails;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::time::{Instant, Sleep, sleep};
use tower::BoxError;
use tower::retry::Policy;

use crate::metrics::Retry;

/// How often a request is tried at the most.
const MAX_TRIES: u32 = 4;
/// How long to wait before the second try, and before each further one twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest that a request waits because the API server says so. The caller is told of a longer time.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a reconcile waits at the most before it is tried again, unless the API server asks for more.
const RECONCILE: Duration = Duration::from_secs(5);
/// The most that the API server may ask of a reconcile.
const RECONCILE_PATIENCE: Duration = Duration::from_secs(30);
/// The most that it may ask where something is to be taken away.
const ENDING_PATIENCE: Duration = Duration::from_secs(6);

/// How long a watch must have gone well to be trusted again. That it was begun says little: it may fail at its first word.
const STEADY: Duration = Duration::from_secs(30);

/// The body of an answer that says how long to wait.
pub(crate) type BodyStream = UnsyncBoxBody<Bytes, BoxError>;

/// Says whether and when a request is tried again.
#[derive(Clone)]
pub(crate) struct Retries {
    counted: Family<Retry, Counter>,
    tries: u32,
    /// When the present one began.
    began: Option<Instant>,
    /// Knows how to copy a request.
    copies: RetryPolicy,
}

// === impl Retries ===

impl Retries {
    /// The first try is before it. Further ones are `counted`.
    pub(crate) fn new(counted: Family<Retry, Counter>) -> Self {
        Self {
            counted,
            tries: 1,
            began: None,
            copies: RetryPolicy::default(),
        }
    }
}

impl<B> Policy<Request<Body>, Response<B>, BoxError> for Retries {
    type Future = Sleep;

    fn retry(&mut self, request: &mut Request<Body>, result: &mut Result<Response<B>, BoxError>) -> Option<Sleep> {
        let wait = match result {
            Ok(response) => again(self.tries, Some((response.status(), retry_after(response.headers())))),
            // Who has waited for an answer in vain waits no longer.
            Err(_) if self.began.is_some_and(|began| began.elapsed() > PATIENCE) => None,
            Err(_) => again(self.tries, None),
        }?;
        self.tries += 1;
        let status = result.as_ref().ok().map(Response::status);
        self.counted.get_or_create(&Retry::after(status)).inc();
        let (method, path) = (request.method(), request.uri().path());
        match result {
            Ok(response) => {
                tracing::debug!(%method, path, status = %response.status(), ?wait, "request retried");
            }
            Err(error) => tracing::debug!(%method, path, %error, ?wait, "request retried"),
        }
        Some(sleep(wait))
    }

    fn clone_request(&mut self, request: &Request<Body>) -> Option<Request<Body>> {
        self.began = Some(Instant::now());
        Policy::<Request<Body>, Response<B>, BoxError>::clone_request(&mut self.copies, request)
    }
}

/// How long to wait before the next try, after `tries`. None when there is to be none. `answer` is the status of the last try and how long the API
/// server asked to wait; None if there was no answer.
fn again(tries: u32, answer: Option<(StatusCode, Option<Duration>)>) -> Option<Duration> {
    if tries >= MAX_TRIES {
        return None;
    }
    let backoff = doubled(FIRST, tries);
    match answer {
        None => Some(backoff),
        Some((status, retry_after)) if is_passing(status) => {
            Some(retry_after.unwrap_or_default().max(backoff)).filter(|wait| *wait <= PATIENCE)
        }
        Some(_) => None,
    }
}

/// Whether the API server, or what is before it, may answer otherwise in a moment. A conflict must be looked into first, by who asked.
fn is_passing(status: StatusCode) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error()
}

/// Has who asked hear how long the API server asks to wait. It says so in a header, and kube reads only bodies.
pub(crate) async fn propagate_retry_after<B>(response: Response<B>) -> Result<Response<BodyStream>, BoxError>
where
    B: BodyExt<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let code = response.status();
    let retry_after = retry_after(response.headers()).filter(|_| is_passing(code));
    let Some(retry_after) = retry_after else {
        return Ok(response.map(|body| body.map_err(Into::into).boxed_unsync()));
    };
    let (mut head, body) = response.into_parts();
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    head.headers.remove(CONTENT_LENGTH);
    let body = Full::from(told(&body, code, retry_after)).map_err(|never| match never {});
    Ok(Response::from_parts(head, body.boxed_unsync()))
}

/// The answer `body`, with `retry_after` as the time to wait. What is no [`Status`] is made one.
fn told(body: &[u8], code: StatusCode, retry_after: Duration) -> Vec<u8> {
    let made = || {
        let text = String::from_utf8_lossy(body);
        Status::failure(text.trim(), code.canonical_reason().unwrap_or_default()).with_code(code.as_u16())
    };
    let mut status: Status = serde_json::from_slice(body).unwrap_or_else(|_| made());
    let seconds = u32::try_from(retry_after.as_secs()).unwrap_or(u32::MAX);
    if status.code == 0 {
        status.code = code.as_u16();
    }
    let details = status.details.get_or_insert_with(|| StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    });
    details.retry_after_seconds = details.retry_after_seconds.max(seconds);
    // Nothing in it fails to serialize.
    serde_json::to_vec(&status).unwrap_or_else(|_| body.to_vec())
}

/// In seconds; the API server writes no dates (<https://www.rfc-editor.org/rfc/rfc9110#name-retry-after>).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// How long to wait before a reconcile that failed `failures` times in a row is tried again, where the API server says `retry_after`. Whether it `is_end`:
/// what is over must not live on.
pub(crate) fn reconcile(failures: u32, retry_after: Option<Duration>, is_end: bool) -> Duration {
    let patience = if is_end { ENDING_PATIENCE } else { RECONCILE_PATIENCE };
    backoff(failures, None, RECONCILE).max(retry_after.unwrap_or_default().min(patience))
}

/// How long to wait after `failures` in a row, where the API server says `retry_after`: a second, then ever longer, but never longer than `most`.
#[must_use]
pub fn backoff(failures: u32, retry_after: Option<Duration>, most: Duration) -> Duration {
    let wait = doubled(Duration::from_secs(1), failures);
    wait.max(retry_after.unwrap_or_default()).min(most)
}

/// `first`, and for each further time twice as long.
fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.saturating_sub(1)))
}

/// How one watch has failed.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    failures: u32,
    last: Option<Instant>,
}

// === impl Watches ===

impl Watches {
    /// How long to wait before a watch that failed at `now` is begun anew, where the API server says `retry_after`.
    ///
    /// No longer than a reconcile waits without being asked to, whatever the API server asks for. Meanwhile no session is heard of. kube's own waits
    /// for up to half a minute.
    pub(crate) fn failed(&mut self, retry_after: Option<Duration>, now: Instant) -> Duration {
        if self.last.is_some_and(|last| now - last > STEADY) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = Some(now);
        backoff(self.failures, retry_after, RECONCILE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn unanswered_request_is_retried_and_given_up() {
        let waits: Vec<_> = (1..=MAX_TRIES).map(|tries| again(tries, None)).collect();
        let expected = [100, 200, 400].map(|wait| Some(wait * MILLISECOND));
        assert_eq!(waits, [&expected[..], &[None]].concat());
    }

    #[test]
    fn retry_after_is_waited_for_and_a_long_one_is_passed_on() {
        let throttled = |retry_after| again(1, Some((StatusCode::TOO_MANY_REQUESTS, retry_after)));
        assert_eq!(throttled(None), Some(FIRST));
        assert_eq!(throttled(Some(2 * SECOND)), Some(2 * SECOND));
        assert_eq!(throttled(Some(Duration::ZERO)), Some(FIRST));
        assert_eq!(throttled(Some(PATIENCE + SECOND)), None);
        assert_eq!(throttled(Some(Duration::MAX)), None);
    }

    #[test]
    fn answers_are_not_asked_for_again() {
        for status in [200, 201, 401, 403, 404, 409, 422] {
            assert_eq!(again(1, Some((StatusCode::from_u16(status).unwrap(), None))), None);
        }
        for status in [429, 500, 502, 503, 504] {
            assert!(again(1, Some((StatusCode::from_u16(status).unwrap(), None))).is_some());
        }
    }

    #[test]
    fn time_that_is_asked_for_is_told_whatever_the_body_says() {
        let told = |body: &str| -> Status {
            let told = told(body.as_bytes(), StatusCode::TOO_MANY_REQUESTS, 6 * SECOND);
            serde_json::from_slice(&told).unwrap()
        };
        let seconds = |status: &Status| status.details.as_ref().unwrap().retry_after_seconds;
        let plain = "Too many requests, please try again later.\n";
        for text in [plain, "", "{}", "[]", "\u{fffd}"] {
            let status = told(text);
            assert_eq!((seconds(&status), status.code), (6, 429), "{text:?}");
        }
        assert_eq!(told("slow down\n").message, "slow down");
        let own = r#"{"status": "Failure", "message": "m", "reason": "TooManyRequests", "code": 429, "details": {"name": "n"}}"#;
        let status = told(own);
        assert_eq!((seconds(&status), &*status.message), (6, "m"));
        assert_eq!(status.details.unwrap().name, "n");
    }

    #[test]
    fn retry_after_is_read_in_seconds() {
        let headers = |value: &str| HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
        assert_eq!(retry_after(&headers("2")), Some(2 * SECOND));
        let date = "Wed, 21 Oct 2015 07:28:00 GMT";
        for value in ["", "-1", "soon", "99999999999999999999", date] {
            assert_eq!(retry_after(&headers(value)), None, "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn reconcile_backs_off_and_honours_retry_after() {
        let waits = [0, 1, 2, 3, 4, 40, u32::MAX].map(|failures| reconcile(failures, None, false).as_secs());
        assert_eq!(waits, [1, 1, 2, 4, 5, 5, 5]);
        assert_eq!(reconcile(1, Some(7 * SECOND), false), 7 * SECOND);
        assert_eq!(reconcile(4, Some(SECOND), false), RECONCILE);
        assert_eq!(reconcile(1, Some(Duration::MAX), false), RECONCILE_PATIENCE);
        assert_eq!(reconcile(1, Some(Duration::MAX), true), ENDING_PATIENCE);
    }

    #[test]
    fn watch_restarts_within_seconds_after_any_number_of_failures() {
        let (mut watches, start) = (Watches::default(), Instant::now());
        let waits: Vec<_> = (0..100).map(|_| watches.failed(None, start)).collect();
        assert_eq!(waits[..4], [1, 2, 4, 5].map(|seconds| seconds * SECOND));
        assert!(waits[4..].iter().all(|wait| *wait == RECONCILE));
        assert_eq!(watches.failed(None, start + STEADY), RECONCILE);
        assert_eq!(watches.failed(None, start + 3 * STEADY), SECOND);
    }

    #[test]
    fn watch_honours_retry_after_within_limits() {
        let failed = |retry_after| Watches::default().failed(Some(retry_after), Instant::now());
        assert_eq!(failed(3 * SECOND), 3 * SECOND);
        assert_eq!(failed(30 * SECOND), RECONCILE);
    }
}
