//! A tailscaled that does what a test wants.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;

/// What to do about one request, in order. The connection stays open for the next request unless a step closes it.
pub(crate) enum Step {
    Write(Vec<u8>),
    Wait(Duration),
    Close,
    /// Closes the connection if it was kept from an earlier request.
    CloseUnlessNew,
}

/// Ends with the value.
pub(crate) struct Double {
    folder: Arc<TempDir>,
    requests: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
    listening: AbortHandle,
}

/// Answers the `n`th request (from 0) of all connections.
pub(crate) trait Answer: Fn(usize) -> Vec<Step> + Send + Sync + 'static {}

impl<F: Fn(usize) -> Vec<Step> + Send + Sync + 'static> Answer for F {}

impl Double {
    pub(crate) fn start(answer: impl Answer) -> Self {
        Self::start_in(Arc::new(TempDir::new().unwrap()), answer)
    }

    /// Ends this one with all its connections and starts another one on its socket.
    pub(crate) fn restart(self, answer: impl Answer) -> Self {
        let folder = Arc::clone(&self.folder);
        drop(self);
        std::fs::remove_file(socket_in(folder.path())).unwrap();
        Self::start_in(folder, answer)
    }

    fn start_in(folder: Arc<TempDir>, answer: impl Answer) -> Self {
        let listener = UnixListener::bind(socket_in(folder.path())).unwrap();
        Self::serve(folder, listener, answer)
    }

    /// Answers on a `listener` in `folder` that a test made itself.
    pub(crate) fn serve(folder: Arc<TempDir>, listener: UnixListener, answer: impl Answer) -> Self {
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let connections = Arc::<Mutex<Vec<AbortHandle>>>::default();
        let answer = Arc::new(answer);
        let (all_requests, all_connections) = (Arc::clone(&requests), Arc::clone(&connections));
        let listening = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let serving = tokio::spawn(converse(connection, Arc::clone(&all_requests), Arc::clone(&answer)));
                all_connections.lock().unwrap().push(serving.abort_handle());
            }
        });
        Self {
            folder,
            requests,
            connections,
            listening: listening.abort_handle(),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        socket_in(self.folder.path())
    }

    /// The heads of all requests.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.lock().unwrap().len()
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.listening.abort();
        for connection in self.connections.lock().unwrap().iter() {
            connection.abort();
        }
    }
}

pub(crate) fn socket_in(folder: &Path) -> PathBuf {
    folder.join("tailscaled.sock")
}

async fn converse(mut connection: UnixStream, requests: Arc<Mutex<Vec<String>>>, answer: Arc<impl Answer>) {
    let mut received = Vec::new();
    let mut is_new = true;
    while let Some(head) = read_head(&mut connection, &mut received).await {
        let number = {
            let mut requests = requests.lock().unwrap();
            requests.push(head);
            requests.len() - 1
        };
        for step in answer(number) {
            match step {
                Step::Write(bytes) => {
                    if connection.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                Step::Wait(duration) => tokio::time::sleep(duration).await,
                Step::CloseUnlessNew if is_new => {}
                Step::Close | Step::CloseUnlessNew => return,
            }
        }
        is_new = false;
    }
}

async fn read_head(connection: &mut UnixStream, received: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = received.drain(..end + 4).collect();
            return String::from_utf8(head).ok();
        }
        if connection.read_buf(received).await.ok()? == 0 {
            return None;
        }
    }
}

// === answers ===

pub(crate) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

pub(crate) fn ok(body: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::Write(answer("200 OK", "", body))]
}

pub(crate) fn refused(status: &str, body: &str) -> Vec<Step> {
    vec![Step::Write(answer(status, "", body))]
}

pub(crate) fn recorded(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(name)).unwrap()
}
