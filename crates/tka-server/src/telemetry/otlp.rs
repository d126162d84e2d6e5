//! Where traces are sent: to `otel.endpoint`, or where the standard variables of the environment say
//! (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).

use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;

use super::TelemetryError;
use super::sampler::RateLimitedSampler;
use crate::config::Otel;

/// How long a collector may take, unless the environment says so. Only the thread that sends waits for it; what is too much meanwhile is
/// dropped.
const EXPORT: Duration = Duration::from_secs(5);
/// The most of a collector's answer that is read.
const ANSWER: u64 = 1 << 20;

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];

/// A collector.
#[derive(Debug, Eq, PartialEq)]
enum Collector {
    /// Over gRPC, at that address or the one of the environment.
    Grpc(Option<String>),
    /// Over HTTP, at the address of the environment, in that encoding.
    Http(Protocol),
}

/// Posts to a collector from the thread that exports, and holds up nothing else.
#[derive(Debug)]
struct Post(ureq::Agent);

/// Sends traces to the collector, if one is configured. `variable` reads the environment.
pub(super) fn provider(
    otel: &Otel,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Option<SdkTracerProvider>, TelemetryError> {
    let Some(collector) = collector(otel, &variable)? else {
        return Ok(None);
    };
    let timeout = first(&variable, TIMEOUTS).and_then(|(_, timeout)| timeout.parse().ok());
    let timeout = timeout.map_or(EXPORT, Duration::from_millis);
    let exporter = match &collector {
        Collector::Grpc(endpoint) => {
            let builder = SpanExporter::builder().with_tonic().with_timeout(timeout);
            match endpoint {
                Some(endpoint) => builder.with_endpoint(endpoint),
                None => builder,
            }
            .build()
        }
        Collector::Http(encoding) => {
            let builder = SpanExporter::builder().with_http().with_timeout(timeout);
            let builder = builder.with_protocol(*encoding);
            builder
                .with_http_client(Post::new(timeout, ureq::Proxy::try_from_env()))
                .build()
        }
    };
    let exporter = exporter.map_err(|source| match &collector {
        Collector::Grpc(Some(_)) => TelemetryError::Endpoint {
            endpoint: otel.endpoint.clone(),
            source,
        },
        _ => TelemetryError::Environment(source),
    })?;
    let sampler = RateLimitedSampler::new(
        variable("OTEL_TRACES_SAMPLER").as_deref(),
        variable("OTEL_TRACES_SAMPLER_ARG").as_deref(),
    );
    let resource = Resource::builder();
    let resource = match variable("OTEL_SERVICE_NAME") {
        Some(_) => resource,
        None => resource.with_service_name("tka-server"),
    };
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler);
    Ok(Some(provider.with_resource(resource.build()).build()))
}

/// Which collector is meant, if any.
fn collector(otel: &Otel, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Collector>, TelemetryError> {
    let is = |name: &str, value: &str| variable(name).is_some_and(|said| said.eq_ignore_ascii_case(value));
    if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") {
        return Ok(None);
    }
    if !otel.endpoint.is_empty() {
        let scheme = if otel.insecure { "http" } else { "https" };
        let endpoint = format!("{scheme}://{}", otel.endpoint);
        return Ok(Some(Collector::Grpc(Some(endpoint))));
    }
    if first(&variable, ENDPOINTS).is_none() {
        return Ok(None);
    }
    match first(&variable, PROTOCOLS) {
        None => Ok(Some(Collector::Http(Protocol::HttpBinary))),
        Some((name, value)) => match value.as_str() {
            "http/protobuf" => Ok(Some(Collector::Http(Protocol::HttpBinary))),
            "http/json" => Ok(Some(Collector::Http(Protocol::HttpJson))),
            "grpc" => Ok(Some(Collector::Grpc(None))),
            _ => Err(TelemetryError::Protocol { name, value }),
        },
    }
}

/// The first variable of `names` that says something. An empty one counts as unset, as everywhere in OpenTelemetry.
fn first(variable: impl Fn(&str) -> Option<String>, names: [&'static str; 2]) -> Option<(&'static str, String)> {
    let said = |name| Some((name, variable(name).filter(|value| !value.is_empty())?));
    names.into_iter().find_map(said)
}

/// Whether `host` of a URL is this machine. An IPv6 address stands in brackets there.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

// === impl Post ===

impl Post {
    /// Posts through `proxy`, but not to this machine.
    fn new(timeout: Duration, proxy: Option<ureq::Proxy>) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .build();
        Self(config.into())
    }

    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.map(|body| body.to_vec());
        // A proxy's loopback is another machine's. Go's `net/http`, which most collectors' clients are, makes the same exception.
        let answer = if request.uri().host().is_some_and(is_loopback) {
            self.0.run(self.0.configure_request(request).proxy(None).build())?
        } else {
            self.0.run(request)?
        };
        let (parts, mut body) = answer.into_parts();
        let body = body.with_config().limit(ANSWER).read_to_vec()?;
        Ok(Response::from_parts(parts, body.into()))
    }
}

impl HttpClient for Post {
    fn send_bytes<'this, 'sent>(
        &'this self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'this: 'sent,
        Self: 'sent,
    {
        Box::pin(std::future::ready(self.send(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{Tracer as _, TracerProvider as _};
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::time::Instant;

    fn otel(endpoint: &str) -> Otel {
        let (endpoint, insecure) = (endpoint.into(), true);
        Otel { endpoint, insecure }
    }

    fn chosen(endpoint: &str, variables: &[(&str, &str)]) -> Result<Option<Collector>, TelemetryError> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        collector(&otel(endpoint), variable)
    }

    #[test]
    fn configuration_comes_first_and_then_the_environment() {
        const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        let own = || Some(Collector::Grpc(Some("http://otel:4317".into())));
        assert_eq!(chosen("", &[]).unwrap(), None);
        assert_eq!(chosen("otel:4317", &[AT]).unwrap(), own());
        let binary = || Some(Collector::Http(Protocol::HttpBinary));
        assert_eq!(chosen("", &[AT]).unwrap(), binary());
        let json = [AT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")];
        assert_eq!(chosen("", &json).unwrap(), Some(Collector::Http(Protocol::HttpJson)));
        assert_eq!(chosen("", &[AT, GRPC]).unwrap(), Some(Collector::Grpc(None)));
        assert_eq!(chosen("", &[GRPC]).unwrap(), None);
        assert_eq!(chosen("", &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap(), None);
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(chosen("otel:4317", &[AT, off]).unwrap(), None);
        }
        let error = chosen("", &[AT, ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "zipkin")]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=\"zipkin\"")
        );
    }

    /// What `config check` takes must not keep the server from starting.
    #[tokio::test]
    async fn every_address_that_the_configuration_takes_can_be_sent_to() {
        for endpoint in ["h", "otel:4317", "otel_collector.a-b:65535", "10.0.0.1", "[::1]:4317"] {
            for insecure in [true, false] {
                let text = serde_json::json!({"endpoint": endpoint, "insecure": insecure});
                let otel: Otel = serde_json::from_value(text).unwrap();
                let built = provider(&otel, |_| None);
                assert!(built.is_ok_and(|provider| provider.is_some()), "{endpoint}");
            }
        }
    }

    #[tokio::test]
    async fn address_that_is_none_is_said() {
        assert!(provider(&otel("127.0.0.1:4317"), |_| None).unwrap().is_some());
        let error = provider(&otel("not an address"), |_| None).unwrap_err().to_string();
        assert!(error.contains("\"not an address\""), "{error}");
    }

    /// A collector that takes a connection, and answers with what it is given or never.
    fn collector_at(answer: Option<&'static str>) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            while let Ok((mut stream, _)) = listener.accept() {
                let mut read = [0; 4096];
                let length = stream.read(&mut read).unwrap_or_default();
                let _ = sender.send(String::from_utf8_lossy(&read[..length]).into_owned());
                if let Some(answer) = answer {
                    let _ = stream.write_all(answer.as_bytes());
                }
                kept.push(stream);
            }
        });
        (url, receiver)
    }

    fn exporting(url: &str) -> SdkTracerProvider {
        let exporter = SpanExporter::builder().with_http().with_endpoint(url);
        let exporter = exporter.with_protocol(Protocol::HttpBinary);
        let exporter = exporter.with_http_client(Post::new(EXPORT, None)).build().unwrap();
        SdkTracerProvider::builder().with_batch_exporter(exporter).build()
    }

    #[test]
    fn spans_are_posted_from_a_thread_without_a_runtime() {
        let (url, received) = collector_at(Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        let provider = exporting(&url);
        provider.tracer("test").start("a");
        provider.force_flush().unwrap();
        let head = received.recv().unwrap().to_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    }

    #[test]
    fn collector_on_this_machine_is_not_asked_through_a_proxy() {
        let (url, received) = collector_at(Some("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let proxy = ureq::Proxy::new(&format!("http://{closed}")).unwrap();
        let post = Post::new(Duration::from_secs(5), Some(proxy));
        let to = |url: &str| Request::post(url).body(Bytes::from_static(b"x")).unwrap();
        assert_eq!(post.send(to(&url)).unwrap().status(), 200);
        assert!(received.recv().unwrap().starts_with("POST /v1/traces"));
        assert!(post.send(to("http://collector.test/v1/traces")).is_err());
        for (host, is) in [
            ("localhost", true),
            ("[::1]", true),
            ("127.8.0.1", true),
            ("10.0.0.1", false),
        ] {
            assert_eq!(is_loopback(host), is, "{host}");
        }
    }

    #[test]
    fn dead_collector_holds_up_neither_a_span_nor_for_long_the_end() {
        let (url, _received) = collector_at(None);
        let provider = exporting(&url);
        let began = Instant::now();
        for _ in 0..10_000 {
            provider.tracer("test").start("a");
        }
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let began = Instant::now();
        let limit = Duration::from_millis(300);
        assert!(provider.shutdown_with_timeout(limit).is_err());
        assert!(began.elapsed() < limit * 5, "{:?}", began.elapsed());
    }
}
