//! Connections over TLS that stay open, as a browser or another client of HTTP/2 keeps them.

use std::net::TcpStream;
use std::sync::Arc;

use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::{Builder, Runtime};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::Outcome;

/// What is spoken over TLS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// HTTP/1.1, the only one that is offered.
    Http1,
    /// HTTP/2, although HTTP/1.1 is offered too.
    Http2,
}

/// An open connection to a server.
pub struct Secure {
    runtime: Runtime,
    sender: Sender,
    host: String,
    /// The certificate that the server showed.
    pub certificate: Vec<u8>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

// === impl Protocol ===

impl Protocol {
    fn offers(self) -> Vec<Vec<u8>> {
        match self {
            Self::Http1 => vec![b"http/1.1".to_vec()],
            Self::Http2 => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        }
    }
}

// === impl Secure ===

impl Secure {
    /// Speaks TLS on `stream` to the server `host`, and believes only what `authority` (PEM) issued. The server must speak `protocol`.
    pub fn over(stream: TcpStream, host: &str, authority: &str, protocol: Protocol) -> Outcome<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes())?)?;
        let config =
            ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions()?;
        let mut config = config.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocol.offers();
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        stream.set_nonblocking(true)?;
        let name = ServerName::try_from(host.to_owned())?;
        let (sender, certificate) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::from_std(stream)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let connection = stream.get_ref().1;
            if connection.alpn_protocol() != protocol.offers().first().map(Vec::as_slice) {
                return Err(format!(
                    "the server does not speak {protocol:?} but {:?}",
                    connection.alpn_protocol()
                )
                .into());
            }
            let shown = connection.peer_certificates().and_then(|chain| chain.first());
            let shown = shown.map(|certificate| certificate.to_vec()).unwrap_or_default();
            Outcome::Ok((Sender::over(TokioIo::new(stream), protocol).await?, shown))
        })?;
        Ok(Self {
            runtime,
            sender,
            host: host.to_owned(),
            certificate,
        })
    }

    /// The status of the answer to `GET`, once all of it has come.
    pub fn status(&mut self, path: &str) -> Outcome<u16> {
        self.status_with(path, &[])
    }

    /// The same of a request with those headers.
    pub fn status_with(&mut self, path: &str, headers: &[(&'static str, &str)]) -> Outcome<u16> {
        let answer = self.begin(path, headers)?;
        let status = answer.status().as_u16();
        self.runtime.block_on(answer.into_body().collect())?;
        Ok(status)
    }

    /// The answer to `GET` once its head has come.
    pub fn begin(&mut self, path: &str, headers: &[(&'static str, &str)]) -> Outcome<Response<Incoming>> {
        let uri = Uri::builder()
            .scheme("https")
            .authority(self.host.as_str())
            .path_and_query(path);
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.build()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse()?);
        }
        self.runtime.block_on(async {
            Ok(match &mut self.sender {
                Sender::Http1(sender) => {
                    *request.uri_mut() = path.parse()?;
                    request.headers_mut().insert("host", self.host.parse()?);
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            })
        })
    }

    /// Waits until nothing more comes of an answer, even if it is reset.
    pub fn wait_for_the_end(&mut self, answer: Response<Incoming>) {
        let _ = self.runtime.block_on(answer.into_body().collect());
    }
}

type Stream = TokioIo<tokio_rustls::client::TlsStream<tokio::net::TcpStream>>;

// === impl Sender ===

impl Sender {
    async fn over(stream: Stream, protocol: Protocol) -> Outcome<Self> {
        Ok(match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        })
    }
}
