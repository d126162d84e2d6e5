//! Carrying one request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, Response as HttpResponse, StatusCode};
use axum::response::Response;
use futures::TryStreamExt;
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tka_gateway::body::BoxBody;
use tka_gateway::request_info::Interactive;
use tka_gateway::websocket::Channels;
use tka_gateway::{CutKind, Gate, Halt, Identity, Stream, UpstreamError, guarded, headers, relay};

use super::access::{Access, access};
use super::record::RequestRecord;
use super::shared::Gateway;
use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::connections::Place;

/// Carries `request`, or says why not.
pub(super) async fn carry(
    app: &Arc<App>,
    gateway: &Arc<Gateway>,
    context: &Arc<AuditContext>,
    request: Request,
) -> Result<Response, Failure> {
    let (mut head, body) = request.into_parts();
    let access = access(app, gateway, context, &head).await?;
    // The connection's place is kept too: an upgrade outlives what serves the connection.
    let connection = head.extensions.get::<Place>().cloned();
    let carried = connection.as_ref().map(|place| place.carries_stream(gateway.unread));
    let place = (
        gateway.streams.place(&access.entry).ok_or_else(too_many)?,
        carried,
        connection,
    );
    let mut gate = access.entry.gate();
    if access.info.verb == "watch" {
        gate = gate.of_watch();
    }
    // Before a token is asked for: while nothing may move, nothing is asked of the API server either.
    gate.open().await.map_err(cut)?;
    let mut record = RequestRecord::new(app, gateway.level, context, &access, &head);
    let upstream_request = request_for(app, gateway, &access, &record, &head, body).await?;
    record.before().await?;
    record.leaves();
    let method = head.method.clone();
    // An upgrade that goes on was put on again.
    let is_upgrade = upstream_request.headers().contains_key(UPGRADE);
    if is_upgrade && let Some(caller) = head.extensions.remove::<OnUpgrade>() {
        let answer = gate.run(gateway.upstream.upgrade(upstream_request)).await;
        let answer = answered(answer, &method, &mut record)?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let is_exec = access.interactive == Some(Interactive::Exec);
            return Ok(switch(app, answer, caller, is_exec, gate, record, place));
        }
        let answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
        return Ok(finish(answer, gate, record, place));
    }
    // What is carried for a session that another of its name replaces must end: this holds nothing that would keep it open.
    drop(access);
    let answer = gate.run(gateway.upstream.send(upstream_request)).await;
    let answer = answered(answer, &method, &mut record)?;
    Ok(finish(answer, gate, record, place))
}

/// The answer, or what to say of a request of which nothing is known but that it was sent.
fn answered<T>(
    answer: Result<Result<T, UpstreamError>, Halt>,
    method: &Method,
    record: &mut RequestRecord,
) -> Result<T, Failure> {
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            record.unanswered(&error);
            Err(unreachable(&error, method))
        }
        Err(halt) => {
            record.unanswered(&halt);
            Err(cut(halt))
        }
    }
}

/// The request as it goes on: with the session's token, and without what could say otherwise.
async fn request_for(
    app: &App,
    gateway: &Gateway,
    access: &Access,
    record: &RequestRecord,
    head: &Parts,
    body: Body,
) -> Result<axum::http::Request<BoxBody>, Failure> {
    let token = access.entry.token(&app.sessions, (app.clock)()).await?;
    let identity = Identity {
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
        // Trailers do not go on: they are headers that no table rules.
        let data = StreamBody::new(body.into_data_stream().map_ok(Frame::data));
        guarded(data, access.entry.gate(), record.sent().clone(), ())
    };
    let uri = access.target.below(gateway.upstream.base());
    let mut upstream_request = axum::http::Request::builder()
        .method(head.method.clone())
        .uri(uri)
        .body(body)
        .map_err(|error| unreachable(&error.into(), &head.method))?;
    *upstream_request.headers_mut() = headers;
    Ok(upstream_request)
}

/// The answer, whose body moves while the session's bytes may. Its record is written when it has.
fn finish(
    answer: HttpResponse<BoxBody>,
    gate: Gate,
    mut record: RequestRecord,
    place: impl Send + 'static,
) -> Response {
    let (mut head, body) = answer.into_parts();
    headers::answer(&mut head.headers, false);
    record.answered(head.status);
    let received = record.received().clone();
    if http_body::Body::is_end_stream(&body) {
        return Response::from_parts(head, Body::empty());
    }
    let body = guarded(body, gate, received, (record, place));
    Response::from_parts(head, Body::new(body))
}

/// The answer 101, and from then on a relay between the two upgraded connections.
fn switch(
    app: &App,
    mut answer: HttpResponse<hyper::body::Incoming>,
    caller: OnUpgrade,
    is_exec: bool,
    gate: Gate,
    mut record: RequestRecord,
    kept: impl Send + 'static,
) -> Response {
    record.answered(answer.status());
    let stream = Stream {
        gate,
        websocket: websocket(&answer, is_exec),
        tap: None,
        sent: record.sent().clone(),
        received: record.received().clone(),
    };
    let upstream = hyper::upgrade::on(&mut answer);
    app.work.spawn(async move {
        let _kept = kept;
        let Ok((caller, upstream)) = futures::future::try_join(caller, upstream).await else {
            return;
        };
        if let Some(why) = relay(TokioIo::new(caller), TokioIo::new(upstream), stream).await {
            record.cut(&why);
        }
    });
    let (mut head, _) = answer.into_parts();
    headers::answer(&mut head.headers, true);
    Response::from_parts(head, Body::empty())
}

/// How the frames of a WebSocket are made; none where it is another protocol. Only exec and attach have a channel for errors.
fn websocket(answer: &HttpResponse<hyper::body::Incoming>, is_exec: bool) -> Option<Channels> {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let upgrade = text(answer.headers().get(UPGRADE))?;
    let subprotocol = text(answer.headers().get(SEC_WEBSOCKET_PROTOCOL));
    let channels = Channels::of(subprotocol.as_deref().filter(|_| is_exec));
    upgrade.eq_ignore_ascii_case("websocket").then_some(channels)
}

/// Clients repeat a request that is answered with `Retry-After`. So that is said only where nothing was carried out, or nothing changes by it.
fn unreachable(error: &UpstreamError, method: &Method) -> Failure {
    let advice = &[
        "try again in a moment",
        "if it persists, ask an administrator to look at the API server",
    ];
    let message = "the API server did not answer";
    if !method.is_safe() && matches!(error, UpstreamError::Failed(_)) {
        let advice = &["look whether it was carried out before you try again"];
        return Failure::new(StatusCode::BAD_GATEWAY, message, advice).because(error);
    }
    Failure::passing(message, advice).because(error)
}

fn cut(halt: Halt) -> Failure {
    let message = halt.to_string();
    match halt {
        Halt::Cut(cut) if cut.kind() == CutKind::Ended => Failure::new(StatusCode::UNAUTHORIZED, message, &[]),
        Halt::Cut(_) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, message, &[]),
        Halt::Drained => Failure::passing(message, &["ask again: another replica answers"]),
    }
}

fn too_many() -> Failure {
    let failure = Failure::new(
        StatusCode::TOO_MANY_REQUESTS,
        "as many requests are under way, of this session or in all, as the server carries at a time",
        &["end watches or streams that are not needed"],
    );
    Failure {
        retry_after: Some(1),
        ..failure
    }
}
