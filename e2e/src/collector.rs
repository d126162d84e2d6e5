//! A collector of traces (<https://opentelemetry.io/docs/specs/otlp/>): what a server sends it over gRPC, and `tka` over HTTP in JSON.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span as ProtoSpan};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;

use crate::Outcome;

/// Where a server sends spans.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// What precedes a message of gRPC: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;

/// A collector. It ends with this.
#[derive(Debug)]
pub struct Collector {
    grpc: SocketAddr,
    http: SocketAddr,
    spans: Spans,
    /// What serves, which ends with this.
    runtime: Runtime,
}

type Spans = Arc<Mutex<Vec<Span>>>;

/// A span that came.
#[derive(Clone, Debug)]
pub struct Span {
    /// Which program sent it.
    pub service: String,
    /// What it calls the operation.
    pub name: String,
    /// Its trace, in hexadecimal digits.
    pub trace: String,
    /// Its ID, in hexadecimal digits.
    pub id: String,
    /// The ID of the span that it is a part of; empty for none.
    pub parent: String,
    /// All that it says, to look for words in.
    pub text: String,
}

// === impl Collector ===

impl Collector {
    /// Starts one.
    pub fn start() -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let spans = Spans::default();
        let [grpc, http] = [(), ()].map(|()| runtime.block_on(TcpListener::bind("127.0.0.1:0")));
        let (grpc, http) = (grpc?, http?);
        let collector = Self {
            grpc: grpc.local_addr()?,
            http: http.local_addr()?,
            spans: Arc::clone(&spans),
            runtime,
        };
        collector
            .runtime
            .spawn(accept(grpc, Arc::clone(&spans), |stream, spans| {
                let service = service_fn(move |request| take_grpc(request, Arc::clone(&spans)));
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                drop(tokio::spawn(connection));
            }));
        collector.runtime.spawn(accept(http, spans, |stream, spans| {
            let service = service_fn(move |request| take_json(request, Arc::clone(&spans)));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(tokio::spawn(connection));
        }));
        Ok(collector)
    }

    /// `HOST:PORT`, for gRPC.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.grpc.to_string()
    }

    /// The URL for HTTP, as the variables of the environment have it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// All spans that came.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, spans: Spans, serve: impl Fn(TcpStream, Spans)) {
    while let Ok((stream, _)) = listener.accept().await {
        serve(stream, Arc::clone(&spans));
    }
}

async fn take_grpc(
    request: Request<Incoming>,
    spans: Spans,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, hyper::Error> {
    let is_export = request.uri().path() == EXPORT;
    let body = request.into_body().collect().await?.to_bytes();
    let message = body.get(PREFIX_BYTES..).unwrap_or_default();
    let taken = ExportTraceServiceRequest::decode(message);
    // Of gRPC: no error, or that it is not implemented, or that the argument is invalid.
    let status = match (is_export, taken) {
        (true, Ok(taken)) => {
            keep(&spans, taken);
            "0"
        }
        (false, _) => "12",
        (true, Err(_)) => "3",
    };
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static(status));
    let empty = Bytes::from_static(&[0; PREFIX_BYTES]);
    let frames = [Ok(Frame::data(empty)), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(StreamBody::new(stream::iter(frames)));
    let grpc = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(CONTENT_TYPE, grpc);
    Ok(response)
}

async fn take_json(request: Request<Incoming>, spans: Spans) -> Result<Response<String>, hyper::Error> {
    let is_export = request.method() == "POST" && request.uri().path() == "/v1/traces";
    let body = request.into_body().collect().await?.to_bytes();
    let mut response = Response::new("{}".to_owned());
    match serde_json::from_slice(&body) {
        Ok(taken) if is_export => keep(&spans, taken),
        _ => *response.status_mut() = StatusCode::BAD_REQUEST,
    }
    Ok(response)
}

fn keep(spans: &Spans, taken: ExportTraceServiceRequest) {
    let taken = taken.resource_spans.into_iter().flat_map(of_resource);
    spans.lock().unwrap_or_else(PoisonError::into_inner).extend(taken);
}

fn of_resource(of: ResourceSpans) -> Vec<Span> {
    let attributes = of.resource.iter().flat_map(|resource| &resource.attributes);
    let mut names = attributes.filter(|attribute| attribute.key == "service.name");
    let name = names.next().and_then(|attribute| attribute.value.clone()?.value);
    let service = match name {
        Some(Value::StringValue(name)) => name,
        _ => String::new(),
    };
    let spans = of.scope_spans.into_iter().flat_map(|scope| scope.spans);
    spans.map(|span| Span::new(&service, span)).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing into a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

// === impl Span ===

impl Span {
    fn new(service: &str, span: ProtoSpan) -> Self {
        Self {
            service: service.to_owned(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            text: format!("{span:?}"),
            name: span.name,
        }
    }

    /// Whether it is a part of `other`, through others of `all` or without.
    #[must_use]
    pub fn is_within(&self, other: &Self, all: &[Self]) -> bool {
        self.parent == other.id || {
            let mut parents = all
                .iter()
                .filter(|span| !self.parent.is_empty() && span.id == self.parent);
            parents.any(|parent| parent.is_within(other, all))
        }
    }
}
