//! The trace that this command's requests belong to (<https://www.w3.org/TR/trace-context/>), where the user asks for one. They ask by the
//! address of a collector in `OTEL_EXPORTER_OTLP_ENDPOINT`, or by a `TRACEPARENT` of the program that runs this one.
//!
//! It is made by hand: the SDK of OpenTelemetry is larger than this program, and there are few spans.

use std::fmt::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::net::proxy;
use crate::net::server::{HTTPS_PORT, Server};
use crate::sys::environment::variable;

/// How long the collector may hold up the end of a command. It may be dead.
const EXPORT: Duration = Duration::from_millis(500);
/// The most requests that are kept for the collector.
const REQUESTS: usize = 64;

/// The trace of this process. None if none is asked for.
static TRACE: OnceLock<Option<Trace>> = OnceLock::new();

#[derive(Debug)]
struct Trace {
    parent: Parent,
    /// The span of this command.
    span_id: String,
    /// Where spans are posted.
    collector: Option<String>,
    began: SystemTime,
    requests: Mutex<Vec<Value>>,
}

/// What this command is a part of.
#[derive(Debug, Eq, PartialEq)]
struct Parent {
    trace_id: String,
    /// The span of the program that runs this one.
    span_id: Option<String>,
    flags: String,
}

/// One request that goes on.
#[derive(Debug)]
pub(crate) struct RequestSpan {
    trace: &'static Trace,
    span_id: String,
    name: String,
    began: SystemTime,
}

/// Begins the span of a request, if this command is traced. `method` and `path` name the operation, and no user or session.
pub(crate) fn begin(method: &str, path: &str) -> Option<RequestSpan> {
    let trace = TRACE.get_or_init(|| Trace::new(variable, SystemTime::now())).as_ref()?;
    Some(RequestSpan {
        trace,
        span_id: random_hex(8)?,
        name: format!("{method} {path}"),
        began: SystemTime::now(),
    })
}

/// Posts the spans of this command to the collector, if there were any. What the collector does not take in time is lost.
pub(crate) fn export() {
    let Some(Some(trace)) = TRACE.get() else {
        return;
    };
    let (Some(collector), Some(document)) = (&trace.collector, trace.document(SystemTime::now())) else {
        return;
    };
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(EXPORT))
        .proxy(proxy(collector, variable))
        .max_redirects(0)
        .build();
    let _ = ureq::Agent::from(config).post(collector).send_json(document);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut digits, byte| {
        // Writing into a string does not fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

/// The proxy that leads to `collector`, by the same rules as to a server: none to this machine itself.
fn proxy(collector: &str, variable: impl Fn(&str) -> Option<String>) -> Option<ureq::Proxy> {
    let server = Server::new(collector, HTTPS_PORT, None).ok()?;
    let chosen = proxy::for_server(&server, None, &variable).ok()??;
    Some(chosen.proxy)
}

/// Random bytes in hexadecimal digits. All zeros would be no ID; that they are is as likely as to guess one.
fn random_hex(bytes: usize) -> Option<String> {
    let mut random = [0; 16];
    let random = random.get_mut(..bytes)?;
    getrandom::fill(random).ok()?;
    Some(hex(random))
}

// === impl Trace ===

impl Trace {
    fn new(variable: impl Fn(&str) -> Option<String>, now: SystemTime) -> Option<Self> {
        let parent = variable("TRACEPARENT").as_deref().and_then(Parent::parse);
        let collector = collector(&variable);
        let parent = match (parent, &collector) {
            (Some(parent), _) => parent,
            (None, Some(_)) => Parent::root()?,
            (None, None) => return None,
        };
        Some(Self {
            parent,
            span_id: random_hex(8)?,
            collector,
            began: now,
            requests: Mutex::default(),
        })
    }

    /// The spans, as OTLP has them in JSON (<https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>). None if there was no request, or
    /// if the program that runs this one does not want spans.
    fn document(&self, now: SystemTime) -> Option<Value> {
        let mut spans = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if spans.is_empty() || !self.parent.is_sampled() {
            return None;
        }
        spans.push(json!({
            "traceId": self.parent.trace_id, "spanId": self.span_id,
            "parentSpanId": self.parent.span_id.as_deref().unwrap_or_default(),
            "name": "tka", "kind": 1,
            "startTimeUnixNano": nanoseconds(self.began), "endTimeUnixNano": nanoseconds(now),
        }));
        let service = json!([{"key": "service.name", "value": {"stringValue": "tka"}}]);
        let scope = json!({"name": "tka", "version": env!("CARGO_PKG_VERSION")});
        Some(json!({"resourceSpans": [{
            "resource": {"attributes": service},
            "scopeSpans": [{"scope": scope, "spans": spans}],
        }]}))
    }
}

/// Where the standard variables say that spans go, if they may be sent over HTTP.
fn collector(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let said = |name: &str| variable(name).filter(|value| !value.is_empty());
    let is_off = said("OTEL_SDK_DISABLED").is_some_and(|off| off.eq_ignore_ascii_case("true"))
        || said("OTEL_TRACES_EXPORTER").is_some_and(|exporter| exporter == "none");
    let is_grpc = said("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL").or_else(|| said("OTEL_EXPORTER_OTLP_PROTOCOL"));
    if is_off || is_grpc.is_some_and(|protocol| protocol == "grpc") {
        return None;
    }
    let traces = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
    traces.or_else(|| {
        let base = said("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        Some(format!("{}/v1/traces", base.trim_end_matches('/')))
    })
}

fn nanoseconds(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

// === impl Parent ===

impl Parent {
    fn root() -> Option<Self> {
        Some(Self {
            trace_id: random_hex(16)?,
            span_id: None,
            flags: "01".to_owned(),
        })
    }

    /// What `traceparent` says, in version 00.
    fn parse(traceparent: &str) -> Option<Self> {
        let parts: Vec<_> = traceparent.split('-').collect();
        let ["00", trace_id, span_id, flags] = parts[..] else {
            return None;
        };
        let is_hex = |text: &str, digits: usize| {
            text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_id = |text: &str, digits: usize| is_hex(text, digits) && text.bytes().any(|byte| byte != b'0');
        (is_id(trace_id, 32) && is_id(span_id, 16) && is_hex(flags, 2)).then(|| Self {
            trace_id: trace_id.to_owned(),
            span_id: Some(span_id.to_owned()),
            flags: flags.to_owned(),
        })
    }

    fn is_sampled(&self) -> bool {
        u8::from_str_radix(&self.flags, 16).is_ok_and(|flags| flags & 1 == 1)
    }
}

// === impl RequestSpan ===

impl RequestSpan {
    /// The value of the header `traceparent`.
    pub(crate) fn header(&self) -> String {
        let Parent { trace_id, flags, .. } = &self.trace.parent;
        format!("00-{trace_id}-{}-{flags}", self.span_id)
    }

    /// Ends it, with the `status` of the response if one came.
    pub(crate) fn end(self, status: Option<u16>) {
        let mut requests = self.trace.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if self.trace.collector.is_none() || requests.len() >= REQUESTS {
            return;
        }
        let attributes =
            status.map(|status| json!({"key": "http.response.status_code", "value": {"intValue": status.to_string()}}));
        let code = if status.is_some_and(|status| status < 400) {
            0
        } else {
            2
        };
        requests.push(json!({
            "traceId": self.trace.parent.trace_id, "spanId": self.span_id, "parentSpanId": self.trace.span_id,
            "name": self.name, "kind": 3,
            "startTimeUnixNano": nanoseconds(self.began), "endTimeUnixNano": nanoseconds(SystemTime::now()),
            "attributes": attributes.into_iter().collect::<Vec<_>>(),
            "status": {"code": code},
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const AT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/");

    fn trace(variables: &[(&str, &str)]) -> Option<Trace> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(found, _)| *found == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Trace::new(variable, UNIX_EPOCH)
    }

    #[test]
    fn trace_is_only_there_where_it_is_asked_for() {
        assert!(trace(&[]).is_none());
        assert!(trace(&[("TRACEPARENT", "nonsense")]).is_none());
        assert!(trace(&[AT, ("OTEL_SDK_DISABLED", "true")]).is_none());
        assert!(trace(&[AT, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).is_none());
        let own = trace(&[AT]).unwrap();
        assert_eq!(own.collector.as_deref(), Some("http://127.0.0.1:4318/v1/traces"));
        assert_ne!(own.parent.trace_id, trace(&[AT]).unwrap().parent.trace_id);
        let given = trace(&[("TRACEPARENT", GIVEN)]).unwrap();
        assert_eq!(given.parent.trace_id, "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(given.collector, None);
    }

    #[test]
    fn collector_on_this_machine_is_reached_without_a_proxy() {
        let variable = |name: &str| (name == "HTTP_PROXY").then(|| "http://127.0.0.1:1".to_owned());
        let led = |collector: &str| proxy(collector, variable).is_some();
        assert!(!led("http://127.0.0.1:4318/v1/traces") && !led("http://localhost:4318/v1/traces"));
        assert!(led("http://otel.example.com:4318/v1/traces"));
        assert!(!led("https://otel.example.com/v1/traces"), "HTTPS_PROXY is not set");
    }

    #[test]
    fn parent_is_read_strictly() {
        assert!(Parent::parse(GIVEN).unwrap().is_sampled());
        assert!(!Parent::parse(&GIVEN.replace("-01", "-00")).unwrap().is_sampled());
        for odd in [
            "",
            "00",
            &GIVEN.replace("00-0", "ff-0"),
            &GIVEN.replace('a', "A"),
            &GIVEN.replace("b7ad6b7169203331", "0000000000000000"),
            &GIVEN.replace("-01", "-01-x"),
            &GIVEN.replace("-01", "-01\r\nx: y"),
        ] {
            assert_eq!(Parent::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn spans_of_requests_hang_on_that_of_the_command() {
        let trace: &'static Trace = Box::leak(Box::new(trace(&[AT, ("TRACEPARENT", GIVEN)]).unwrap()));
        assert_eq!(trace.document(UNIX_EPOCH), None);
        let span = RequestSpan {
            trace,
            span_id: "00000000000000aa".into(),
            name: "POST /login".into(),
            began: UNIX_EPOCH,
        };
        assert_eq!(span.header(), "00-0af7651916cd43dd8448eb211c80319c-00000000000000aa-01");
        span.end(Some(403));
        let document = trace.document(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        let spans = &document["resourceSpans"][0]["scopeSpans"][0]["spans"];
        assert_eq!(spans[0]["parentSpanId"], spans[1]["spanId"]);
        assert_eq!(spans[0]["status"]["code"], 2);
        assert_eq!(spans[1]["parentSpanId"], "b7ad6b7169203331");
        assert_eq!(spans[1]["endTimeUnixNano"], "1000000000");
    }
}
