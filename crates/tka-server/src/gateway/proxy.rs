//! Carrying one request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::UPGRADE;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, Version};
use axum::response::Response;
use futures::TryStreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Limited, StreamBody};
use hyper::upgrade::OnUpgrade;
use tka_core::RecordingMode;
use tka_gateway::body::BoxBody;
use tka_gateway::request_info::PodAccess;
use tka_gateway::{Gate, StopReason, Unrecordable, UpstreamError, UpstreamIdentity, gated_body, headers};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::access::{AuthorizedRequest, access};
use super::metadata::metadata;
use super::proxied::{ProxiedRequest, Refused, stop_failure};
use super::record::RequestRecord;
use super::recording::{NO_PLACE, NotRecorded, RecordingPlan};
use super::shared::Gateway;
use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::connections::ConnectionPermit;
use crate::telemetry::inject_trace;
use crate::write_timeout::StreamGuard;

/// A request as it goes on to the API server.
type UpstreamRequest = axum::http::Request<BoxBody>;

/// How long the end of an empty body may take to come.
const EMPTY_BODY: Duration = Duration::from_secs(2);

/// Carries `request`, or says why not. What its caller is to be told beside the answer is left in `notice`.
pub(super) async fn proxy(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    context: &Arc<AuditContext>,
    request: Request,
    notice: &mut Option<String>,
) -> Result<Response, Failure> {
    let (head, body) = request.into_parts();
    let access = access(app, gateway, context, &head, notice).await?;
    let reasons = &gateway.recordings.reasons;
    let must_be_recorded = access.recording == RecordingMode::Required;
    let key = must_be_recorded.then(|| reasons.key(&access.live.uid, &access.target.below("")));
    let plan = gateway.recordings.plan(access.recording, access.interactive, &head);
    let plan = plan.map_err(|why| {
        let is_protocol_fallback = why == NotRecorded::Unrecordable(Unrecordable::Protocol);
        let key = key.filter(|_| is_protocol_fallback);
        let last = key.and_then(|key| reasons.last(key, Instant::now()));
        last.map_or_else(|| why.into(), |reason| Failure::new(reason.status, reason.message, &[]))
    })?;
    let proxy = Proxy { app, gateway, context };
    let result = proxy.forward(access, plan, head, body).await;
    let (status, message) = match &result {
        Ok(answer) => match answer.extensions().get::<Refused>() {
            Some(Refused(message)) => (answer.status(), message),
            None => return result,
        },
        Err(failure) => (failure.status, &failure.body.message),
    };
    if let Some(key) = key.filter(|_| plan == RecordingPlan::Required) {
        reasons.keep(key, Instant::now(), status, message);
    }
    result
}

/// What a request keeps while it is carried: its places, and what marks its connection. An upgrade outlives what serves the connection.
type Permits = ([OwnedSemaphorePermit; 2], Option<StreamGuard>, Option<ConnectionPermit>);

/// What carrying a request needs beside it.
#[derive(Clone, Copy)]
struct Proxy<'a> {
    app: &'a Arc<App>,
    gateway: &'a Arc<Gateway>,
    context: &'a Arc<AuditContext>,
}

// === impl Proxy ===

impl Proxy<'_> {
    async fn forward(
        self,
        access: AuthorizedRequest,
        plan: RecordingPlan,
        head: Parts,
        body: Body,
    ) -> Result<Response, Failure> {
        // A connection that cannot be upgraded would answer what no recorder sees.
        let can_upgrade = head.extensions.get::<OnUpgrade>().is_some();
        if plan == RecordingPlan::Required && !can_upgrade {
            return Err(NotRecorded::Unrecordable(Unrecordable::Protocol).into());
        }
        let body = match headers::upgrade(&head.headers) {
            // The API server would begin what none hears.
            Some(_) if !can_upgrade => return Err(cannot_upgrade()),
            Some(_) => require_empty_body(body).await?,
            None => body,
        };
        let permits = self.acquire(&access, &head)?;
        let mut gate = access.entry.gate();
        if access.info.verb == "watch" {
            gate = gate.of_watch();
        }
        // Before a token is asked for: while nothing may move, nothing is asked of the API server either.
        gate.open().await.map_err(stop_failure)?;
        let (request, proxied) = self.begin(&access, plan, &head, body, (gate, permits)).await?;
        self.send(access, head, request, proxied).await
    }

    /// Takes a place for the request.
    fn acquire(self, access: &AuthorizedRequest, head: &Parts) -> Result<Permits, Failure> {
        let places = self.gateway.streams.place(&access.entry).ok_or_else(too_many)?;
        let connection = head.extensions.get::<ConnectionPermit>().cloned();
        let stream = connection
            .as_ref()
            .map(|permit| permit.carries_stream(self.gateway.unread));
        Ok((places, stream, connection))
    }

    /// Makes the request that goes on, and records that it does. Unless this returns well it must not be sent.
    async fn begin(
        self,
        access: &AuthorizedRequest,
        plan: RecordingPlan,
        head: &Parts,
        body: Body,
        (gate, kept): (Gate, Permits),
    ) -> Result<(UpstreamRequest, ProxiedRequest<Permits>), Failure> {
        let Self { app, gateway, context } = self;
        let mut record = RequestRecord::new(app, gateway.level, context, access, head);
        if gateway.recordings.is_unrecorded(access.recording, access.interactive) {
            record.set_cause(&NO_PLACE);
        }
        let mut request = build_upstream_request(app, gateway, access, &record, head, body).await?;
        let recorded = || metadata(access, &head.headers);
        let recordings = &gateway.recordings;
        let recording = recordings
            .begin(plan, app, recorded, record.audit_id(), request.headers_mut())
            .await?;
        if let Some(recording) = &recording {
            record.recorded(&recording.name);
        }
        record.before().await?;
        record.mark_sent(app.metrics.gateway.begins(&access.info, access.interactive.is_some()));
        if let Some(recording) = &recording {
            recording.mark_sent();
        }
        let proxied = ProxiedRequest {
            gate,
            record,
            recording,
            last_use: access.entry.last_use().clone(),
            // A connection of HTTP/1.1 is watched as a whole.
            unread: (head.version == Version::HTTP_2).then_some(gateway.unread),
            kept,
        };
        Ok((request, proxied))
    }

    /// Sends the request, and returns the answer.
    async fn send(
        self,
        access: AuthorizedRequest,
        mut head: Parts,
        request: UpstreamRequest,
        mut proxied: ProxiedRequest<Permits>,
    ) -> Result<Response, Failure> {
        let upstream = &self.gateway.upstream;
        // An upgrade that goes on was put on again.
        let is_upgrade = request.headers().contains_key(UPGRADE);
        if is_upgrade && let Some(caller) = head.extensions.remove::<OnUpgrade>() {
            let is_exec = access.interactive == Some(PodAccess::Exec);
            let answer = proxied.gate.run(upstream.upgrade(request)).await;
            let answer = unwrap_or_record(answer, &head.method, &mut proxied)?;
            return proxied.upgraded(self.app, answer, caller, is_exec).await;
        }
        let is_read = head.method.is_safe() && access.info.is_read() && access.info.verb != "watch";
        // The request holds no session entry: one that another session of the same name replaces must end.
        drop(access);
        let answer = if is_read {
            proxied.gate.run(upstream.read(request)).await
        } else {
            proxied.gate.run(upstream.send(request)).await
        };
        let answer = unwrap_or_record(answer, &head.method, &mut proxied)?;
        Ok(proxied.finish(answer))
    }
}

/// The body of a request to upgrade, which must be empty. Data in it would bypass what is recorded and counted. What takes the connection over at the
/// API server reads it as what comes after the upgrade.
async fn require_empty_body(body: Body) -> Result<Body, Failure> {
    if http_body::Body::is_end_stream(&body) {
        return Ok(body);
    }
    // The end of a body in chunks is not known from the head.
    match timeout(EMPTY_BODY, Limited::new(body, 0).collect()).await {
        Ok(Ok(_)) => Ok(Body::empty()),
        _ => Err(Failure::new(
            StatusCode::BAD_REQUEST,
            "a request to upgrade has a body",
            &["send the request without a body, and all else after the answer 101"],
        )),
    }
}

/// The answer, or what to say of a request of which nothing is known but that it was sent.
fn unwrap_or_record<T, K: Send + 'static>(
    answer: Result<Result<T, UpstreamError>, StopReason>,
    method: &Method,
    proxied: &mut ProxiedRequest<K>,
) -> Result<T, Failure> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            proxied.unanswered(&error);
            Err(upstream_failure(&error, method))
        }
        Err(halt) => {
            proxied.unanswered(&halt);
            Err(stop_failure(halt))
        }
    }
}

/// The request as it goes on: with the session's token, and without what could say otherwise.
async fn build_upstream_request(
    app: &App,
    gateway: &Gateway,
    access: &AuthorizedRequest,
    record: &RequestRecord,
    head: &Parts,
    body: Body,
) -> Result<UpstreamRequest, Failure> {
    let token = access.entry.token(&app.sessions, (app.clock)()).await?;
    let identity = UpstreamIdentity {
        token: &token,
        caller: access.address,
        audit_id: record.audit_id(),
    };
    let headers = headers::request(&head.headers, gateway.upstream.host(), &identity).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            error.to_string(),
            &["send headers as HTTP/1.1 has them"],
        )
    })?;
    let body = if http_body::Body::is_end_stream(&body) {
        Empty::new().map_err(|never| match never {}).boxed_unsync()
    } else {
        // Trailers do not go on: they are headers too, and `RULES` does not cover them.
        let last_use = access.entry.last_use().clone();
        let data = body
            .into_data_stream()
            .inspect_ok(move |_| last_use.used(Instant::now()));
        let data = StreamBody::new(data.map_ok(Frame::data));
        gated_body(data, access.entry.gate(), record.sent().clone(), ())
    };
    let uri = access.target.below(gateway.upstream.base());
    let mut upstream_request = axum::http::Request::builder()
        .method(head.method.clone())
        .uri(uri)
        .body(body)
        .map_err(|error| upstream_failure(&error.into(), &head.method))?;
    *upstream_request.headers_mut() = headers;
    // The trace that the server records, if it does: the caller's own word does not go on.
    inject_trace(&tracing::Span::current(), upstream_request.headers_mut());
    Ok(upstream_request)
}

/// Clients repeat a request that is answered with `Retry-After`. So that is said only where nothing was carried out, or nothing changes by it.
fn upstream_failure(error: &UpstreamError, method: &Method) -> Failure {
    let advice = &[
        "try again in a moment",
        "if it persists, ask an administrator to look at the API server",
    ];
    let message = "the API server did not answer";
    if !method.is_safe() && matches!(error, UpstreamError::Failed(_)) {
        let advice = &["look whether it was carried out before you try again"];
        return Failure::new(StatusCode::BAD_GATEWAY, message, advice).with_cause(error);
    }
    Failure::transient(message, advice).with_cause(error)
}

fn cannot_upgrade() -> Failure {
    Failure::new(
        StatusCode::BAD_REQUEST,
        "this connection cannot be upgraded",
        &["ask for the upgrade over HTTP/1.1"],
    )
}

fn too_many() -> Failure {
    let failure = Failure::new(
        StatusCode::TOO_MANY_REQUESTS,
        "this session or this server has reached its limit of requests at a time",
        &["end watches or streams that are not needed"],
    );
    Failure {
        retry_after: Some(1),
        ..failure
    }
}
