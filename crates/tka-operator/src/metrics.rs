//! What the operator counts. Every label has few values that are known beforehand; none is of a user, a device or a session.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Metrics of the reconcile loop and of requests to the API server.
#[derive(Clone, Debug)]
pub struct Metrics {
    pub(crate) reconcile: Histogram,
    pub(crate) reconcile_errors: Counter,
    pub(crate) retries: Family<Retry, Counter>,
    requests: Family<ApiRequest, Histogram, fn() -> Histogram>,
}

/// Resources that the server asks for. Any other is `other`.
const RESOURCES: [&str; 12] = [
    "tkasignins",
    "serviceaccounts",
    "token",
    "clusterroles",
    "clusterrolebindings",
    "roles",
    "rolebindings",
    "leases",
    "events",
    "configmaps",
    "namespaces",
    "selfsubjectaccessreviews",
];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ApiRequest {
    verb: &'static str,
    resource: &'static str,
    code: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(crate) struct Retry {
    reason: RetryReason,
}

/// Why a request to the API server is sent again.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
pub(crate) enum RetryReason {
    /// The API server asked to wait.
    throttled,
    /// It answered that it failed.
    failed,
    /// No answer came.
    unanswered,
}

/// What a request to the API server is about, in words that are few.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct RequestLabels {
    pub(crate) verb: &'static str,
    pub(crate) resource: &'static str,
}

// === impl Metrics ===

impl Metrics {
    /// Metrics that are served from `registry`, under the names of the original TKA where it has them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            reconcile: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
            reconcile_errors: Counter::default(),
            retries: Family::default(),
            requests: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.002, 2.0, 13))),
        };
        for reason in [RetryReason::throttled, RetryReason::failed, RetryReason::unanswered] {
            drop(metrics.retries.get_or_create(&Retry { reason }));
        }
        registry.register(
            "tka_reconciler_duration",
            "How long reconciling one TkaSignin took, in seconds",
            metrics.reconcile.clone(),
        );
        registry.register(
            "tka_reconcile_errors",
            "Reconciles of a TkaSignin that failed and are tried again",
            metrics.reconcile_errors.clone(),
        );
        registry.register(
            "tka_api_server_request_duration_seconds",
            "How long the Kubernetes API server took to answer one try of a request; code is error where no answer came",
            metrics.requests.clone(),
        );
        registry.register(
            "tka_api_server_retries",
            "Requests that were sent to the Kubernetes API server once more, by why",
            metrics.retries.clone(),
        );
        metrics
    }

    /// Counts an answer to what was `asked`, with `status` or none, that took so long.
    pub(crate) fn answered(&self, asked: RequestLabels, status: Option<StatusCode>, took: Duration) {
        let code = status.map_or_else(|| "error".to_owned(), |status| status.as_str().to_owned());
        let RequestLabels { verb, resource } = asked;
        let labels = ApiRequest { verb, resource, code };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Has one series of each metric that has none before it is used: for the reference.
    pub fn touch(&self) {
        let asked = RequestLabels::of(&Method::GET, "/api", None);
        self.answered(asked, Some(StatusCode::OK), Duration::ZERO);
    }
}

// === impl Retry ===

impl Retry {
    /// That a request is sent again after an answer with `status`, or none.
    pub(crate) fn after(status: Option<StatusCode>) -> Self {
        let reason = match status {
            Some(StatusCode::TOO_MANY_REQUESTS) => RetryReason::throttled,
            Some(_) => RetryReason::failed,
            None => RetryReason::unanswered,
        };
        Self { reason }
    }
}

// === impl RequestLabels ===

impl RequestLabels {
    /// What a request with `method` for `path` and `query` is about: the last part of the path that names a resource.
    pub(crate) fn of(method: &Method, path: &str, query: Option<&str>) -> Self {
        let mut parts = path.rsplit('/');
        let resource = parts.find_map(|part| RESOURCES.into_iter().find(|known| *known == part));
        let is_watch = query.is_some_and(|query| query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1")));
        let verb = match *method {
            Method::GET if is_watch => "watch",
            Method::GET => "get",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE => "delete",
            _ => "other",
        };
        Self {
            verb,
            resource: resource.unwrap_or("other"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, path: &str, query: Option<&str>) -> (&'static str, &'static str) {
        let RequestLabels { verb, resource } = RequestLabels::of(method, path, query);
        (verb, resource)
    }

    #[test]
    fn requests_are_told_apart_by_few_words() {
        let signins = "/apis/tka.specht-labs.de/v1alpha1/namespaces/tka/tkasignins";
        assert_eq!(asked(&Method::GET, signins, None), ("get", "tkasignins"));
        assert_eq!(
            asked(&Method::GET, signins, Some("a=b&watch=true")),
            ("watch", "tkasignins")
        );
        let one = format!("{signins}/tka-alice-123/status");
        assert_eq!(asked(&Method::PATCH, &one, Some("watch=true")), ("patch", "tkasignins"));
        let token = "/api/v1/namespaces/tka/serviceaccounts/tka-alice/token";
        assert_eq!(asked(&Method::POST, token, None), ("create", "token"));
        let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/my-own";
        assert_eq!(asked(&Method::GET, role, None), ("get", "clusterroles"));
        assert_eq!(asked(&Method::GET, "/version", None), ("get", "other"));
        assert_eq!(asked(&Method::TRACE, "", None), ("other", "other"));
    }

    #[test]
    fn answers_and_retries_are_counted_by_what_came_of_them() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let asked = RequestLabels::of(&Method::GET, "/api/v1/configmaps", None);
        metrics.answered(asked, Some(StatusCode::NOT_FOUND), Duration::from_millis(3));
        metrics.answered(asked, None, Duration::from_secs(10));
        metrics.retries.get_or_create(&Retry::after(None)).inc();
        metrics
            .retries
            .get_or_create(&Retry::after(Some(StatusCode::TOO_MANY_REQUESTS)))
            .inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            r#"tka_api_server_request_duration_seconds_count{verb="get",resource="configmaps",code="404"} 1"#,
            r#"tka_api_server_request_duration_seconds_count{verb="get",resource="configmaps",code="error"} 1"#,
            r#"tka_api_server_request_duration_seconds_bucket{le="0.004",verb="get",resource="configmaps",code="404"} 1"#,
            r#"tka_api_server_retries_total{reason="unanswered"} 1"#,
            r#"tka_api_server_retries_total{reason="throttled"} 1"#,
            r#"tka_api_server_retries_total{reason="failed"} 0"#,
            "tka_reconcile_errors_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
