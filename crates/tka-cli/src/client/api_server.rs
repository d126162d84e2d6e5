//! Whether the cluster's API server can be reached from here.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use tka_api::http::ClusterInfo;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::Trouble;
use crate::proxy::ChosenProxy;

/// Asks the API server anything; any answer of it is good. Nothing secret is sent.
pub(crate) fn reach(info: &ClusterInfo, proxy: Option<ChosenProxy>, limit: Duration) -> Result<(), Trouble> {
    let proxied = proxy.as_ref().map(|chosen| chosen.variable);
    let tls = match roots(info)? {
        Some(roots) => TlsConfig::builder().root_certs(roots),
        // kubectl would verify with the system's authorities, which are not known here.
        None => TlsConfig::builder().disable_verification(true),
    };
    let agent = ureq::Agent::config_builder()
        .proxy(proxy.map(|chosen| chosen.proxy))
        .tls_config(tls.build())
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        .max_redirects(0)
        .build()
        .new_agent();
    let url = format!("{}/version", info.server_url.trim_end_matches('/'));
    let answer = agent.get(url).call();
    answer
        .map(drop)
        .map_err(|error| Trouble::from_transport(error, limit, proxied))
}

/// The cluster's own authority; none where it has none, is not to be verified, or only by another name, which ureq cannot.
fn roots(info: &ClusterInfo) -> Result<Option<RootCerts>, Trouble> {
    if info.insecure_skip_tls_verify || info.ca_data.is_empty() || info.tls_server_name.is_some() {
        return Ok(None);
    }
    let broken = || Trouble::Tls("the cluster's certificate authority cannot be read".to_owned());
    let pem = BASE64_STANDARD.decode(&info.ca_data).map_err(|_| broken())?;
    let items = parse_pem(&pem).collect::<Result<Vec<_>, _>>().map_err(|_| broken())?;
    let certificates: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(broken());
    }
    Ok(Some(RootCerts::from(certificates.into_iter())))
}
