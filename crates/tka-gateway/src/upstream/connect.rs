//! Making a connection.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::header::HeaderValue;
use http::uri::Authority;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::error::{CONNECT, UpstreamError};

/// After how much silence it is asked whether the other side is there, and how often again. The system gives up after nine times.
const SILENCE: Duration = Duration::from_secs(3);
const PROBE: Duration = Duration::from_secs(1);
/// How long what was sent to read may stay unacknowledged.
const UNACKNOWLEDGED: Duration = Duration::from_secs(6);

/// A connection.
pub(super) type Stream = Box<dyn Connection>;

/// What a connection can do.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Makes connections to one API server.
pub(super) struct Connector {
    authority: Authority,
    host: HeaderValue,
    /// As TCP takes it.
    address: (String, u16),
    base: String,
    /// For either protocol; none where the API server speaks plain HTTP.
    tls: Option<Tls>,
}

struct Tls {
    http1: TlsConnector,
    http2: TlsConnector,
    name: ServerName<'static>,
}

// === impl Connector ===

impl Connector {
    pub(super) fn new(url: &Uri, tls: &ClientConfig, server_name: Option<&str>) -> Result<Self, UpstreamError> {
        let bad = || UpstreamError::Address(url.clone());
        let authority = url.authority().ok_or_else(bad)?.clone();
        let is_tls = match url.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad()),
        };
        let bare = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let name = ServerName::try_from(server_name.unwrap_or(&bare).to_owned()).map_err(|_| bad())?;
        let tls = is_tls.then(|| Tls {
            http1: offering(tls, &[b"http/1.1"]),
            http2: offering(tls, &[b"h2", b"http/1.1"]),
            name,
        });
        Ok(Self {
            host: HeaderValue::try_from(authority.as_str()).map_err(|_| bad())?,
            address: (bare, port),
            base: url.path().trim_end_matches('/').to_owned(),
            authority,
            tls,
        })
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn host(&self) -> &HeaderValue {
        &self.host
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// The URI of `path` on this API server.
    pub(super) fn absolute(&self, path: &Uri) -> Result<Uri, http::Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let path = path.path_and_query().map_or("/", |path| path.as_str());
        Uri::builder()
            .scheme(scheme)
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
    }

    /// A connection on which `wanted` is spoken, or HTTP/1.1 where the API server speaks nothing else.
    pub(super) async fn connect(&self, wanted: Protocol) -> Result<(Stream, Protocol), UpstreamError> {
        self.connect_in_time(wanted, None).await
    }

    /// An HTTP/1.1 connection over which nothing but the heads of requests is sent. What the API server does not acknowledge for seconds breaks it. With a body
    /// that is no sign: one that is not read yet is not acknowledged either.
    pub(super) async fn connect_for_reads(&self) -> Result<Stream, UpstreamError> {
        let connected = self.connect_in_time(Protocol::Http1, Some(UNACKNOWLEDGED)).await;
        connected.map(|(stream, _)| stream)
    }

    async fn connect_in_time(
        &self,
        wanted: Protocol,
        unacknowledged: Option<Duration>,
    ) -> Result<(Stream, Protocol), UpstreamError> {
        let connected = timeout(CONNECT, self.connect_slowly(wanted, unacknowledged)).await;
        let connected = connected.map_err(|_| UpstreamError::Timeout)?;
        connected.map_err(|error| UpstreamError::Connect(error.into()))
    }

    async fn connect_slowly(
        &self,
        wanted: Protocol,
        unacknowledged: Option<Duration>,
    ) -> io::Result<(Stream, Protocol)> {
        let (host, port) = (self.address.0.as_str(), self.address.1);
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        SockRef::from(&stream).set_tcp_keepalive(&probes())?;
        set_user_timeout(&stream, unacknowledged)?;
        let Some(tls) = &self.tls else {
            return Ok((Box::new(stream), Protocol::Http1));
        };
        let connector = match wanted {
            Protocol::Http1 => &tls.http1,
            Protocol::Http2 => &tls.http2,
        };
        let stream = connector.connect(tls.name.clone(), stream).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let spoken = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Ok((Box::new(stream), spoken))
    }
}

/// An API server that is gone without a word is noticed within seconds, also where nothing is sent to it.
fn probes() -> TcpKeepalive {
    TcpKeepalive::new().with_time(SILENCE).with_interval(PROBE)
}

/// Only Linux has such a limit. Elsewhere it is the system's, which is minutes.
fn set_user_timeout(stream: &TcpStream, limit: Option<Duration>) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if limit.is_some() {
        SockRef::from(stream).set_tcp_user_timeout(limit)?;
    }
    let _ = (stream, limit);
    Ok(())
}

fn offering(tls: &ClientConfig, protocols: &[&[u8]]) -> TlsConnector {
    let mut tls = tls.clone();
    tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(tls))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;

    fn connector(url: &str, server_name: Option<&str>) -> Result<Connector, UpstreamError> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ClientConfig::builder()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        Connector::new(&url.parse().unwrap(), &tls, server_name)
    }

    #[test]
    fn address_is_read() {
        let connector = connector("https://[fd00::1]:6443/k8s/clusters/c-1/", None).unwrap();
        assert_eq!(connector.address, ("fd00::1".to_owned(), 6443));
        assert_eq!(connector.host(), "[fd00::1]:6443");
        assert_eq!(connector.base(), "/k8s/clusters/c-1");
        let absolute = connector.absolute(&Uri::from_static("/api?x=1")).unwrap();
        assert_eq!(absolute, "https://[fd00::1]:6443/api?x=1");
    }

    #[test]
    fn server_name_may_be_another() {
        let named = connector("https://10.0.0.1", Some("kubernetes.default")).unwrap();
        assert_eq!(named.address, ("10.0.0.1".to_owned(), 443));
        assert_eq!(
            named.tls.unwrap().name,
            ServerName::try_from("kubernetes.default").unwrap()
        );
        assert!(connector("http://localhost:8001", None).unwrap().tls.is_none());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for url in ["/api", "ftp://host", "https://a_b..c:1"] {
            assert!(connector(url, None).is_err(), "{url}");
        }
    }
}
