//! How many connections are open at a time. Each costs memory and a file descriptor before it is known whose it is.

use std::future::{Ready, ready};
use std::io;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::Accept;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower_http::add_extension::AddExtension;

use crate::idle_timeout::IdleTimeout;
use crate::write_timeout::{StreamGuard, WriteTimeout, WriteTimeoutLimit};

/// Accepts connections while there are not too many; one more is closed without a word.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionLimit {
    places: Arc<Semaphore>,
    /// How long an answer may go unread.
    unread: Duration,
    /// How long nothing may happen.
    idle: Duration,
}

/// A connection's place, given back when it and all that is done for it has ended.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionPermit {
    _permit: Arc<OwnedSemaphorePermit>,
    limit: WriteTimeoutLimit,
}

// === impl ConnectionLimit ===

impl ConnectionLimit {
    pub(crate) fn new(limit: NonZeroU32, unread: Duration, idle: Duration) -> Self {
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Self { places, unread, idle }
    }

    fn place(&self) -> io::Result<ConnectionPermit> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let place = |permit| ConnectionPermit {
            _permit: Arc::new(permit),
            limit: WriteTimeoutLimit::new(self.unread),
        };
        permit.map(place).map_err(|_| {
            tracing::warn!("connection rejected: server.maxConnections reached");
            io::ErrorKind::ConnectionRefused.into()
        })
    }
}

// === impl ConnectionPermit ===

impl ConnectionPermit {
    /// This connection carries a stream for as long as what is returned lives. Its client may be slow or silent, and must not leave an answer unread
    /// for `limit`.
    pub(crate) fn carries_stream(&self, limit: Duration) -> StreamGuard {
        self.limit.stream(limit)
    }
}

impl<S> Accept<TcpStream, S> for ConnectionLimit {
    type Stream = WriteTimeout<IdleTimeout<TcpStream>>;
    type Service = AddExtension<S, ConnectionPermit>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = self.place().and_then(|place| {
            stream.set_nodelay(true)?;
            let idle = IdleTimeout::new(stream, self.idle, place.limit.clone());
            let stream = WriteTimeout::new(idle, place.limit.clone());
            Ok((stream, AddExtension::new(service, place)))
        });
        ready(accepted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_is_given_back_with_its_connection() {
        let limited = ConnectionLimit::new(NonZeroU32::new(2).unwrap(), Duration::ZERO, Duration::MAX);
        let (first, _second) = (limited.place().unwrap(), limited.place().unwrap());
        assert!(limited.place().is_err());
        let of_a_request = first.clone();
        drop(first);
        assert!(limited.place().is_err());
        drop(of_a_request);
        assert!(limited.place().is_ok());
    }
}
