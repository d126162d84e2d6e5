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

use crate::write_timeout::{UnreadLimit, WriteTimeout};

/// Accepts connections while there are not too many; one more is closed without a word.
#[derive(Clone, Debug)]
pub(crate) struct Limited {
    places: Arc<Semaphore>,
    /// How long an answer may go unread.
    unread: Duration,
}

/// A connection's place, given back when it and all that is done for it has ended.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    _permit: Arc<OwnedSemaphorePermit>,
    unread: UnreadLimit,
}

// === impl Limited ===

impl Limited {
    pub(crate) fn new(limit: NonZeroU32, unread: Duration) -> Self {
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Self { places, unread }
    }

    fn place(&self) -> io::Result<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned();
        let place = |permit| Place {
            _permit: Arc::new(permit),
            unread: UnreadLimit::new(self.unread),
        };
        permit.map(place).map_err(|_| {
            tracing::warn!("connection rejected: server.maxConnections reached");
            io::ErrorKind::ConnectionRefused.into()
        })
    }
}

// === impl Place ===

impl Place {
    /// This connection carries streams from now on: their client may be slow, and must not stand still for `limit`.
    pub(crate) fn carries_streams(&self, limit: Duration) {
        self.unread.stream(limit);
    }
}

impl<S> Accept<TcpStream, S> for Limited {
    type Stream = WriteTimeout<TcpStream>;
    type Service = AddExtension<S, Place>;
    type Future = Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = self.place().and_then(|place| {
            stream.set_nodelay(true)?;
            let stream = WriteTimeout::new(stream, place.unread.clone());
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
        let limited = Limited::new(NonZeroU32::new(2).unwrap(), Duration::ZERO);
        let (first, _second) = (limited.place().unwrap(), limited.place().unwrap());
        assert!(limited.place().is_err());
        let of_a_request = first.clone();
        drop(first);
        assert!(limited.place().is_err());
        drop(of_a_request);
        assert!(limited.place().is_ok());
    }
}
