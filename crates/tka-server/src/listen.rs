//! Where to listen so that only the tailnet arrives, and how connections are served: HTTP/1.1, and over TLS HTTP/2 too.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use thiserror::Error;
use tka_tailnet::Status;
use tokio_util::sync::CancellationToken;

use crate::certificate::CertificateError;
use crate::config;
use crate::connections::ConnectionLimit;

/// The port on which the server speaks HTTPS.
pub const HTTPS: u16 = 443;

/// How many headers a request may have; browsers send some twenty.
const MAX_HEADERS: usize = 64;
/// How large a request's head may be, in bytes. Go's servers, which people's proxies are made for, take a megabyte. The longest that is asked for here is
/// the command of an exec through the gateway. It is looked at between two reads, so that somewhat more may get through.
const MAX_HEAD: u32 = 64 * 1024;
/// How many requests of one connection are answered at a time over HTTP/2. Its memory grows with them. The API server takes as many, and clients of the gateway
/// open another connection for more.
const MAX_STREAMS: u32 = 100;

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
    /// There is no certificate that can be served.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// The addresses on which only the tailnet arrives.
///
/// A tailscaled in userspace mode hands what arrives on the tailnet to loopback, from where WhoIs knows it. WhoIs does not know any other local
/// process that connects. With a network interface of its own, the node's addresses are on it. All addresses would let in callers that reach the host
/// by another way.
#[must_use]
pub fn addresses(status: &Status, port: u16) -> Vec<SocketAddr> {
    if !status.tun {
        return vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)];
    }
    let own = status.self_node.iter().flat_map(|node| node.tailscale_ips.iter());
    own.map(|ip| SocketAddr::new(*ip, port)).collect()
}

impl ListenError {
    /// Whether the system does not have the address, which may change.
    #[must_use]
    pub fn is_address_not_available(&self) -> bool {
        matches!(self, Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrNotAvailable)
    }
}

/// Binds `address`.
pub fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let bound = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| ListenError::Bind { address, source })
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
    // By then every answer has been given, even if it took too long.
    let grace = limits.write_timeout.duration();
    tokio::spawn(async move {
        stop.cancelled().await;
        end.graceful_shutdown(Some(grace));
    });
    // An answer that is being made keeps the connection busy for no longer than this.
    let busy = limits.read_timeout.duration() + grace;
    let limited = ConnectionLimit::new(limits.max_connections, grace, limits.idle_timeout.duration().max(busy));
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    // hyper counts the time an idle connection waits for its next request as time to read that request's head.
    let head = limits.read_header_timeout.min(limits.idle_timeout).duration();
    let server = axum_server::from_tcp(listener)?.acceptor(limited.clone());
    // What a client speaks is found out without a limit of its own.
    let mut server = server.handle(handle).first_request_timeout(head);
    server
        .http_builder()
        .http1()
        .timer(TokioTimer::new())
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD as usize)
        .header_read_timeout(head)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD);
    match certificate {
        None => {
            // axum-server's own http1_only gives up upgrades, which the gateway needs.
            let only_http1 = server.http_builder().clone().http1_only();
            *server.http_builder() = only_http1;
            server.serve(service).await
        }
        Some(config) => {
            let server = server.acceptor(RustlsAcceptor::new(config).acceptor(limited));
            server.serve(service).await
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
        let on_interface =
            ["100.64.0.1:443", "[fd7a:115c:a1e0::1]:443"].map(|address| address.parse::<SocketAddr>().unwrap());
        assert_eq!(addresses(&status(true), 443), on_interface);
    }

    #[test]
    fn taken_port_is_named() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = bind(taken.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains(&taken.local_addr().unwrap().to_string()));
    }

    #[test]
    fn address_that_the_system_does_not_have_is_told_apart() {
        let taken = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let is_missing = |address| bind(address).unwrap_err().is_address_not_available();
        assert!(is_missing("192.0.2.1:0".parse().unwrap()));
        assert!(!is_missing(taken.local_addr().unwrap()));
    }
    #[tokio::test]
    async fn answer_that_ends_as_the_server_stops_is_whole() {
        use std::io::{Read, Write};
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let ends = stop.clone();
        let endless = move || {
            let ends = ends.clone();
            let chunks = futures::stream::once(async { Ok::<_, io::Error>("word") });
            let last = futures::stream::once(async move {
                ends.cancelled().await;
                Ok("last")
            });
            let body = axum::body::Body::from_stream(futures::StreamExt::chain(chunks, last));
            std::future::ready(body)
        };
        let router = Router::new().route("/", axum::routing::get(endless));
        let served = tokio::spawn(serve(listener, router, None, config::Server::default(), stop.clone()));
        let read = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut bytes = [0; 4096];
            let length = stream.read(&mut bytes).unwrap();
            stop.cancel();
            let mut rest = String::from_utf8_lossy(&bytes[..length]).into_owned();
            stream.read_to_string(&mut rest).unwrap();
            rest
        });
        let read = read.await.unwrap();
        assert!(read.ends_with("4\r\nlast\r\n0\r\n\r\n"), "{read}");
        served.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn connections_can_be_upgraded() {
        use axum::http::header::{CONNECTION, UPGRADE};
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let switch = |request: axum::extract::Request| {
            tokio::spawn(async move {
                let upgraded = hyper::upgrade::on(request).await.unwrap();
                let mut stream = hyper_util::rt::TokioIo::new(upgraded);
                stream.write_all(b"switched").await.unwrap();
            });
            let headers = [(CONNECTION, "Upgrade"), (UPGRADE, "test")];
            std::future::ready((axum::http::StatusCode::SWITCHING_PROTOCOLS, headers))
        };
        let router = Router::new().route("/", axum::routing::get(switch));
        let stop = CancellationToken::new();
        let served = tokio::spawn(serve(listener, router, None, config::Server::default(), stop.clone()));
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut read = String::new();
        stream.read_to_string(&mut read).await.unwrap();
        assert!(
            read.starts_with("HTTP/1.1 101") && read.ends_with("\r\n\r\nswitched"),
            "{read}"
        );
        stop.cancel();
        served.await.unwrap().unwrap();
    }
}
