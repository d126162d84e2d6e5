//! Who is calling: answered once a request, before anything else, by the tailscaled that the connection came through.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tka_core::Refusal;
use tokio::time::Instant;
use tracing::{Instrument, field};

use crate::App;
use crate::answer::Failure;
use crate::audit_context::AuditContext;
use crate::browser::guard;
use crate::identified::Identified;
use crate::metrics::WhoIsOutcome;
use crate::rates::Requester;

/// Headers that tailscaled sets on what came from the public internet
/// (`Tailscale-Funnel-Request`, <https://tailscale.com/kb/1223/funnel>, and those of an ingress node's connection).
const FUNNEL_HEADERS: [&str; 3] = [
    "tailscale-funnel-request",
    "tailscale-ingress-src",
    "tailscale-ingress-target",
];

/// Lets a request through once it is known who is calling, and that it is they and no page in their browser.
pub async fn identify(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    match whois(&app, peer, request.headers()).await {
        Ok(identified) => {
            let identified = Arc::new(identified);
            let hosts = app.node.borrow().hosts.and(&app.allowed_hosts);
            let guarded = guard(&hosts, &request);
            // What a foreign page sends must not use up what the caller may send.
            let by = *guarded.as_ref().unwrap_or(&Requester::BrowserPage);
            if let Some(context) = request.extensions().get::<Arc<AuditContext>>() {
                context.set_caller(&identified, by);
            }
            if let Err(too_many) = app.rates.count(&identified.caller, by) {
                return Failure::from(too_many).into_response();
            }
            if let Err(failure) = guarded {
                return failure.into_response();
            }
            request.extensions_mut().insert(identified);
            next.run(request).await
        }
        Err(failure) => failure.into_response(),
    }
}

/// Who is at the other end of the connection from `peer`. What came from the public internet is refused.
pub(crate) async fn whois(app: &App, peer: SocketAddr, headers: &HeaderMap) -> Result<Identified, Failure> {
    if FUNNEL_HEADERS.iter().any(|name| headers.contains_key(*name)) {
        return Err(Refusal::Funnel.into());
    }
    ask(app, peer).await
}

/// Asks tailscaled who is at the other end of the connection from `peer`.
pub(crate) async fn ask(app: &App, peer: SocketAddr) -> Result<Identified, Failure> {
    let asked_at = Instant::now();
    let span = tracing::info_span!(
        "whois",
        otel.kind = "client",
        otel.status_code = field::Empty,
        tka.outcome = field::Empty
    );
    let whois = app.tailnet.whois(peer).instrument(span.clone()).await;
    let outcome = match &whois {
        Ok(_) => WhoIsOutcome::resolved,
        Err(tka_tailnet::Error::NotFound { .. }) => WhoIsOutcome::unknown,
        Err(_) => WhoIsOutcome::failed,
    };
    span.record("tka.outcome", field::debug(outcome));
    if outcome == WhoIsOutcome::failed {
        span.record("otel.status_code", "ERROR");
    }
    app.metrics.whois_answered(outcome, asked_at.elapsed());
    let whois = whois.map_err(|error| unresolved(&error))?;
    let identified = Identified::new(whois, &app.cap_name, (app.clock)(), asked_at)?;
    Ok(identified.unless_expired()?)
}

/// Who `whois` is about, which was asked for a moment ago, expired or not.
pub(crate) fn identified(app: &App, whois: tka_tailnet::WhoIs) -> Result<Identified, Failure> {
    Identified::new(whois, &app.cap_name, (app.clock)(), Instant::now())
}

/// Not knowing who calls is a refusal, whatever the reason. The status is that of the original.
fn unresolved(error: &tka_tailnet::Error) -> Failure {
    let advice = match error {
        tka_tailnet::Error::NotFound { .. } => "connect over the tailnet, from a device that is signed in to it",
        _ => "ask an administrator to look at the tailscaled beside the server",
    };
    Failure::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "the server could not identify the caller",
        &[advice],
    )
    .with_cause(error)
}
