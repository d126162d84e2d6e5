//! What all requests that are carried share.

use std::time::Duration;

use kube::client::ConfigExt;
use kube::config::AuthInfo;
use thiserror::Error;
use tka_gateway::{Upstream, UpstreamError};

use super::elevations::Elevations;
use super::recording::Recordings;
use super::refusals::OnUseRefusals;
use super::streams::GatewaySessions;
use crate::config::{self, RecordingsError};
use crate::rates::Rates;

/// What carrying requests needs, beside what every request needs.
#[derive(Debug)]
pub struct Gateway {
    pub(super) upstream: Upstream,
    pub(super) streams: GatewaySessions,
    pub(super) rates: Rates,
    /// What use did not begin.
    pub(super) refusals: OnUseRefusals,
    /// Elevations that acted.
    pub(super) elevations: Elevations,
    /// Which requests leave a record.
    pub(super) level: config::GatewayAudit,
    /// How long an answer may go unread.
    pub(super) unread: Duration,
    pub(super) recordings: Recordings,
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
    /// Recordings cannot be kept.
    #[error("recordings cannot be kept")]
    Recordings(#[from] RecordingsError),
}

// === impl Gateway ===

impl Gateway {
    /// A gateway to the API server that `cluster` leads to, without any of the credentials in it.
    pub fn new(
        cluster: &kube::Config,
        settings: &config::Gateway,
        streams: GatewaySessions,
    ) -> Result<Self, GatewayError> {
        let mut bare = cluster.clone();
        // The API server asks for a client certificate before it reads a token: under one of the server's, every caller would be the server.
        bare.auth_info = AuthInfo::default();
        let tls = bare.rustls_client_config().map_err(GatewayError::Tls)?;
        Ok(Self {
            upstream: Upstream::new(&bare.cluster_url, &tls, bare.tls_server_name.as_deref())?,
            streams,
            rates: Rates::new(settings.rate_limit.into()),
            refusals: OnUseRefusals::default(),
            elevations: Elevations::default(),
            level: settings.audit,
            unread: settings.unread_timeout.duration(),
            recordings: Recordings::new(&settings.recording)?,
        })
    }

    /// The sessions whose requests are carried.
    #[must_use]
    pub fn streams(&self) -> &GatewaySessions {
        &self.streams
    }
}
