//! A request that was sent on, until it is over: its answer, or the stream that it opens.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::{HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tka_gateway::body::BoxBody;
use tka_gateway::websocket::Channels;
use tka_gateway::{
    CutKind, Gate, LastUse, StopReason, Stream, Tap, gated_body, headers, recordable, relay, with_stall_timeout,
};
use tokio::time::timeout;

use super::record::RequestRecord;
use super::recording::Recording;
use crate::App;
use crate::answer::Failure;

/// The longest refusal of an upgrade that is read, in bytes.
const REFUSAL: usize = 64 * 1024;
/// How long it may take to come.
const REFUSAL_TIME: Duration = Duration::from_secs(10);

/// What goes with a request until it is over.
pub(super) struct ProxiedRequest<K> {
    pub(super) gate: Gate,
    pub(super) record: RequestRecord,
    pub(super) recording: Option<Recording>,
    /// When the session was last used.
    pub(super) last_use: LastUse,
    /// For how long nothing of the answer may be read.
    pub(super) unread: Option<Duration>,
    /// What is given back then.
    pub(super) kept: K,
}

// === impl ProxiedRequest ===

impl<K: Send + 'static> ProxiedRequest<K> {
    /// The API server answered a request to upgrade.
    pub(super) async fn upgraded(
        mut self,
        app: &App,
        answer: HttpResponse<Incoming>,
        caller: OnUpgrade,
        is_exec: bool,
    ) -> Result<Response, Failure> {
        let is_required = self.recording.as_ref().is_some_and(Recording::is_required);
        if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            self.unrecorded();
            if is_required {
                let (answer, message) = self.gate.run(refusal(answer)).await.map_err(stop_failure)?;
                let mut answer = self.finish(answer);
                answer.extensions_mut().insert(Refused(message));
                return Ok(answer);
            }
            return Ok(self.finish(answer.map(|body| body.map_err(Into::into).boxed_unsync())));
        }
        if !recordable::is_recordable_response(&answer) {
            if is_required {
                // The command may run until the connection ends, and nothing of it is seen.
                self.unanswered(&"the API server speaks what cannot be recorded");
                let advice = &["ask an administrator of the cluster which Kubernetes it is"];
                let message = "this must be recorded, and the API server speaks what cannot be";
                return Err(Failure::new(StatusCode::BAD_GATEWAY, message, advice));
            }
            self.unrecorded();
        }
        Ok(self.switch(app, answer, caller, is_exec))
    }

    /// The stream does not open, or is not recorded: what there is of a recording goes.
    fn unrecorded(&mut self) {
        if let Some(recording) = self.recording.take() {
            recording.discard();
            self.record.not_recorded();
        }
    }

    /// It is not known what came of the request, and why not.
    pub(super) fn unanswered(&mut self, why: &dyn std::fmt::Display) {
        self.record.set_cause(why);
        if let Some(recording) = &self.recording {
            recording.unanswered(why);
        }
    }

    /// The answer, whose body moves while the session's bytes may. Its record is written when it has.
    pub(super) fn finish(mut self, answer: HttpResponse<BoxBody>) -> Response {
        self.unrecorded();
        let (mut head, body) = answer.into_parts();
        headers::answer(&mut head.headers, false);
        self.record.answered(head.status);
        let received = self.record.received().clone();
        if http_body::Body::is_end_stream(&body) {
            return Response::from_parts(head, Body::empty());
        }
        let body = gated_body(body, self.gate, received, (self.record, self.kept));
        let body = match self.unread {
            Some(limit) => with_stall_timeout(body, limit),
            None => body,
        };
        Response::from_parts(head, Body::new(body))
    }

    /// The answer 101, and from then on a relay between the two upgraded connections.
    fn switch(mut self, app: &App, mut answer: HttpResponse<Incoming>, caller: OnUpgrade, is_exec: bool) -> Response {
        self.record.answered(answer.status());
        let recording = self.recording.map(Arc::new);
        let stream = Stream {
            gate: self.gate,
            websocket: websocket(&answer, is_exec),
            tap: recording.clone().map(|recording| recording as Arc<dyn Tap>),
            sent: self.record.sent().clone(),
            received: self.record.received().clone(),
            last_use: self.last_use,
        };
        let upstream = hyper::upgrade::on(&mut answer);
        let (mut record, kept, metrics) = (self.record, self.kept, app.metrics.clone());
        app.tasks.spawn(async move {
            let _kept = kept;
            let Ok((caller, upstream)) = futures::future::try_join(caller, upstream).await else {
                return;
            };
            let cut = relay(TokioIo::new(caller), TokioIo::new(upstream), stream).await;
            if let Some(recording) = recording {
                if let Some(failure) = recording.failure() {
                    record.set_cause(&failure);
                }
                recording.end(cut.as_ref());
            }
            if let Some(why) = cut {
                // All others are counted where they are decided, by session.
                if why.kind() == CutKind::Unrecorded {
                    metrics.gateway.cut(why.kind(), 1);
                }
                record.set_cause(&why);
            }
        });
        let (mut head, _) = answer.into_parts();
        headers::answer(&mut head.headers, true);
        Response::from_parts(head, Body::empty())
    }
}

/// Why the API server refused an upgrade, beside its answer: its client asks once more.
#[derive(Clone, Debug)]
pub(super) struct Refused(pub(super) String);

/// The answer with all of its body, and what it says. A body that is too long for a `Status` is left out.
async fn refusal(answer: HttpResponse<Incoming>) -> (HttpResponse<BoxBody>, String) {
    let (mut head, body) = answer.into_parts();
    let body = timeout(REFUSAL_TIME, Limited::new(body, REFUSAL).collect()).await;
    let body = body
        .ok()
        .and_then(Result::ok)
        .map(Collected::to_bytes)
        .unwrap_or_default();
    let status: Value = serde_json::from_slice(&body).unwrap_or_default();
    let message = status["message"].as_str();
    let message = message.map_or_else(|| format!("the API server answered {}", head.status), str::to_owned);
    head.headers.remove(CONTENT_LENGTH);
    let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
    (HttpResponse::from_parts(head, body), message)
}

/// How the frames of a WebSocket are made; none where it is another protocol. Only exec and attach have a channel for errors.
fn websocket(answer: &HttpResponse<Incoming>, is_exec: bool) -> Option<Channels> {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let upgrade = text(answer.headers().get(UPGRADE))?;
    let subprotocol = text(answer.headers().get(SEC_WEBSOCKET_PROTOCOL));
    let channels = match Channels::of(subprotocol.as_deref()) {
        Channels::Binary | Channels::Base64 if !is_exec => Channels::Unknown,
        channels => channels,
    };
    upgrade.eq_ignore_ascii_case("websocket").then_some(channels)
}

/// What to answer where nothing may move any more.
pub(super) fn stop_failure(halt: StopReason) -> Failure {
    let message = halt.to_string();
    match halt {
        StopReason::Cut(cut) if cut.kind() == CutKind::Ended => Failure::new(StatusCode::UNAUTHORIZED, message, &[]),
        StopReason::Cut(_) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, message, &[]),
        StopReason::Drained => Failure::transient(message, &["ask again: another replica answers"]),
    }
}
