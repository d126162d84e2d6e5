//! A receiver of webhooks: what a server tells it, and whether the signature is right.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::Outcome;

/// What signs, without its prefix.
const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What is secret in its URLs.
pub const SECRET: &str = "T0-B0-s3cret";

/// A receiver. It ends with this.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    /// What serves, which ends with this.
    _runtime: Runtime,
}

#[derive(Debug, Default)]
struct Shared {
    came: Mutex<Vec<Told>>,
    /// How many requests are still to be refused.
    refused: AtomicUsize,
}

/// A request that came.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its path.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

// === impl Receiver ===

impl Receiver {
    /// Starts one, which answers the first requests, so many, with 503.
    pub fn start(refused: usize) -> Outcome<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            refused: AtomicUsize::new(refused),
            ..Shared::default()
        });
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            _runtime: runtime,
        })
    }

    /// The URL of a webhook of that name, which is secret in part.
    #[must_use]
    pub fn url(&self, name: &str) -> String {
        format!("http://{}/{SECRET}/{name}", self.address)
    }

    /// What a file of keys holds for it.
    #[must_use]
    pub fn key(&self) -> String {
        format!("whsec_{KEY}\n")
    }

    /// What the webhook of that name was told so far.
    #[must_use]
    pub fn told(&self, name: &str) -> Vec<Told> {
        let came = self.shared.came.lock().unwrap_or_else(PoisonError::into_inner);
        let path = format!("/{SECRET}/{name}");
        came.iter().filter(|told| told.path == path).cloned().collect()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| take(request, Arc::clone(&shared)));
        drop(tokio::spawn(
            http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        ));
    }
}

async fn take(request: Request<Incoming>, shared: Arc<Shared>) -> Result<Response<String>, hyper::Error> {
    let (head, body) = request.into_parts();
    let told = Told {
        path: head.uri.path().to_owned(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned(),
    };
    shared.came.lock().unwrap_or_else(PoisonError::into_inner).push(told);
    let mut response = Response::new("ok".to_owned());
    let one_less = |left: usize| left.checked_sub(1);
    if shared
        .refused
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        .is_ok()
    {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

// === impl Told ===

impl Told {
    /// What a header says.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.unwrap_or_default()
    }

    /// The body, if it was signed with the receiver's key in the last minutes, as Standard Webhooks has it.
    pub fn verified(&self) -> Outcome<Value> {
        let (id, timestamp) = (self.header("webhook-id"), self.header("webhook-timestamp"));
        let age = jiff::Timestamp::now().as_second() - timestamp.parse::<i64>()?;
        if !(0..=300).contains(&age) {
            return Err(format!("the message is {age} s old").into());
        }
        let signature = self.header("webhook-signature").strip_prefix("v1,");
        let signature = STANDARD.decode(signature.ok_or("it is not signed")?)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&STANDARD.decode(KEY)?)?;
        mac.update(format!("{id}.{timestamp}.{}", self.body).as_bytes());
        mac.verify_slice(&signature)?;
        Ok(serde_json::from_str(&self.body)?)
    }
}
