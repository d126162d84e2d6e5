//! A program that calls a server, over the tailnet or from an address of its own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::Outcome;

/// How long an answer may take; longer than any server's own limit.
const LIMIT: Duration = Duration::from_mins(2);

/// How a server is reached.
#[derive(Clone)]
pub enum Route {
    /// Straight, from an address of this machine.
    From(IpAddr, SocketAddr),
    /// Straight, from any.
    To(SocketAddr),
    /// Straight, over TLS.
    Secured(SocketAddr, TlsConnector),
    /// Through the HTTP proxy of a node of the tailnet.
    Through(SocketAddr),
}

/// Bytes both ways.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A program with one connection, which is made anew when it was closed.
pub struct Caller {
    route: Route,
    authority: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// A request's answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// How long it took to be there as a whole, with the connection where that had to be made.
    pub time: Duration,
}

// === impl Caller ===

impl Caller {
    /// One that calls the server `authority` (`host:port`).
    #[must_use]
    pub fn new(route: Route, authority: &str) -> Self {
        Self {
            route,
            authority: authority.to_owned(),
            connection: None,
        }
    }

    /// Sends a request and reads its answer, whatever that is.
    pub async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: &str) -> Outcome<Answer> {
        let start = Instant::now();
        let (parts, body) = self.begin(method, path, headers, body).await?.into_parts();
        let body = tokio::time::timeout(LIMIT, body.collect()).await??.to_bytes();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            time: start.elapsed(),
        })
    }

    /// Sends a request, and leaves its answer to be read as it comes.
    pub async fn begin(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Outcome<http::Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes())))?;
        let answer = tokio::time::timeout(LIMIT, self.connected().await?.send_request(request)).await?;
        if answer.is_err() {
            self.connection = None;
        }
        Ok(answer?)
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        self.connection = None;
    }

    async fn connected(&mut self) -> Outcome<&mut SendRequest<Full<Bytes>>> {
        let ready = match &mut self.connection {
            Some(connection) => !connection.is_closed() && connection.ready().await.is_ok(),
            None => false,
        };
        if !ready {
            let stream = self.route.connect(&self.authority).await?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            self.connection = Some(sender);
        }
        self.connection.as_mut().ok_or_else(|| "there is no connection".into())
    }
}

// === impl Route ===

impl Route {
    /// Over TLS to a server whose certificate is of the authority in a PEM file.
    pub fn secured(to: SocketAddr, authority: &Path) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(authority)? {
            roots.add(certificate?)?;
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::Secured(to, TlsConnector::from(Arc::new(config))))
    }

    async fn connect(&self, authority: &str) -> io::Result<Box<dyn Stream>> {
        let stream = match self {
            Self::To(to) | Self::Secured(to, _) => TcpStream::connect(to).await?,
            Self::From(from, to) => {
                let socket = TcpSocket::new_v4()?;
                socket.bind(SocketAddr::new(*from, 0))?;
                socket.connect(*to).await?
            }
            Self::Through(proxy) => tunnel(TcpStream::connect(proxy).await?, authority).await?,
        };
        stream.set_nodelay(true)?;
        match self {
            Self::Secured(to, tls) => Ok(Box::new(tls.connect(to.ip().into(), stream).await?)),
            _ => Ok(Box::new(stream)),
        }
    }
}

/// Asks a proxy for the way to `authority` (RFC 9110, 9.3.6).
async fn tunnel(mut stream: TcpStream, authority: &str) -> io::Result<TcpStream> {
    let ask = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(ask.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    if head.starts_with(b"HTTP/1.1 200") || head.starts_with(b"HTTP/1.0 200") {
        return Ok(stream);
    }
    let said = String::from_utf8_lossy(&head).into_owned();
    Err(io::Error::other(format!("no way through the proxy: {said}")))
}
