//! Asking tailscaled.

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper::{HeaderMap, Request, Response, StatusCode, header};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::Error;
use crate::connector::UnixSocket;
use crate::excerpt::excerpt;

/// Where tailscaled listens on Linux unless told otherwise (`paths.DefaultTailscaledSocket`).
pub const DEFAULT_SOCKET: &str = "/var/run/tailscale/tailscaled.sock";

/// The only host that tailscaled answers to on its socket (`apitype.LocalAPIHost`).
const HOST: &str = "local-tailscaled.sock";

/// How many connections stay open while nothing is asked. More are opened as needed.
const KEPT_CONNECTIONS: usize = 8;

/// How much of an answer other than 200 is read.
const REFUSAL_BYTES: usize = 4 << 10;

/// How long, and how much. The [`Default`] suits a tailscaled on the same machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// For a call, from connecting to the last byte of the answer: 5 s. For watching, until the stream begins.
    pub call: Duration,
    /// For [`LocalApi::certificate`]: 2 min. tailscaled may have to obtain it first, which takes a certificate
    /// authority and DNS.
    pub certificate: Duration,
    /// The largest answer, in bytes: 1 MiB. It does not grow with the tailnet: WhoIs is about one node, and the status
    /// without peers is about this one.
    pub answer_bytes: usize,
    /// The largest notification, and the largest status with peers, in bytes: 32 MiB. One may carry every peer with
    /// some 2 KB each, so that this is for some 15,000 of them.
    pub notification_bytes: usize,
}

/// A client of the LocalAPI of one tailscaled. Clones share its connections.
#[derive(Clone, Debug)]
pub struct LocalApi {
    socket: UnixSocket,
    limits: Limits,
    kept_alive: Client<UnixSocket, Empty<Bytes>>,
    always_new: Client<UnixSocket, Empty<Bytes>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalApiCall<'a> {
    /// The endpoint's name.
    pub(crate) endpoint: &'static str,
    /// What follows `/localapi/v0/`: escaped already.
    pub(crate) path: &'a str,
    pub(crate) time: Duration,
}

// === impl Limits ===

impl Default for Limits {
    fn default() -> Self {
        Self {
            call: Duration::from_secs(5),
            certificate: Duration::from_mins(2),
            answer_bytes: 1 << 20,
            notification_bytes: 32 << 20,
        }
    }
}

// === impl LocalApi ===

impl LocalApi {
    /// A client of the tailscaled behind `socket`. Nothing is opened yet: tailscaled may start later, or again.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self::with_limits(socket, Limits::default())
    }

    /// The same, with other limits.
    pub fn with_limits(socket: impl Into<PathBuf>, limits: Limits) -> Self {
        let socket = UnixSocket::new(socket.into());
        let mut client = Client::builder(TokioExecutor::new());
        let kept_alive = client
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(KEPT_CONNECTIONS)
            .build(socket.clone());
        let always_new = client.pool_max_idle_per_host(0).build(socket.clone());
        Self {
            socket,
            limits,
            kept_alive,
            always_new,
        }
    }

    /// The socket's path.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.socket.path()
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The whole answer.
    pub(crate) async fn ask(&self, question: LocalApiCall<'_>) -> Result<Vec<u8>, Error> {
        self.ask_up_to(question, self.limits.answer_bytes).await
    }

    /// The whole answer, of at most `limit` bytes.
    pub(crate) async fn ask_up_to(&self, question: LocalApiCall<'_>, limit: usize) -> Result<Vec<u8>, Error> {
        question
            .in_time(async {
                let response = self.send_twice(question).await?;
                let body = question.accept(response).await?;
                question.read(body, limit).await
            })
            .await
    }

    /// The answer as it comes, on a connection of its own.
    pub(crate) async fn listen(&self, question: LocalApiCall<'_>) -> Result<Incoming, Error> {
        question
            .in_time(async {
                let response = self.send(&self.always_new, question).await?;
                question.accept(response).await
            })
            .await
    }

    /// A kept connection may have been closed by a tailscaled that restarted since, which shows only when it is used.
    /// Every question is a GET that changes nothing, so it may be asked again, on a new connection. (hyper's client
    /// asks again by itself only what it did not begin to send.)
    async fn send_twice(&self, question: LocalApiCall<'_>) -> Result<Response<Incoming>, Error> {
        match self.send(&self.kept_alive, question).await {
            Err(Error::Interrupted { .. }) => self.send(&self.always_new, question).await,
            other => other,
        }
    }

    async fn send(
        &self,
        client: &Client<UnixSocket, Empty<Bytes>>,
        question: LocalApiCall<'_>,
    ) -> Result<Response<Incoming>, Error> {
        let sent = client.request(question.request()?).await;
        sent.map_err(|error| self.failure(question, &error))
    }

    fn failure(&self, question: LocalApiCall<'_>, error: &legacy::Error) -> Error {
        if !error.is_connect() {
            return broken(question.endpoint, error);
        }
        let why = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
        self.socket.unreachable(match why {
            Some(why) => why.raw_os_error().map_or_else(
                || io::Error::new(why.kind(), why.to_string()),
                io::Error::from_raw_os_error,
            ),
            None => io::Error::other(innermost(error)),
        })
    }
}

// === impl LocalApiCall ===

impl LocalApiCall<'_> {
    /// tailscaled wants the right `Host` and neither `Origin` nor `Referer` (`localapi.Handler.ServeHTTP`), no more.
    fn request(&self) -> Result<Request<Empty<Bytes>>, Error> {
        Request::get(format!("http://{HOST}/localapi/v0/{}", self.path))
            .body(Empty::new())
            .map_err(|error| Error::InvalidQuestion {
                endpoint: self.endpoint,
                why: error.to_string(),
            })
    }

    async fn in_time<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let timed_out = |_| Error::TimedOut {
            endpoint: self.endpoint,
            limit: self.time,
        };
        tokio::time::timeout(self.time, answer).await.map_err(timed_out)?
    }

    /// The body of a good answer, the meaning of a bad one.
    async fn accept(&self, response: Response<Incoming>) -> Result<Incoming, Error> {
        let (head, mut body) = response.into_parts();
        if head.status == StatusCode::OK {
            return Ok(body);
        }
        let mut bytes = Vec::new();
        while let Some(Ok(frame)) = body.frame().await
            && bytes.len() < REFUSAL_BYTES
        {
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
        }
        let (endpoint, said) = (self.endpoint, excerpt(&String::from_utf8_lossy(&bytes)));
        Err(match head.status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Forbidden { endpoint, said },
            StatusCode::TOO_MANY_REQUESTS => Error::RateLimited {
                retry_after: retry_after(&head.headers),
                said,
            },
            status => Error::Refused {
                endpoint,
                status: status.as_u16(),
                said,
            },
        })
    }

    async fn read(&self, mut body: Incoming, limit: usize) -> Result<Vec<u8>, Error> {
        let too_large = || Error::TooLarge {
            endpoint: self.endpoint,
            limit,
        };
        if body.size_hint().lower() > limit as u64 {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(self.endpoint, &error))?;
            let Ok(data) = frame.into_data() else { continue };
            if bytes.len() + data.len() > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }
}

/// What a failed exchange means: something else than HTTP came, or nothing more came.
pub(crate) fn broken(endpoint: &'static str, error: &(dyn StdError + 'static)) -> Error {
    let why = innermost(error);
    let is_malformed = causes(error).any(|cause| {
        let parse = cause.downcast_ref().is_some_and(hyper::Error::is_parse);
        let data = cause.downcast_ref().map(io::Error::kind);
        parse || matches!(data, Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
    });
    if is_malformed {
        Error::Malformed { endpoint, why }
    } else {
        Error::Interrupted { endpoint, why }
    }
}

/// `text` with everything escaped that has a meaning in a path or a query (RFC 3986, section 2.3).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// tailscaled gives seconds, never a date (`feature/acme/errors.go`).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map_or_else(String::new, ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escape_leaves_nothing_with_a_meaning() {
        assert_eq!(escape("[fd7a::1]:80"), "%5Bfd7a%3A%3A1%5D%3A80");
        assert_eq!(escape("node.tail.ts.net"), "node.tail.ts.net");
        assert_eq!(escape("../status?a=b#c é"), "..%2Fstatus%3Fa%3Db%23c%20%C3%A9");
    }

    proptest! {
        #[test]
        fn whatever_is_escaped_fits_a_request(text in ".{0,200}") {
            let path = format!("whois?addr={}", escape(&text));
            let question = LocalApiCall { endpoint: "whois", path: &path, time: Duration::ZERO };
            let uri = question.request().unwrap().into_parts().0.uri;
            prop_assert_eq!(uri.path(), "/localapi/v0/whois");
            prop_assert_eq!(uri.host(), Some(HOST));
        }
    }
}
