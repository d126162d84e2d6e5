//! Connections to the API server.
//!
//! They carry no credential of the server's own, and no client certificate. The API server would look at the certificate before the token, and every
//! caller would be the server. Reads without a body take HTTP/1.1 connections that are kept (`keep_alive.rs`). All other requests share HTTP/2
//! connections (`pool.rs`). An upgrade takes an HTTP/1.1 connection of its own, because HTTP/2 cannot answer 101. Redirects are answers like any other.

mod connect;
mod error;
mod keep_alive;
mod pool;

use http::header::{CONNECTION, HOST, HeaderValue, UPGRADE};
use http::{Request, Response, Uri, Version};
use http_body::Body as _;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use crate::body::BoxBody;

pub use self::error::UpstreamError;

use self::connect::{Connector, Protocol};
use self::keep_alive::KeepAlive;
use self::pool::{Checkout, Pool, SendError};

/// How often a request is sent at the most, where connections close before it is.
const MAX_TRIES: u32 = 3;
/// How large an answer's head may be over HTTP/1.1, in bytes.
const MAX_HEAD: usize = 128 * 1024;

/// An API server.
pub struct Upstream {
    connector: Connector,
    pool: Pool,
    keep_alive: KeepAlive,
}

// === impl Upstream ===

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream")
            .field("authority", self.connector.authority())
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// The API server at `url`, whose certificate `tls` verifies as that of `server_name`, or of the host in `url`.
    ///
    /// `tls` must present no client certificate.
    pub fn new(url: &Uri, tls: &rustls::ClientConfig, server_name: Option<&str>) -> Result<Self, UpstreamError> {
        let connector = Connector::new(url, tls, server_name)?;
        Ok(Self {
            connector,
            pool: Pool::default(),
            keep_alive: KeepAlive::default(),
        })
    }

    /// What the header `Host` says.
    #[must_use]
    pub fn host(&self) -> &HeaderValue {
        self.connector.host()
    }

    /// The path below which its API is.
    #[must_use]
    pub fn base(&self) -> &str {
        self.connector.base()
    }

    /// Sends a request, whose URI is a path and whose headers are [`headers::request`](crate::headers::request)'s. Returns the answer once its head is there; its body comes as it is
    /// read.
    pub async fn send(&self, mut request: Request<BoxBody>) -> Result<Response<BoxBody>, UpstreamError> {
        for _ in 1..MAX_TRIES {
            match self.try_send(request).await? {
                Ok(response) => return Ok(response),
                Err(unsent) => request = unsent,
            }
        }
        self.try_send(request).await?.map_err(|_| UpstreamError::Closed)
    }

    /// Sends a read that ends by itself, and so no watch, over a connection of its own that is kept for the next. Else like [`send`](Self::send).
    ///
    /// What has a body goes with the others: what follows a body on such a connection would be taken for the next caller's request. So does what asks for an
    /// upgrade: it must not be answered here.
    pub async fn read(&self, mut request: Request<BoxBody>) -> Result<Response<BoxBody>, UpstreamError> {
        let is_plain = request.body().is_end_stream()
            && ![CONNECTION, UPGRADE]
                .iter()
                .any(|name| request.headers().contains_key(name));
        if is_plain && let Some(place) = self.keep_alive.place() {
            match self.keep_alive.send(place, &self.connector, request).await? {
                Ok(response) => return Ok(response),
                Err(unanswered) => request = unanswered,
            }
        }
        self.send(request).await
    }

    /// Sends a request once. The request is returned where the connection closed before it was sent.
    async fn try_send(
        &self,
        mut request: Request<BoxBody>,
    ) -> Result<Result<Response<BoxBody>, Request<BoxBody>>, UpstreamError> {
        let seat = match self.pool.place(&self.connector).await? {
            Checkout::Shared(seat) => seat,
            Checkout::Own(stream) => {
                let response = send_http1(stream, request).await?;
                return Ok(Ok(response.map(|body| body.map_err(Into::into).boxed_unsync())));
            }
        };
        // HTTP/2 has the host in the URI.
        request.headers_mut().remove(HOST);
        *request.uri_mut() = self.connector.absolute(request.uri())?;
        *request.version_mut() = Version::HTTP_2;
        match seat.send(request).await {
            Ok(response) => Ok(Ok(response)),
            Err(SendError::Unsent(request)) => Ok(Err(*request)),
            Err(SendError::Failed(error)) => Err(error.into()),
        }
    }

    /// Sends a request that asks for an upgrade, over a connection of its own. What becomes of it is in the answer: 101, and then
    /// [`hyper::upgrade::on`] has the connection; or a refusal, whose body comes as it is read.
    pub async fn upgrade(&self, request: Request<BoxBody>) -> Result<Response<Incoming>, UpstreamError> {
        let (stream, _) = self.connector.connect(Protocol::Http1).await?;
        send_http1(stream, request).await
    }
}

/// What moves the bytes of an HTTP/1.1 connection.
type Http1 = http1::Connection<TokioIo<connect::Stream>, BoxBody>;

async fn handshake_http1(stream: connect::Stream) -> hyper::Result<(http1::SendRequest<BoxBody>, Http1)> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_HEAD);
    builder.handshake(TokioIo::new(stream)).await
}

async fn send_http1(
    stream: connect::Stream,
    mut request: Request<BoxBody>,
) -> Result<Response<Incoming>, UpstreamError> {
    *request.version_mut() = Version::HTTP_11;
    let (mut sender, connection) = handshake_http1(stream).await?;
    // It ends with the answer, or when the upgraded connection is taken over.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

#[cfg(test)]
mod tests;
