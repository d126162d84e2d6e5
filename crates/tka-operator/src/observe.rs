//! Every try of a request to the API server is timed, and is a span of the trace that it belongs to.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderMap, Request, Response};
use kube::client::Body;
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use crate::metrics::{Metrics, RequestLabels};

/// Writes into the headers of a request to which trace it belongs (W3C Trace Context), if to any.
pub type InjectTrace = fn(&Span, &mut HeaderMap);

/// Observes what goes through the service below it.
#[derive(Clone)]
pub(crate) struct Observe {
    pub(crate) metrics: Metrics,
    pub(crate) inject: InjectTrace,
}

/// A service whose requests are observed.
#[derive(Clone)]
pub(crate) struct ObservedService<S> {
    inner: S,
    with: Observe,
}

// === impl Observe ===

impl<S> Layer<S> for Observe {
    type Service = ObservedService<S>;

    fn layer(&self, inner: S) -> ObservedService<S> {
        ObservedService {
            inner,
            with: self.clone(),
        }
    }
}

// === impl ObservedService ===

impl<S, B> Service<Request<Body>> for ObservedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let uri = request.uri();
        let asked = RequestLabels::of(request.method(), uri.path(), uri.query());
        let span = span(asked, request.method().as_str());
        (self.with.inject)(&span, request.headers_mut());
        let (metrics, began) = (self.with.metrics.clone(), Instant::now());
        let answer = self.inner.call(request);
        let observed = async move {
            let answer = answer.await;
            let status = answer.as_ref().ok().map(Response::status);
            metrics.answered(asked, status, began.elapsed());
            let span = Span::current();
            match status {
                Some(status) => span.record("http.response.status_code", status.as_u16()),
                None => span.record("error.type", "unanswered"),
            };
            if status.is_none_or(|status| status.is_server_error()) {
                span.record("otel.status_code", "ERROR");
            }
            answer
        };
        Box::pin(observed.instrument(span))
    }
}

/// One try. A watch has none: it lasts as long as the server. Nor has what the server does all the time, such as keeping its Lease. That is part
/// of no trace, and each try would be a trace of its own. The span has neither path nor query, because names of people are in these.
fn span(asked: RequestLabels, method: &str) -> Span {
    let RequestLabels { verb, resource } = asked;
    if verb == "watch" || Span::current().is_none() {
        return Span::none();
    }
    tracing::info_span!(
        "api_server_request",
        otel.name = %format_args!("{verb} {resource}"),
        otel.kind = "client",
        otel.status_code = field::Empty,
        http.request.method = method,
        http.response.status_code = field::Empty,
        error.r#type = field::Empty,
    )
}
