//! What the gateway carries. Its labels are classes of verbs and status codes: what is asked for is in the audit log, and no path or name is here.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tka_gateway::{CutKind, RequestInfo};
use tka_recording::Outcome;

use super::labels::code_label;

/// What is counted of the requests that the gateway carries.
#[derive(Clone, Debug)]
pub struct GatewayMetrics {
    requests: Family<Request, Counter>,
    open: Family<VerbClassLabels, Gauge>,
    bytes: Family<Bytes, Counter>,
    cuts: Family<Cut, Counter>,
    recordings: Family<Recorded, Counter>,
}

/// A request that is being carried. Dropping this counts that it is over.
#[derive(Debug)]
pub struct InFlightRequest {
    metrics: GatewayMetrics,
    verb: Class,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Request {
    verb: Class,
    code: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct VerbClassLabels {
    verb: Class,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Bytes {
    direction: Direction,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Cut {
    reason: CutReason,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Recorded {
    outcome: RecordingOutcome,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
enum RecordingOutcome {
    /// It is whole.
    whole,
    /// It is not, or could not begin.
    incomplete,
    /// Its stream did not begin.
    discarded,
}

/// What kind of request it is.
#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
enum Class {
    /// It reads once.
    read,
    /// It reads until it is ended.
    watch,
    /// It changes something.
    write,
    /// It is a way into a pod or node, such as exec.
    stream,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
enum Direction {
    /// From the caller.
    sent,
    /// To the caller.
    received,
}

#[derive(Clone, Copy, Debug, EncodeLabelValue, Eq, Hash, PartialEq)]
#[expect(non_camel_case_types, reason = "label values are written like this")]
enum CutReason {
    /// The session ended.
    session_ended,
    /// It is not known whether it stands.
    silence,
    /// The server stops.
    shutdown,
    /// It must be recorded, and cannot be any further.
    unrecorded,
}

// === impl GatewayMetrics ===

impl Default for GatewayMetrics {
    /// Series that are few are there from the start: an increase from nothing to one is none to Prometheus.
    fn default() -> Self {
        let metrics = Self {
            requests: Family::default(),
            open: Family::default(),
            bytes: Family::default(),
            cuts: Family::default(),
            recordings: Family::default(),
        };
        for verb in [Class::read, Class::watch, Class::write, Class::stream] {
            drop(metrics.open.get_or_create(&VerbClassLabels { verb }));
        }
        for direction in [Direction::sent, Direction::received] {
            drop(metrics.bytes.get_or_create(&Bytes { direction }));
        }
        for reason in [
            CutReason::session_ended,
            CutReason::silence,
            CutReason::shutdown,
            CutReason::unrecorded,
        ] {
            drop(metrics.cuts.get_or_create(&Cut { reason }));
        }
        for outcome in [Outcome::Whole, Outcome::Incomplete, Outcome::Discarded] {
            drop(metrics.recordings.get_or_create(&Recorded::from(outcome)));
        }
        metrics
    }
}

impl GatewayMetrics {
    /// Serves them from `registry`.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tka_gateway_requests",
            "Requests that the gateway carried and that are over, by class of verb and status code; code is error where no answer came",
            self.requests.clone(),
        );
        registry.register(
            "tka_gateway_requests_open",
            "Requests, watches and streams that the gateway carries now, by class of verb",
            self.open.clone(),
        );
        registry.register(
            "tka_gateway_bytes",
            "Bytes of bodies and streams that are over, from the caller (sent) and to the caller (received)",
            self.bytes.clone(),
        );
        registry.register(
            "tka_gateway_cuts",
            "Requests, watches and streams that the gateway cut, by why",
            self.cuts.clone(),
        );
        registry.register(
            "tka_gateway_recordings",
            "Recordings of exec and attach that are over: whole, incomplete, or discarded because the stream did not begin",
            self.recordings.clone(),
        );
    }

    /// Counts a recording that is over.
    pub fn recorded(&self, outcome: Outcome) {
        self.recordings.get_or_create(&Recorded::from(outcome)).inc();
    }

    /// Counts a request from now on as one that is being carried.
    #[must_use]
    pub fn begins(&self, request: &RequestInfo, is_stream: bool) -> InFlightRequest {
        let verb = Class::of(request, is_stream);
        self.open.get_or_create(&VerbClassLabels { verb }).inc();
        let metrics = self.clone();
        InFlightRequest { metrics, verb }
    }

    /// Counts as many requests that are cut.
    pub fn cut(&self, kind: CutKind, requests: usize) {
        let reason = match kind {
            CutKind::Ended => CutReason::session_ended,
            CutKind::Unknown => CutReason::silence,
            CutKind::Stop => CutReason::shutdown,
            CutKind::Unrecorded => CutReason::unrecorded,
        };
        let requests = u64::try_from(requests).unwrap_or(u64::MAX);
        self.cuts.get_or_create(&Cut { reason }).inc_by(requests);
    }
}

// === impl Recorded ===

impl From<Outcome> for Recorded {
    fn from(outcome: Outcome) -> Self {
        let outcome = match outcome {
            Outcome::Whole => RecordingOutcome::whole,
            Outcome::Incomplete => RecordingOutcome::incomplete,
            Outcome::Discarded => RecordingOutcome::discarded,
        };
        Self { outcome }
    }
}

// === impl Class ===

impl Class {
    fn of(request: &RequestInfo, is_stream: bool) -> Self {
        if is_stream {
            return Self::stream;
        }
        match request.verb.as_str() {
            "watch" => Self::watch,
            _ if request.is_read() => Self::read,
            _ => Self::write,
        }
    }
}

// === impl InFlightRequest ===

impl InFlightRequest {
    /// Counts it as over, with the status of its answer if there was one, and its bytes from the caller and to the caller.
    pub fn over(self, status: Option<u16>, [sent, received]: [u64; 2]) {
        let (metrics, verb) = (&self.metrics, self.verb);
        let code = status.map_or("error", code_label);
        metrics.requests.get_or_create(&Request { verb, code }).inc();
        for (direction, bytes) in [(Direction::sent, sent), (Direction::received, received)] {
            metrics.bytes.get_or_create(&Bytes { direction }).inc_by(bytes);
        }
    }
}

impl Drop for InFlightRequest {
    fn drop(&mut self) {
        self.metrics
            .open
            .get_or_create(&VerbClassLabels { verb: self.verb })
            .dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Method;
    use tka_gateway::Target;

    fn info(method: &Method, path: &str) -> RequestInfo {
        let target = Target::parse(&format!("/k8s{path}").parse().unwrap()).unwrap();
        RequestInfo::new(method, &target)
    }

    fn text(metrics: &GatewayMetrics) -> String {
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    }

    #[test]
    fn requests_are_counted_by_class_and_never_by_name() {
        let metrics = GatewayMetrics::default();
        let secret = "/api/v1/namespaces/of-alice/secrets/of-alice";
        let asked = [
            (Method::GET, secret.to_owned(), false),
            (Method::DELETE, secret.to_owned(), false),
            (Method::GET, "/api/v1/secrets?watch=true".to_owned(), false),
            (Method::GET, "/api/v1/namespaces/of-alice/pods/a/exec".to_owned(), true),
            (Method::from_bytes(b"OF-ALICE").unwrap(), "/of-alice".to_owned(), false),
        ];
        let begin = || {
            asked
                .iter()
                .map(|(method, path, is_stream)| metrics.begins(&info(method, path), *is_stream))
        };
        let open: Vec<_> = begin().collect();
        for under_way in begin() {
            under_way.over(Some(200), [1, 10]);
        }
        metrics.begins(&info(&Method::GET, secret), false).over(None, [0, 0]);
        metrics
            .begins(&info(&Method::GET, secret), false)
            .over(Some(799), [0, 0]);
        let during = text(&metrics);
        drop(open);
        let after = text(&metrics);
        for line in [
            r#"tka_gateway_requests_total{verb="read",code="200"} 1"#,
            r#"tka_gateway_requests_total{verb="read",code="error"} 1"#,
            r#"tka_gateway_requests_total{verb="read",code="other"} 1"#,
            r#"tka_gateway_requests_total{verb="watch",code="200"} 1"#,
            r#"tka_gateway_requests_total{verb="write",code="200"} 2"#,
            r#"tka_gateway_requests_total{verb="stream",code="200"} 1"#,
            r#"tka_gateway_bytes_total{direction="sent"} 5"#,
            r#"tka_gateway_bytes_total{direction="received"} 50"#,
            r#"tka_gateway_requests_open{verb="write"} 2"#,
        ] {
            assert!(during.lines().any(|found| found == line), "{line} in {during}");
        }
        assert!(
            after.contains(r#"tka_gateway_requests_open{verb="write"} 0"#),
            "{after}"
        );
        assert!(!after.to_lowercase().contains("of-alice"), "{after}");
    }

    #[test]
    fn cuts_are_counted_by_reason() {
        let metrics = GatewayMetrics::default();
        metrics.cut(CutKind::Ended, 2);
        metrics.cut(CutKind::Stop, 0);
        let text = text(&metrics);
        for line in [
            r#"tka_gateway_cuts_total{reason="session_ended"} 2"#,
            r#"tka_gateway_cuts_total{reason="silence"} 0"#,
            r#"tka_gateway_cuts_total{reason="shutdown"} 0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
