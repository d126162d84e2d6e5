//! HTTP/2 connections that requests share.
//!
//! The API server allows a number of streams on a connection, 100 as it comes. A client that asks for one more waits until another ends, and watches
//! never do. So each connection's streams are counted, and one that is full is left alone: the next request gets another connection.
//!
//! A reader that stalls holds its own stream's window and nothing else: the window of the connection is as large as those of all streams.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::body::BoxBody;

use super::connect::{Connector, Protocol, Stream};
use super::error::{CONNECT, UpstreamError};

/// The most streams on a connection, whatever the API server allows.
const STREAMS: usize = 100;
/// How much of an answer may wait to be read, in bytes.
const WINDOW: u32 = 256 * 1024;
/// How many requests a connection takes before its API server has said how many it allows.
const FIRST_STREAMS: usize = 10;
/// How long a connection may be silent before it is asked whether it is alive, and how long it may take to answer.
const PING: Duration = Duration::from_secs(3);

/// The connections there are.
#[derive(Default)]
pub(super) struct Pool {
    connections: Mutex<Vec<Shared>>,
    /// Held while a connection is made: those who wait share it.
    connecting: tokio::sync::Mutex<()>,
    /// Whether the API server was found to speak HTTP/1.1 only.
    is_http1: AtomicBool,
}

/// Where a request is sent.
pub(super) enum Checkout {
    /// On a shared connection.
    Shared(StreamPermit),
    /// On a connection of its own: the API server speaks HTTP/1.1 only.
    Own(Stream),
}

/// A connection that requests share.
struct Shared {
    sender: SendRequest<BoxBody>,
    streams: Arc<AtomicUsize>,
    /// How many streams the API server allows.
    allowed: Arc<AtomicUsize>,
}

type Http2 = http2::Connection<TokioIo<Stream>, BoxBody, TokioExecutor>;

/// A place on a connection.
pub(super) struct StreamPermit {
    sender: SendRequest<BoxBody>,
    taken: StreamCount,
}

/// A stream that is counted until this is dropped.
struct StreamCount(Arc<AtomicUsize>);

/// Why a request was not answered.
pub(super) enum SendError {
    /// It was not sent. Another connection may take it.
    Unsent(Box<Request<BoxBody>>),
    /// It may have been carried out.
    Failed(hyper::Error),
}

// === impl StreamCount ===

impl Drop for StreamCount {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl Pool ===

impl Pool {
    /// A place for one request.
    pub(super) async fn place(&self, connector: &Connector) -> Result<Checkout, UpstreamError> {
        if let Some(seat) = self.free() {
            return Ok(Checkout::Shared(seat));
        }
        if self.is_http1.load(Ordering::Relaxed) {
            return Ok(Checkout::Own(connector.connect(Protocol::Http1).await?.0));
        }
        let waited = timeout(CONNECT, self.connecting.lock()).await;
        let _connecting = waited.map_err(|_| UpstreamError::Timeout)?;
        if let Some(seat) = self.free() {
            return Ok(Checkout::Shared(seat));
        }
        let (stream, spoken) = connector.connect(Protocol::Http2).await?;
        if spoken == Protocol::Http1 {
            self.is_http1.store(true, Ordering::Relaxed);
            return Ok(Checkout::Own(stream));
        }
        let connection = handshake(stream).await?;
        let seat = connection.seat().ok_or(UpstreamError::Timeout)?;
        self.connections().push(connection);
        Ok(Checkout::Shared(seat))
    }

    /// A place on a connection that has one. Connections that are closed are forgotten.
    fn free(&self) -> Option<StreamPermit> {
        let mut connections = self.connections();
        connections.retain(|connection| !connection.sender.is_closed());
        connections.iter().find_map(Shared::seat)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn handshake(stream: Stream) -> Result<Shared, UpstreamError> {
    let all = WINDOW.saturating_mul(u32::try_from(STREAMS).unwrap_or(u32::MAX));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(all)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .keep_alive_while_idle(true)
        .initial_max_send_streams(FIRST_STREAMS);
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    let allowed = Arc::new(AtomicUsize::new(connection.current_max_send_streams()));
    tokio::spawn(run(connection, Arc::clone(&allowed)));
    Ok(Shared {
        sender,
        allowed,
        streams: Arc::default(),
    })
}

/// Runs a connection to its end, and keeps in `allowed` how many streams the API server allows on it. That comes with its first words, and may
/// change.
async fn run(connection: Http2, allowed: Arc<AtomicUsize>) {
    let mut connection = std::pin::pin!(connection);
    let ended = poll_fn(|ctx| {
        let polled = connection.as_mut().poll(ctx);
        allowed.store(connection.current_max_send_streams(), Ordering::Release);
        polled
    });
    if let Err(error) = ended.await {
        tracing::debug!(%error, "a connection to the API server ended");
    }
}

// === impl Shared ===

impl Shared {
    /// A place on it, unless it is full.
    fn seat(&self) -> Option<StreamPermit> {
        let most = self.allowed.load(Ordering::Acquire).min(STREAMS);
        let one_more = |count: usize| (count < most).then_some(count + 1);
        self.streams
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .ok()?;
        Some(StreamPermit {
            sender: self.sender.clone(),
            taken: StreamCount(Arc::clone(&self.streams)),
        })
    }
}

// === impl StreamPermit ===

impl StreamPermit {
    /// Sends a request. The place is kept until the answer's body is dropped.
    pub(super) async fn send(mut self, request: Request<BoxBody>) -> Result<Response<BoxBody>, SendError> {
        let sent = self.sender.try_send_request(request).await;
        let response = sent.map_err(|mut error| match error.take_message() {
            Some(request) => SendError::Unsent(Box::new(request)),
            None => SendError::Failed(error.into_error()),
        })?;
        let taken = self.taken;
        let keeping = move |error: hyper::Error| {
            let _ = &taken;
            error.into()
        };
        Ok(response.map(|body| body.map_err(keeping).boxed_unsync()))
    }
}
