//! `/cluster-info`: how to reach the Kubernetes API server.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use tka_api::http::{ClusterInfo, ErrorResponse, GATEWAY, GatewayInfo};

use crate::App;
use crate::answer::Failure;
use crate::authorize::Authorized;

/// Cluster information
///
/// How to reach the Kubernetes API server, and the gateway to it. For callers with a rule that applies.
#[utoipa::path(
    get,
    path = "/cluster-info",
    tag = "cluster",
    responses(
        (status = 200, description = "How to reach it", body = ClusterInfo),
        (status = 400, description = "Tagged node, or malformed or ambiguous rules", body = ErrorResponse),
        (status = 403, description = "No rule, or through Funnel", body = ErrorResponse),
        (status = 500, description = "The server could not identify the caller, or does not know the API server's address", body = ErrorResponse),
        (status = 503, description = "The answer took too long", body = ErrorResponse),
    )
)]
pub(super) async fn cluster_info(State(app): State<Arc<App>>, _who: Authorized) -> Result<Json<ClusterInfo>, Failure> {
    let info = app.cluster.info().await?;
    let instance = tka_core::instance(&app.namespace, &app.cap_name, &info.server_url, &info.ca_data);
    let gateway = app.has_gateway.then(|| GatewayInfo {
        url: format!("{}{GATEWAY}", app.node.borrow().url),
        default: app.gateway_default,
        elevation: true,
    });
    Ok(Json(ClusterInfo {
        instance: Some(instance),
        gateway,
        ..info
    }))
}
