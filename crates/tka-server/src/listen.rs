//! Where to listen so that only the tailnet arrives, and HTTPS with the tailnet's certificate.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::ExposeSecret;
use thiserror::Error;
use tka_operator::error::with_causes;
use tka_tailnet::{CertificatePair, LocalApi, Status};
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::connections::Limited;

/// The port on which the server speaks HTTPS.
const HTTPS: u16 = 443;
/// How often tailscaled is asked for the certificate. It renews by itself when a third of the lifetime is left, weeks ahead
/// (<https://tailscale.com/kb/1153/enabling-https>).
const RENEWAL: Duration = Duration::from_hours(6);

/// How many headers a request may have; browsers send some twenty.
const MAX_HEADERS: usize = 64;
/// How large a request's head may be, in bytes. Go's servers, which people's proxies are made for, take a megabyte; nothing that is asked
/// for here is longer than a few hundred. It is looked at between two reads, so that somewhat more may get through.
const MAX_HEAD: usize = 32 * 1024;

/// Why the server cannot listen.
#[derive(Debug, Error)]
pub enum ListenError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: choose another tailscale.port or health.port if something else does")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The node has no address on the tailnet.
    #[error("this node has no address on the tailnet: look at `tailscale status` beside the server")]
    NoAddress,
    /// The tailnet gives no certificates.
    #[error(
        "port 443 is for HTTPS, and this tailnet gives no certificates: enable HTTPS in the tailnet's DNS settings, or choose another tailscale.port for HTTP"
    )]
    NoCertificateDomain,
    /// tailscaled did not give the certificate.
    #[error("no certificate for {domain}")]
    NoCertificate {
        /// The domain.
        domain: String,
        /// What tailscaled says.
        #[source]
        source: tka_tailnet::Error,
    },
    /// The certificate cannot be used.
    #[error("the certificate for {domain} cannot be used")]
    BadCertificate {
        /// The domain.
        domain: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// The addresses on which only the tailnet arrives.
///
/// A tailscaled in userspace mode hands what arrives on the tailnet to loopback, from where WhoIs knows it; any other local
/// process that connects there is nobody to WhoIs. With a network interface of its own, the node's addresses are on it. All
/// addresses would let in whoever reaches the host by another way.
#[must_use]
pub fn addresses(status: &Status, port: u16) -> Vec<SocketAddr> {
    if !status.tun {
        return vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)];
    }
    let own = status.self_node.iter().flat_map(|node| node.tailscale_ips.iter());
    own.map(|ip| SocketAddr::new(*ip, port)).collect()
}

/// The tailnet's certificate.
#[derive(Debug)]
pub struct Certificate {
    domain: String,
    config: RustlsConfig,
}

// === impl Certificate ===

impl Certificate {
    /// The one of this node; none unless `port` is the one for HTTPS.
    pub async fn of(tailnet: &LocalApi, status: &Status, port: u16) -> Result<Option<Self>, ListenError> {
        if port != HTTPS {
            return Ok(None);
        }
        let domain = status.cert_domains.first().ok_or(ListenError::NoCertificateDomain)?;
        Ok(Some(Self {
            config: RustlsConfig::from_config(fetch(tailnet, domain).await?),
            domain: domain.clone(),
        }))
    }

    /// What to serve with, kept new until `stop`.
    #[must_use]
    pub fn kept_new(self, tailnet: LocalApi, stop: CancellationToken) -> RustlsConfig {
        let config = self.config.clone();
        tokio::spawn(async move { self.renew(&tailnet, &stop).await });
        config
    }

    /// One that cannot be renewed now serves on: it has weeks left.
    async fn renew(&self, tailnet: &LocalApi, stop: &CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(RENEWAL)).await.is_some() {
            match fetch(tailnet, &self.domain).await {
                Ok(renewed) => self.config.reload_from_config(renewed),
                Err(error) => tracing::error!(error = with_causes(&error), "certificate not renewed"),
            }
        }
    }
}

/// Binds what can be bound of `addresses`. A node lists its IPv6 address also where the system has no IPv6.
pub fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::new();
    let mut missing = None;
    for address in addresses {
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(ListenError::Bind { address, source }) if source.kind() == io::ErrorKind::AddrNotAvailable => {
                tracing::warn!(%address, "not listening: the system does not have this address");
                missing = Some(ListenError::Bind { address, source });
            }
            Err(error) => return Err(error),
        }
    }
    if listeners.is_empty() {
        return Err(missing.unwrap_or(ListenError::NoAddress));
    }
    Ok(listeners)
}

/// Binds `address`.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| ListenError::Bind { address, source })
}

async fn fetch(tailnet: &LocalApi, domain: &str) -> Result<Arc<ServerConfig>, ListenError> {
    let pair = tailnet
        .certificate(domain)
        .await
        .map_err(|source| ListenError::NoCertificate {
            domain: domain.into(),
            source,
        })?;
    tls(&pair).map_err(|source| ListenError::BadCertificate {
        domain: domain.into(),
        source,
    })
}

/// TLS with that certificate, for HTTP/1.1 and nothing else: a client that is offered HTTP/2 would speak it.
fn tls(pair: &CertificatePair) -> Result<Arc<ServerConfig>, rustls::Error> {
    let bad = |_| rustls::Error::General("it is not PEM".into());
    let chain = CertificateDer::pem_slice_iter(pair.certificate_chain.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(bad)?;
    let key = PrivateKeyDer::from_pem_slice(pair.private_key.expose_secret().as_bytes()).map_err(bad)?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Serves `router` on `listener` until `stop`, then lets requests that are being answered come to their end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    certificate: Option<RustlsConfig>,
    limits: config::Server,
    stop: CancellationToken,
) -> io::Result<()> {
    let handle = Handle::new();
    let end = handle.clone();
    // By then every answer has been given, be it that it took too long.
    let grace = limits.write_timeout.duration();
    tokio::spawn(async move {
        stop.cancelled().await;
        end.graceful_shutdown(Some(grace));
    });
    let limited = Limited::new(limits.max_connections, grace);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let mut server = axum_server::from_tcp(listener)?
        .acceptor(limited.clone())
        .handle(handle)
        .http1_only();
    // hyper counts the time an idle connection waits for its next request as time to read that request's head.
    let head = limits.read_header_timeout.min(limits.idle_timeout).duration();
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .header_read_timeout(head);
    match certificate {
        None => server.serve(service).await,
        Some(config) => {
            server
                .acceptor(RustlsAcceptor::new(config).acceptor(limited))
                .serve(service)
                .await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(tun: bool) -> Status {
        serde_json::from_value(json!({
            "Version": "1.102.2", "TUN": tun, "BackendState": "Running", "CertDomains": null, "Health": null, "Peer": null,
            "Self": {"ID": "n1", "HostName": "tka", "DNSName": "tka.tailnet.test.", "Online": true,
                     "TailscaleIPs": ["100.64.0.1", "fd7a:115c:a1e0::1"]}
        }))
        .unwrap()
    }

    #[test]
    fn listens_where_only_the_tailnet_arrives() {
        assert_eq!(addresses(&status(false), 8080), ["127.0.0.1:8080".parse().unwrap()]);
        let on_interface = addresses(&status(true), 443);
        assert_eq!(
            on_interface,
            [
                "100.64.0.1:443".parse().unwrap(),
                "[fd7a:115c:a1e0::1]:443".parse().unwrap()
            ]
        );
    }

    #[test]
    fn taken_port_is_named() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(taken.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()));
    }

    #[test]
    fn address_that_the_system_does_not_have_is_left_out() {
        let (here, elsewhere) = ("127.0.0.1:0".parse().unwrap(), "192.0.2.1:0".parse().unwrap());
        assert_eq!(bind_all(&[here, elsewhere]).unwrap().len(), 1);
        assert!(matches!(bind_all(&[elsewhere]), Err(ListenError::Bind { .. })));
        assert!(matches!(bind_all(&[]), Err(ListenError::NoAddress)));
    }

    #[test]
    fn tls_offers_what_is_spoken() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["tka.tailnet.test".to_owned()]).unwrap();
        let pair = CertificatePair {
            certificate_chain: made.cert.pem(),
            private_key: made.signing_key.serialize_pem().into(),
        };
        assert_eq!(tls(&pair).unwrap().alpn_protocols, [b"http/1.1"]);
        let without_key = CertificatePair {
            certificate_chain: made.cert.pem(),
            private_key: String::new().into(),
        };
        assert!(tls(&without_key).is_err());
    }

    #[tokio::test]
    async fn https_needs_a_tailnet_with_certificates() {
        let tailnet = LocalApi::new("/nowhere/tailscaled.sock");
        let status = status(true);
        let with = |port| Certificate::of(&tailnet, &status, port);
        assert!(with(8080).await.unwrap().is_none());
        assert!(matches!(with(443).await, Err(ListenError::NoCertificateDomain)));
    }
}
