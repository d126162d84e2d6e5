//! HTTP/1.1 connections that are kept from one read to the next.
//!
//! The API server answers a small GET in less time over HTTP/1.1 than over HTTP/2, and sends a large list a third faster. There are no frames to make, and
//! there is no window to wait for. A connection is driven by the request that has it, in the same task, so that no other task is woken for it.
//!
//! Only reads that end by themselves and have no body come here. Requests of several sessions follow each other on a connection, and nothing of one may be taken
//! for the next. A connection may also close while a request is on its way, and nothing says whether that was carried out. A read is repeated then, over HTTP/2.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::body::{BoxBody, BoxError};

use super::connect::Connector;
use super::error::UpstreamError;
use super::{Http1, handshake_http1};

/// How many reads have a connection of their own at a time. Others share HTTP/2 connections.
pub(super) const READS: usize = 32;
/// How many connections wait for a read.
const IDLE: usize = 16;
/// For how long one does. The API server closes its own after 90 s.
const IDLE_TIME: Duration = Duration::from_secs(30);

/// The connections there are.
pub(super) struct KeepAlive {
    idle: Arc<Mutex<Vec<Idle>>>,
    reads: Arc<Semaphore>,
}

/// A connection that no read has.
struct Idle {
    connection: Connection,
    since: Instant,
}

/// A connection, and the place of its read.
struct Busy {
    connection: Connection,
    place: OwnedSemaphorePermit,
    idle: Arc<Mutex<Vec<Idle>>>,
}

struct Connection {
    sender: http1::SendRequest<BoxBody>,
    /// None once it has ended.
    driver: Option<Http1>,
}

/// The body of an answer, and the connection that it comes over until it is whole.
struct Answer {
    body: Incoming,
    busy: Option<Busy>,
}

/// A place for one read.
pub(super) struct ReadPermit(OwnedSemaphorePermit);

// === impl KeepAlive ===

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            idle: Arc::default(),
            reads: Arc::new(Semaphore::new(READS)),
        }
    }
}

impl KeepAlive {
    /// A place for one read, unless there are too many.
    pub(super) fn place(&self) -> Option<ReadPermit> {
        Arc::clone(&self.reads).try_acquire_owned().ok().map(ReadPermit)
    }

    /// Sends `request`, whose URI is a path, and which has no body. It is returned where there is no connection for it, and where one that was kept breaks before
    /// the answer. Then it may have been carried out, and a read may be repeated.
    pub(super) async fn send(
        &self,
        ReadPermit(place): ReadPermit,
        connector: &Connector,
        mut request: Request<BoxBody>,
    ) -> Result<Result<Response<BoxBody>, Request<BoxBody>>, UpstreamError> {
        let kept = self.take().await;
        let spare = kept.is_some().then(|| head_of(&request));
        let connection = match kept {
            Some(connection) => connection,
            None => match Connection::open(connector).await {
                Ok(connection) => connection,
                Err(error) => {
                    tracing::debug!(%error, "cannot connect to the API server for a read");
                    return Ok(Err(request));
                }
            },
        };
        *request.version_mut() = Version::HTTP_11;
        // It would announce a body. What it says of none is nothing.
        request.headers_mut().remove(CONTENT_LENGTH);
        let idle = Arc::clone(&self.idle);
        let mut busy = Busy {
            connection,
            place,
            idle,
        };
        let mut error = match busy.connection.send(request).await {
            Ok(answer) => return Ok(Ok(answer.map(|body| Answer::new(body, busy).boxed_unsync()))),
            Err(error) => error,
        };
        match error.take_message().or(spare) {
            Some(request) => Ok(Err(request)),
            None => Err(error.into_error().into()),
        }
    }

    /// One that waits, and that the API server has not closed.
    async fn take(&self) -> Option<Connection> {
        loop {
            let Idle { mut connection, since } = lock(&self.idle).pop()?;
            if since.elapsed() > IDLE_TIME {
                // Those below it wait for longer.
                lock(&self.idle).clear();
                return None;
            }
            let is_open = poll_fn(|ctx| Poll::Ready(connection.drive(ctx).is_pending())).await;
            if is_open && connection.sender.is_ready() {
                return Some(connection);
            }
        }
    }
}

/// `request` once more, without the body that it does not have.
fn head_of(request: &Request<BoxBody>) -> Request<BoxBody> {
    let mut copy = Request::new(Empty::new().map_err(|never| match never {}).boxed_unsync());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}

fn lock(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

// === impl Connection ===

impl Connection {
    async fn open(connector: &Connector) -> Result<Self, UpstreamError> {
        let stream = connector.connect_for_reads().await?;
        let (sender, driver) = handshake_http1(stream).await?;
        let driver = Some(driver);
        Ok(Self { sender, driver })
    }

    /// Moves what can be moved. Ready once the connection has ended.
    fn drive(&mut self, ctx: &mut Context<'_>) -> Poll<()> {
        let Some(driver) = &mut self.driver else {
            return Poll::Ready(());
        };
        match Pin::new(driver).poll(ctx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(ended) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection to the API server ended");
                }
                self.driver = None;
                Poll::Ready(())
            }
        }
    }

    async fn send(&mut self, request: Request<BoxBody>) -> Result<Response<Incoming>, TrySendError<Request<BoxBody>>> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        poll_fn(|ctx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(ctx) {
                return Poll::Ready(answer);
            }
            let _ = self.drive(ctx);
            answer.as_mut().poll(ctx)
        })
        .await
    }
}

// === impl Answer ===

impl Answer {
    fn new(body: Incoming, busy: Busy) -> Self {
        let mut answer = Self { body, busy: Some(busy) };
        if answer.body.is_end_stream() {
            answer.release();
        }
        answer
    }

    /// The body is whole: another read may have the connection.
    fn release(&mut self) {
        let Some(Busy {
            connection,
            place,
            idle,
        }) = self.busy.take()
        else {
            return;
        };
        if connection.driver.is_some() {
            let mut idle = lock(&idle);
            if idle.len() < IDLE {
                let since = Instant::now();
                idle.push(Idle { connection, since });
            }
        }
        drop(place);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let mut frame = Pin::new(&mut this.body).poll_frame(ctx);
        if frame.is_pending()
            && let Some(busy) = &mut this.busy
        {
            let _ = busy.connection.drive(ctx);
            frame = Pin::new(&mut this.body).poll_frame(ctx);
        }
        match frame {
            Poll::Ready(None) => this.release(),
            Poll::Ready(Some(Err(_))) => this.busy = None,
            // A body whose length was told is not polled after its last byte.
            Poll::Ready(Some(Ok(_))) if this.body.is_end_stream() => this.release(),
            Poll::Ready(Some(Ok(_))) | Poll::Pending => {}
        }
        frame.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
