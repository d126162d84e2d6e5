//! Whether the cluster's API server can be reached from this machine.

use std::time::Duration;

use tka_api::http::ClusterInfo;
use tka_core::CaBundle;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{ClientErrorKind, peer};
use crate::net::proxy::ChosenProxy;
use crate::net::server::Server;

/// Sends a request without secrets to the API server. Any response is good.
pub(crate) fn check_reachable(
    info: &ClusterInfo,
    server: &Server,
    proxy: Option<&ChosenProxy>,
    limit: Duration,
) -> Result<(), ClientErrorKind> {
    let proxy_variable = proxy.map(|chosen| chosen.variable);
    let tls = match roots(info)? {
        Some(roots) => TlsConfig::builder().root_certs(roots),
        // kubectl would verify with the system's authorities, which are not known here.
        None => TlsConfig::builder().disable_verification(true),
    };
    let config = ureq::Agent::config_builder()
        .proxy(proxy.map(|chosen| chosen.proxy.clone()))
        .tls_config(tls.build())
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .build();
    // The server chose the address. So plain HTTP must not leave the tailnet here either.
    let agent = peer::agent(config, server, proxy, None);
    let url = format!("{}/version", info.server_url.trim_end_matches('/'));
    let answer = agent.get(url).call();
    let answered = answer.map(drop);
    answered.map_err(|error| ClientErrorKind::from_transport(error, limit, proxy_variable))
}

/// The cluster's own certificate authority. None if there is none, verification is off, or another TLS name is set, which ureq does not
/// support.
fn roots(info: &ClusterInfo) -> Result<Option<RootCerts>, ClientErrorKind> {
    if info.insecure_skip_tls_verify || info.ca_data.is_empty() || info.tls_server_name.is_some() {
        return Ok(None);
    }
    let authority = CaBundle::parse(&info.ca_data)
        .map_err(|why| ClientErrorKind::Tls(format!("the cluster's certificate authority cannot be used: {why}")))?;
    let certificates = authority.certificates().iter();
    let certificates = certificates.map(|certificate| Certificate::from_der(certificate).to_owned());
    Ok(Some(RootCerts::from(certificates)))
}
