//! Connections to tailscaled's unix socket.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tower_service::Service;

use crate::Error;

/// How long to wait for a place in the queue of a socket that has too many connections waiting to be accepted.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(20);

/// Connects to one socket, whatever the URI.
#[derive(Clone, Debug)]
pub(crate) struct UnixSocket {
    path: Arc<Path>,
}

// === impl UnixSocket ===

impl UnixSocket {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path: path.into() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What it means that no connection could be made.
    pub(crate) fn unreachable(&self, why: io::Error) -> Error {
        let path = self.path.to_path_buf();
        match why.kind() {
            io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, why },
            _ => Error::NoTailscaled { path, why },
        }
    }
}

impl Service<Uri> for UnixSocket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = Arc::clone(&self.path);
        Box::pin(connect(path))
    }
}

/// A full queue answers `EAGAIN` (unix(7)): tailscaled is there, only busy. The caller's time limit ends the waiting.
async fn connect(path: Arc<Path>) -> io::Result<TokioIo<UnixStream>> {
    loop {
        match UnixStream::connect(&path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(QUEUE_FULL_PAUSE).await,
            connected => return connected.map(TokioIo::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_socket_is_not_a_missing_one() {
        let socket = UnixSocket::new("/run/tailscaled.sock".into());
        let denied = socket.unreachable(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(denied, Error::PermissionDenied { .. }));
        for kind in [
            io::ErrorKind::NotFound,
            io::ErrorKind::ConnectionRefused,
            io::ErrorKind::Other,
        ] {
            let missing = socket.unreachable(kind.into());
            assert!(matches!(missing, Error::NoTailscaled { .. }));
            assert!(missing.to_string().contains("/run/tailscaled.sock"), "{missing}");
        }
    }
}
