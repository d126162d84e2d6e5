//! Carrying one request.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{SEC_WEBSOCKET_PROTOCOL, UPGRADE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response as HttpResponse, StatusCode};
use axum::response::Response;
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tka_gateway::body::BoxBody;
use tka_gateway::websocket::Channels;
use tka_gateway::{Gate, Halt, Identity, Stream, UpstreamError, guarded, headers, relay};

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
    let place = (access.entry.place().ok_or_else(too_many)?, carried, connection);
    let mut gate = access.entry.gate();
    if access.info.verb == "watch" {
        gate = gate.of_watch();
    }
    let record = RequestRecord::new(app, gateway.level, context, &access, &head);
    let upstream_request = request_for(app, gateway, &access, &record, &head, body).await?;
    record.before().await?;
    let is_upgrade = headers::upgrade(upstream_request.headers()).is_some();
    if is_upgrade && let Some(caller) = head.extensions.remove::<OnUpgrade>() {
        let answer = gate
            .run(gateway.upstream.upgrade(upstream_request))
            .await
            .map_err(cut)?;
        let answer = answer.map_err(|error| unreachable(&error))?;
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(switch(app, answer, caller, gate, record, place));
        }
        let answer = answer.map(|body| body.map_err(Into::into).boxed_unsync());
        return Ok(finish(answer, gate, record, place));
    }
    let answer = gate.run(gateway.upstream.send(upstream_request)).await.map_err(cut)?;
    let answer = answer.map_err(|error| unreachable(&error))?;
    Ok(finish(answer, gate, record, place))
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
    // Before a token is asked for: a request that is refused costs the API server nothing.
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
        guarded(body, access.entry.gate(), record.sent().clone(), ())
    };
    let uri = access.target.below(gateway.upstream.base());
    let mut upstream_request = axum::http::Request::builder()
        .method(head.method.clone())
        .uri(uri)
        .body(body)
        .map_err(|error| unreachable(&error.into()))?;
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
    gate: Gate,
    mut record: RequestRecord,
    kept: impl Send + 'static,
) -> Response {
    record.answered(answer.status());
    let stream = Stream {
        gate,
        websocket: websocket(&answer),
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

/// How the frames of a WebSocket are made; none where it is another protocol.
fn websocket(answer: &HttpResponse<hyper::body::Incoming>) -> Option<Channels> {
    let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let upgrade = text(answer.headers().get(UPGRADE))?;
    let subprotocol = text(answer.headers().get(SEC_WEBSOCKET_PROTOCOL));
    upgrade
        .eq_ignore_ascii_case("websocket")
        .then(|| Channels::of(subprotocol.as_deref()))
}

fn unreachable(error: &UpstreamError) -> Failure {
    let advice = &[
        "try again in a moment",
        "if it persists, ask an administrator to look at the API server",
    ];
    Failure::passing("the API server did not answer", advice).because(error)
}

fn cut(halt: Halt) -> Failure {
    match halt {
        Halt::Cut(cut) => Failure::new(StatusCode::UNAUTHORIZED, cut.to_string(), &[]),
        Halt::Drained => Failure::passing("this replica stops", &["ask again: another replica answers"]),
    }
}

fn too_many() -> Failure {
    let failure = Failure::new(
        StatusCode::TOO_MANY_REQUESTS,
        "this session has as many requests under way as the server carries at a time",
        &["end watches or streams that are not needed"],
    );
    Failure {
        retry_after: Some(1),
        ..failure
    }
}
