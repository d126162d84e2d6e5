//! To which trace a request belongs: what a caller says, and what the API server is told (<https://www.w3.org/TR/trace-context/>).

use axum::http::{HeaderMap, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceState};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

const TRACEPARENT: &str = "traceparent";

/// Makes `span` a part of the caller's trace, if `headers` name one. Whether it is recorded is not the caller's to say: the sampler decides.
pub fn continue_trace(span: &Span, headers: &HeaderMap) {
    // Two of them are none: it is not known which the caller means.
    if headers.get_all(TRACEPARENT).iter().count() != 1 {
        return;
    }
    let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    let parent = without_state(context.span().span_context());
    if parent.is_valid() {
        // Fails where traces are off.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// The same, without the caller's `tracestate`: that is free text, which would reach the collector and the API server.
fn without_state(parent: &SpanContext) -> SpanContext {
    let flags = parent.trace_flags();
    SpanContext::new(parent.trace_id(), parent.span_id(), flags, true, TraceState::default())
}

/// Writes into `headers` to which trace `span` belongs, if to any.
pub fn inject_trace(span: &Span, headers: &mut HeaderMap) {
    let context = span.context();
    let span = context.span();
    let of = span.span_context();
    if !of.is_valid() {
        return;
    }
    let flags = of.trace_flags().to_u8();
    let value = format!("00-{}-{}-{flags:02x}", of.trace_id(), of.span_id());
    if let Ok(value) = HeaderValue::from_str(&value) {
        headers.insert(TRACEPARENT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
    use tracing_subscriber::layer::SubscriberExt as _;

    const CALLERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    /// What the API server is told in a request with `headers`, and the parent's span ID as it is exported.
    fn told(headers: &[(&'static str, &str)]) -> (String, String) {
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(layer);
        let mut told = HeaderMap::new();
        tracing::subscriber::with_default(subscriber, || {
            let span = tracing::info_span!("request");
            let headers = headers
                .iter()
                .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
            continue_trace(&span, &headers.collect());
            let upstream = span.in_scope(|| tracing::info_span!("api_server_request"));
            inject_trace(&upstream, &mut told);
        });
        assert!(told.get("tracestate").is_none());
        let spans = exporter.get_finished_spans().unwrap();
        let request = spans.iter().find(|span| span.name == "request").unwrap();
        assert!(request.span_context.trace_state().header().is_empty());
        let traceparent = told["traceparent"].to_str().unwrap().to_owned();
        (traceparent, request.parent_span_id.to_string())
    }

    #[test]
    fn traceparent_is_forwarded_and_tracestate_is_not() {
        let (traceparent, parent) = told(&[("traceparent", CALLERS), ("tracestate", "alice=secret")]);
        assert!(
            traceparent.starts_with("00-0af7651916cd43dd8448eb211c80319c-"),
            "{traceparent}"
        );
        assert!(!traceparent.contains("b7ad6b7169203331"));
        assert_eq!(parent, "b7ad6b7169203331");
    }

    #[test]
    fn what_is_no_trace_context_begins_a_trace_of_its_own() {
        let long = "0".repeat(10_000);
        for odd in [
            "",
            "00",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319Cx-b7ad6b7169203331-01",
            &long,
        ] {
            let (traceparent, parent) = told(&[("traceparent", odd)]);
            assert!(!traceparent.contains("0af7651916cd43dd8448eb211c80319c"), "{odd}");
            assert_eq!(parent, "0000000000000000", "{odd}");
        }
        let (_, parent) = told(&[("traceparent", CALLERS), ("traceparent", CALLERS)]);
        assert_eq!(parent, "0000000000000000");
    }

    #[test]
    fn without_traces_the_api_server_is_told_nothing() {
        let (span, mut told) = (tracing::info_span!("request"), HeaderMap::new());
        inject_trace(&span, &mut told);
        assert!(told.is_empty());
    }
}
