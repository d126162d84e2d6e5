//! The way to the API server: one client for requests, which must be answered in time, and one for watches, which must not be silent.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::{Client, Config};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::util::AndThenLayer;

use crate::metrics::Metrics;
use crate::observe::{InjectTrace, Observe};
use crate::retry::{Retries, propagate_retry_after};
use crate::watch_activity::WatchActivity;

/// How long a connection may take to be established, with TLS. In the half minute that kube waits, the kernel sends its SYN at ever longer intervals.
/// So a network that is back would be noticed late, and a session would outlive its end by that much.
const CONNECT: Duration = Duration::from_secs(4);

/// How long the API server may be silent on a request: before it answers, and between two bytes of the answer. A connection that died without a word would
/// otherwise be waited for as long as the kernel does, a quarter of an hour.
const ANSWER: Duration = Duration::from_secs(10);

/// How long it may be silent on a watch, before it is answered or between two words.
pub(crate) const SILENCE: Duration = Duration::from_secs(6);

/// How many requests may wait to be sent. More than there ever are: sending one does not wait for another's answer.
const WAITING: usize = 1024;

/// The clients of one API server.
#[derive(Clone)]
pub struct Clients {
    /// For requests.
    pub requests: Client,
    /// For watches that the API server ends every few seconds. A connection that is silent for six is dead, and one that is not there after four never is.
    pub watches: Client,
    /// The same, for the watch of sessions alone.
    pub sessions: Client,
    /// When the API server last said a word on it.
    pub watch_activity: WatchActivity,
}

// === impl Clients ===

impl Clients {
    /// Clients of the API server that `config` leads to. Requests are counted in `metrics`, and `inject` says to which trace they belong.
    pub fn new(config: Config, metrics: &Metrics, inject: InjectTrace) -> Result<Self, kube::Error> {
        let observe = Observe {
            metrics: metrics.clone(),
            inject,
        };
        let mut requests = config;
        // kube's own retries wait for up to a quarter of an hour between two tries, unseen. A watch is begun anew by who watches.
        requests.default_retry = false;
        requests.connect_timeout = Some(CONNECT);
        requests.read_timeout = Some(ANSWER);
        // Else the time that a pooled connection was idle counts.
        requests.reset_reader_on_write = true;
        let mut watches = requests.clone();
        watches.read_timeout = Some(SILENCE);
        let requests = ClientBuilder::try_from(requests)?
            // Only what can be cloned can be tried again.
            .with_layer(&BufferLayer::new(WAITING))
            // Above the buffer, below which nothing knows any more in which span a request was made.
            .with_layer(&observe)
            .with_layer(&RetryLayer::new(Retries::new(metrics.retries.clone())))
            .with_layer(&AndThenLayer::new(propagate_retry_after));
        let sessions = ClientBuilder::try_from(watches.clone())?
            .with_layer(&observe)
            .with_layer(&AndThenLayer::new(propagate_retry_after));
        let watches = ClientBuilder::try_from(watches)?
            .with_layer(&observe)
            .with_layer(&AndThenLayer::new(propagate_retry_after));
        let watch_activity = WatchActivity::default();
        Ok(Self {
            requests: requests.build(),
            watches: watches.build(),
            sessions: sessions.with_layer(&watch_activity).build(),
            watch_activity,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::with_causes;
    use crate::{Error, retry};
    use http::{HeaderValue, Request};
    use prometheus_client::registry::Registry;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpSocket, TcpStream};
    use tokio::time::timeout;

    const THROTTLED: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";
    const FAILED: &str = "HTTP/1.1 500 Internal Server Error\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}";
    const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}";
    /// As whatever is before the API server says it: no JSON.
    const BUSY: &str = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 6\r\nContent-Length: 9\r\n\r\nslow down";
    const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
    /// The connection is closed instead of an answer.
    const CUT: &str = "";

    fn clients_of(url: &str) -> Clients {
        let metrics = Metrics::register(&mut Registry::default());
        let inject: InjectTrace = |_, headers| drop(headers.insert("traceparent", HeaderValue::from_static("here")));
        Clients::new(Config::new(url.parse().unwrap()), &metrics, inject).unwrap()
    }

    /// Answers one request after the other, and says how many there were.
    async fn api_server(answers: &'static [&'static str]) -> (Client, Arc<AtomicUsize>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                while read_request(&mut stream).await {
                    let answer = answers[counted.fetch_add(1, Ordering::SeqCst)];
                    if answer == CUT {
                        break;
                    }
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        let clients = clients_of(&url);
        (clients.requests, count)
    }

    /// Whether one came.
    async fn read_request(stream: &mut TcpStream) -> bool {
        let mut read = Vec::new();
        while !read.ends_with(b"{\"a\":1}") {
            let mut bytes = [0; 1024];
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => return false,
                Ok(count) => read.extend(&bytes[..count]),
            }
        }
        let head = String::from_utf8_lossy(&read).to_lowercase();
        assert_eq!(head.matches("traceparent: here\r\n").count(), 1, "{head}");
        true
    }

    async fn ask(client: &Client) -> kube::Result<String> {
        let body = b"{\"a\":1}".to_vec();
        let request = Request::post("/api/v1/things").body(body).unwrap();
        client.request_text(request).await
    }

    #[tokio::test]
    async fn request_that_is_throttled_or_cut_off_is_sent_again_whole() {
        let (client, count) = api_server(&[THROTTLED, CUT, FAILED, DONE]).await;
        let started = Instant::now();
        assert_eq!(ask(&client).await.unwrap(), "{}");
        assert_eq!(count.load(Ordering::SeqCst), 4);
        let took = started.elapsed();
        assert!(took >= Duration::from_secs(2), "Retry-After was not heeded: {took:?}");
    }

    #[tokio::test]
    async fn answer_is_an_answer() {
        let (client, count) = api_server(&[FORBIDDEN, DONE]).await;
        assert!(ask(&client).await.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn retry_after_beyond_patience_is_told_to_the_caller() {
        let (client, count) = api_server(&[BUSY, DONE]).await;
        let error = Error::from(ask(&client).await.unwrap_err());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(6)));
        assert!(error.is_transient());
        assert!(with_causes(&error).ends_with("slow down"));
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert_eq!(retry::reconcile(1, error.retry_after(), true), Duration::from_secs(6));
    }

    #[tokio::test]
    async fn api_server_that_does_not_recover_is_given_up() {
        let (client, count) = api_server(&[CUT; 9]).await;
        assert!(ask(&client).await.is_err());
        assert_eq!(count.load(Ordering::SeqCst), 4);
    }

    /// A connection to it is not answered, as where a network drops what is sent: its backlog is full.
    async fn deaf() -> (TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (listener, waiting)
    }

    #[tokio::test]
    async fn connecting_is_given_up_within_seconds() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (listener, _waiting) = deaf().await;
        let url = format!("http://{}", listener.local_addr().unwrap());
        let clients = clients_of(&url);
        tokio::time::pause();
        for client in [clients.requests, clients.watches] {
            let started = tokio::time::Instant::now();
            assert!(ask(&client).await.is_err());
            let took = started.elapsed();
            assert!((CONNECT..Duration::from_secs(5)).contains(&took), "{took:?}");
        }
    }
}
