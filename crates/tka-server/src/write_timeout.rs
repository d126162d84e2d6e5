//! Answers that are not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// A connection that breaks when what is to be sent has not been taken within a time. Some of it is not enough: a client that reads a byte
/// now and then would keep a place for as long as they like.
#[derive(Debug)]
pub(crate) struct WriteTimeout<S> {
    stream: S,
    limit: WriteTimeoutLimit,
    /// The end of the time, while something is to be sent.
    end: Option<Pin<Box<Sleep>>>,
}

/// For how long what is to be sent on a connection may go unread. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct WriteTimeoutLimit(Arc<Limit>);

#[derive(Debug, Default)]
struct Limit {
    milliseconds: AtomicU64,
    /// How many streams are carried. While there is one, the time begins anew when some of what is to be sent was taken.
    streams: AtomicUsize,
    /// The time while there is one.
    stream_milliseconds: AtomicU64,
}

/// That a connection carries a stream.
#[derive(Debug)]
pub(crate) struct StreamGuard(WriteTimeoutLimit);

// === impl WriteTimeoutLimit ===

impl WriteTimeoutLimit {
    pub(crate) fn new(limit: Duration) -> Self {
        let this = Self(Arc::default());
        this.0.milliseconds.store(milliseconds(limit), Ordering::Relaxed);
        this
    }

    /// A stream is carried for as long as what is returned lives. Meanwhile nothing of what is to be sent may be taken for `limit`: an answer that never ends is
    /// never all taken.
    pub(crate) fn stream(&self, limit: Duration) -> StreamGuard {
        self.0.stream_milliseconds.store(milliseconds(limit), Ordering::Relaxed);
        self.0.streams.fetch_add(1, Ordering::AcqRel);
        StreamGuard(self.clone())
    }

    fn get(&self) -> Duration {
        let limit = if self.is_stream() {
            &self.0.stream_milliseconds
        } else {
            &self.0.milliseconds
        };
        Duration::from_millis(limit.load(Ordering::Relaxed))
    }

    /// Whether a stream is carried.
    pub(crate) fn is_stream(&self) -> bool {
        self.0.streams.load(Ordering::Acquire) > 0
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

// === impl StreamGuard ===

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.0.streams.fetch_sub(1, Ordering::AcqRel);
    }
}

// === impl WriteTimeout ===

impl<S> WriteTimeout<S> {
    pub(crate) fn new(stream: S, limit: WriteTimeoutLimit) -> Self {
        let end = None;
        Self { stream, limit, end }
    }

    /// `sent`, or an error where it waits for too long.
    fn in_time<T>(&mut self, sent: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            if self.limit.is_stream() {
                self.end = None;
            }
            return sent;
        }
        let limit = self.limit.get();
        let end = self.end.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(end.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.in_time(sent, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.in_time(sent, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// The writer flushes when nothing is left to be sent.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(sent, Poll::Ready(Ok(()))) {
            self.end = None;
        }
        self.in_time(sent, cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.in_time(sent, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    const LIMIT: Duration = Duration::from_secs(20);

    fn connection() -> (WriteTimeout<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(16);
        (WriteTimeout::new(ours, WriteTimeoutLimit::new(LIMIT)), theirs)
    }

    async fn send(connection: &mut WriteTimeout<DuplexStream>, length: usize) -> io::Result<()> {
        connection.write_all(&vec![0; length]).await?;
        connection.flush().await
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_is_not_read_breaks_the_connection() {
        let (mut connection, _theirs) = connection();
        let begun = Instant::now();
        let error = send(&mut connection, 100).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn answer_that_is_read_byte_by_byte_does_too() {
        let (mut connection, mut theirs) = connection();
        tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        let error = send(&mut connection, 100).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_may_be_read_slowly_but_must_be_read() {
        let (mut connection, mut theirs) = connection();
        let _carried = connection.limit.stream(LIMIT);
        let reader = tokio::spawn(async move {
            for _ in 0..100 {
                theirs.read_u8().await.unwrap();
                sleep(Duration::from_secs(1)).await;
            }
            theirs
        });
        send(&mut connection, 100).await.unwrap();
        let _theirs = reader.await.unwrap();
        let begun = Instant::now();
        let error = send(&mut connection, 100).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_time() {
        let (mut connection, mut theirs) = connection();
        tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        });
        for _ in 0..10 {
            send(&mut connection, 10).await.unwrap();
            sleep(LIMIT).await;
        }
    }
}
