//! Connections to tailscaled's unix socket.

use std::fs::File;
use std::future::Future;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::Uri;
use hyper_util::rt::TokioIo;
use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tower_service::Service;

use crate::Error;
use crate::excerpt::excerpt;

/// How long to wait for a place in the queue of a socket that has too many connections waiting to be accepted.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(20);
/// More than one line of a log has, in bytes.
const LAST_WORDS_BYTES: u64 = 4096;

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
            _ => Error::NoTailscaled {
                last_words: last_words(&path),
                path,
                why,
            },
        }
    }
}

/// What tailscaled's container wrote last before it ended. In a pod the Helm chart's sidecar keeps it beside the socket, as `tailscaled.last-words`: the
/// server may not read the log of another container.
fn last_words(socket: &Path) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(socket.with_extension("last-words"), flags, Mode::empty()).ok()?;
    let file = File::from(file);
    // A pipe would have this process wait.
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = Vec::new();
    file.take(LAST_WORDS_BYTES).read_to_end(&mut text).ok()?;
    let words = without_time(&excerpt(&String::from_utf8_lossy(&text)));
    (!words.is_empty()).then_some(words)
}

/// A line of a log without its date and time (`boot: 2026/11/27 19:00:00 no state`): a container that is started again and again says the same.
fn without_time(line: &str) -> String {
    let is_time = |word: &&str| {
        let is_of_time = |c: char| c.is_ascii_digit() || matches!(c, '/' | ':' | '.');
        let parts = |between: char| word.split(between).count();
        word.chars().all(is_of_time) && (parts('/') == 3 || parts(':') == 3)
    };
    let words: Vec<_> = line.split(' ').filter(|word| !is_time(word)).collect();
    words.join(" ")
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
    fn last_words_of_the_container_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixSocket::new(folder.path().join("tailscaled.sock"));
        let said = || socket.unreachable(io::ErrorKind::NotFound.into()).to_string();
        assert!(!said().contains("said last"), "{}", said());
        let file = folder.path().join("tailscaled.last-words");
        std::fs::write(&file, "boot: missing get permission on secret \"tka-0\"\u{1b}[2J\n").unwrap();
        assert!(said().contains("missing get permission on secret"), "{}", said());
        assert!(!said().contains('\u{1b}'), "{:?}", said());
        std::fs::write(&file, "x".repeat(100_000)).unwrap();
        assert!(said().len() < 1000, "{}", said().len());
        // What is no file of its own says nothing.
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &file).unwrap();
        assert!(!said().contains("said last"), "{}", said());
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(!said().contains("said last"), "{}", said());
    }

    #[test]
    fn same_end_at_another_time_is_the_same() {
        let said = "boot: no rights on secret 10.0.0.1:443 a/b";
        for line in ["boot: 2026/11/27 19:00:00 no rights on secret 10.0.0.1:443 a/b", said] {
            assert_eq!(without_time(line), said);
        }
    }

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
