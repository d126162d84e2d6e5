//! Connections on which nothing happens. HTTP/1.1 has a time for the next request's head; HTTP/2 has none of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::write_timeout::WriteTimeoutLimit;

/// A connection that breaks when nothing was received or sent for a time. Every answer must come in less than that time.
#[derive(Debug)]
pub(crate) struct IdleTimeout<S> {
    stream: S,
    limit: Duration,
    /// Whether a stream is carried, which may be silent.
    streams: WriteTimeoutLimit,
    last: Instant,
    end: Option<Pin<Box<Sleep>>>,
}

// === impl IdleTimeout ===

impl<S> IdleTimeout<S> {
    pub(crate) fn new(stream: S, limit: Duration, streams: WriteTimeoutLimit) -> Self {
        Self {
            stream,
            limit,
            streams,
            last: Instant::now(),
            end: None,
        }
    }

    /// `received`, or an error where nothing has happened for too long. What was sent since counts, although it wakes no reader.
    fn in_time<T>(&mut self, received: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if received.is_ready() {
            self.last = Instant::now();
            return received;
        }
        loop {
            let due = self.last + self.limit;
            let end = self.end.get_or_insert_with(|| Box::pin(sleep_until(due)));
            ready!(end.as_mut().poll(cx));
            if self.streams.is_stream() {
                self.last = Instant::now();
            } else if Instant::now() >= due {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.end = None;
        }
    }

    fn sent<T>(&mut self, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if sent.is_ready() {
            self.last = Instant::now();
        }
        sent
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for IdleTimeout<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let received = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.in_time(received, cx)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for IdleTimeout<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_mins(1);

    #[tokio::test(start_paused = true)]
    async fn silent_connection_breaks_in_time() {
        let (ours, _theirs) = duplex(16);
        let mut ours = IdleTimeout::new(ours, LIMIT, WriteTimeoutLimit::new(LIMIT));
        let began = Instant::now();
        let error = ours.read_u8().await.unwrap_err();
        assert_eq!((error.kind(), began.elapsed()), (io::ErrorKind::TimedOut, LIMIT));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_received_or_sent_keeps_it() {
        let (ours, mut theirs) = duplex(16);
        let (mut reader, mut writer) = split(IdleTimeout::new(ours, LIMIT, WriteTimeoutLimit::new(LIMIT)));
        let began = Instant::now();
        let reading = tokio::spawn(async move {
            reader.read_u8().await.unwrap();
            reader.read_u8().await.unwrap_err().kind()
        });
        sleep(LIMIT / 2).await;
        theirs.write_u8(1).await.unwrap();
        sleep(LIMIT / 2).await;
        // While the reader waits.
        writer.write_u8(2).await.unwrap();
        assert_eq!(reading.await.unwrap(), io::ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), LIMIT * 2);
    }

    #[tokio::test(start_paused = true)]
    async fn stream_may_be_silent_while_it_is_carried() {
        let (ours, _theirs) = duplex(16);
        let streams = WriteTimeoutLimit::new(LIMIT);
        let carried = streams.stream(LIMIT);
        let mut ours = IdleTimeout::new(ours, LIMIT, streams);
        let began = Instant::now();
        let read = ours.read_u8();
        let ends = async {
            sleep(LIMIT * 5).await;
            drop(carried);
        };
        let (read, ()) = tokio::join!(read, ends);
        assert!(read.is_err());
        assert!((LIMIT * 5..=LIMIT * 7).contains(&began.elapsed()));
    }
}
