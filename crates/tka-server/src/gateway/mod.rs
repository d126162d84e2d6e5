//! The gateway: the cluster's Kubernetes API below `/k8s`, as the caller's session and with no token in their hands.
//!
//! Who calls is the connection, as everywhere. The address says which rule is meant. The session of that caller, device and rule acts: its account's token is
//! put on here and leaves to the API server alone. `tka-gateway` carries; this decides who may, and records it.

mod access;
mod carry;
mod record;
mod status;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::any;
use kube::client::ConfigExt;
use kube::config::AuthInfo;
use thiserror::Error;
use tka_gateway::{PREFIX, Upstream, UpstreamError};

use crate::App;
use crate::config;
use crate::rates::Rates;

pub use self::record::RequestRecord;
pub use self::streams::Streams;

/// What carrying requests needs, beside what every request needs.
#[derive(Debug)]
pub struct Gateway {
    upstream: Upstream,
    streams: Streams,
    rates: Rates,
    /// Which requests leave a record.
    level: config::GatewayAudit,
    /// How long an answer may go unread.
    unread: Duration,
}

/// Why there is no gateway.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// TLS towards the API server cannot be set up.
    #[error("TLS towards the API server cannot be set up")]
    Tls(#[source] kube::Error),
    /// The API server cannot be asked.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

// === impl Gateway ===

impl Gateway {
    /// A gateway to the API server that `cluster` leads to, without any of the credentials in it.
    pub fn new(cluster: &kube::Config, settings: &config::Gateway, streams: Streams) -> Result<Self, GatewayError> {
        let mut bare = cluster.clone();
        // The API server asks for a client certificate before it reads a token: under one of the server's, every caller would be the server.
        bare.auth_info = AuthInfo::default();
        let tls = bare.rustls_client_config().map_err(GatewayError::Tls)?;
        Ok(Self {
            upstream: Upstream::new(&bare.cluster_url, &tls, bare.tls_server_name.as_deref())?,
            streams,
            rates: Rates::new(settings.rate_limit),
            level: settings.audit,
            unread: settings.unread_timeout.duration(),
        })
    }

    /// The sessions whose requests are carried.
    #[must_use]
    pub fn streams(&self) -> &Streams {
        &self.streams
    }
}

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
    match carry::carry(app, gateway, &context, request).await {
        Ok(response) => response,
        Err(failure) => {
            let response = status::status(&failure);
            let why = response.extensions().get();
            app.audit.refused(&context, failure.status, why);
            response
        }
    }
}
