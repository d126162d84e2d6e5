//! The gateway: the cluster's Kubernetes API below `/k8s`, as the caller's session and with no token in their hands.
//!
//! Who calls is the connection, as everywhere. The address says which rule is meant. The session of that caller, device and rule acts: its account's token is
//! put on here and leaves to the API server alone. `tka-gateway` carries; this decides who may, and records it.

mod access;
mod archive;
mod elevations;
mod metadata;
mod proxied;
mod proxy;
mod reasons;
mod record;
mod recording;
mod refusals;
mod retention;
mod shared;
mod status;
mod streams;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use tka_api::http::GATEWAY_MESSAGE;
use tka_gateway::PREFIX;

use crate::App;

pub(crate) use self::access::wait_until_known;
pub use self::archive::RecordingArchive;
pub use self::retention::run_retention;
pub use self::shared::{Gateway, GatewayError};
pub use self::streams::GatewaySessions;

/// The paths of the gateway. What every answer carries is for the caller of this to add.
pub(crate) fn routes(gateway: &Arc<Gateway>) -> Router<Arc<App>> {
    let gateway = Arc::clone(gateway);
    let handle = move |State(app): State<Arc<App>>, request: Request| {
        let gateway = Arc::clone(&gateway);
        async move { answer(&app, &gateway, request).await }
    };
    let below = format!("{PREFIX}/{{*path}}");
    Router::new()
        .route(PREFIX, any(handle.clone()))
        .route(&format!("{PREFIX}/"), any(handle.clone()))
        .route(&below, any(handle))
}

async fn answer(app: &Arc<App>, gateway: &Arc<Gateway>, request: Request) -> Response {
    let context = Arc::new(crate::audit_context::AuditContext::new(&request));
    let mut notice = None;
    let proxied = proxy::proxy(app, gateway, &context, request, &mut notice).await;
    let mut response = match proxied {
        Ok(response) => response,
        Err(failure) => {
            let response = status::status(&failure);
            let why = response.extensions().get();
            app.metrics.refused(failure.status, failure.kind);
            app.audit.refused(&context, failure.status, why);
            response
        }
    };
    // The API server may have warnings of its own.
    let notice = notice.map(|notice| format!("{GATEWAY_MESSAGE}{notice}"));
    if let Some(warning) = notice.as_deref().and_then(status::warning) {
        response.headers_mut().append(status::WARNING, warning);
    }
    response
}
