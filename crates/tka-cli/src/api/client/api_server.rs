//! Whether the cluster's API server can be reached from this machine.

use std::time::Duration;

use tka_api::http::ClusterInfo;
use tka_core::CaBundle;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::{ClientErrorKind, peer, tls_name};
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
    let url = format!("{}/version", info.server_url.trim_end_matches('/'));
    let agent = match &info.tls_server_name {
        None => peer::agent(config, server, proxy, None),
        Some(name) => {
            let authority = url.parse::<Uri>().ok().and_then(|url| url.authority().cloned());
            let connector = authority.and_then(|authority| tls_name::connector(authority, name));
            let no_name = || ClientErrorKind::Tls(format!("`{name}` is no name to verify the API server by"));
            peer::agent_with(connector.ok_or_else(no_name)?, config, server, proxy, None)
        }
    };
    let answer = agent.get(url).call();
    let answered = answer.map(drop);
    answered.map_err(|error| ClientErrorKind::from_transport(error, limit, proxy_variable))
}

/// The cluster's own certificate authority. None if there is none, or verification is off.
fn roots(info: &ClusterInfo) -> Result<Option<RootCerts>, ClientErrorKind> {
    if info.insecure_skip_tls_verify || info.ca_data.is_empty() {
        return Ok(None);
    }
    let authority = CaBundle::parse(&info.ca_data)
        .map_err(|why| ClientErrorKind::Tls(format!("the cluster's certificate authority cannot be used: {why}")))?;
    let certificates = authority.certificates().iter();
    let certificates = certificates.map(|certificate| Certificate::from_der(certificate).to_owned());
    Ok(Some(RootCerts::from(certificates)))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::thread;

    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection, StreamOwned};
    use serde_json::json;

    use super::*;
    use crate::net::server::HTTPS_PORT;

    const NAME: &str = "kubernetes.example";

    /// The port of an API server whose certificate is for [`NAME`] only, and its authority.
    fn api_server() -> (u16, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([NAME.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = config
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let (config, listener) = (Arc::new(config), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, stream);
                // A client that does not believe the certificate sends nothing.
                if matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
                    let _ = stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
                }
            }
        });
        (port, certificate.pem())
    }

    fn check(port: u16, authority: &str, name: Option<&str>) -> Result<(), ClientErrorKind> {
        let url = format!("https://127.0.0.1:{port}");
        let info = json!({"server_url": url, "ca_data": authority, "tls_server_name": name});
        let server = Server::new(&url, HTTPS_PORT, None).unwrap();
        check_reachable(
            &serde_json::from_value(info).unwrap(),
            &server,
            None,
            Duration::from_secs(20),
        )
    }

    #[test]
    fn certificate_is_verified_by_the_name_that_is_set() {
        let (port, authority) = api_server();
        check(port, &authority, Some(NAME)).unwrap();
        for name in [None, Some("other.example"), Some("127.0.0.1"), Some("not a name")] {
            let error = check(port, &authority, name).unwrap_err();
            assert!(matches!(error, ClientErrorKind::Tls(_)), "{name:?}: {error:?}");
        }
        let (_, foreign) = api_server();
        let error = check(port, &foreign, Some(NAME)).unwrap_err();
        assert!(matches!(error, ClientErrorKind::Tls(_)), "{error:?}");
    }
}
