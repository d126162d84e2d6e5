//! One span a request, and how long it took, named as the conventions for HTTP servers have it
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>).

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::{Instrument, field};

use crate::answer::RefusalKind;
use crate::metrics::{Metrics, method_label};
use crate::telemetry::continue_trace;

/// Traces and times a request. Of what the caller sends only its route is in the span, and its method if that is one of HTTP's.
pub(super) async fn traced(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map(MatchedPath::as_str);
    let method = request.method().clone();
    let name = method_label(&method);
    let span = tracing::info_span!(
        "request",
        otel.name = %format_args!("{name} {}", route.unwrap_or("other")),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = name,
        http.route = route,
        http.response.status_code = field::Empty,
        tka.refusal = field::Empty,
    );
    continue_trace(&span, request.headers());
    // So that a request that a client misses can be told from one that never arrived.
    tracing::debug!(parent: &span, "request received");
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if let Some(RefusalKind(kind)) = response.extensions().get() {
        span.record("tka.refusal", kind);
    }
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let took = began.elapsed();
    tracing::debug!(parent: &span, status = status.as_u16(), ?took, "request answered");
    metrics.answered(&method, route, status, took);
    response
}
