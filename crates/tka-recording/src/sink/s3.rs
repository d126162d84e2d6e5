//! Stores that speak S3.
//!
//! Credentials are what AWS' own programs take from the environment: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a web identity token, or the instance's own
//! (<https://docs.rs/object_store/latest/object_store/aws/struct.AmazonS3Builder.html#method.from_env>).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http_body_util::BodyExt;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as Connector;
use hyper_util::rt::TokioExecutor;
use object_store::aws::AmazonS3Builder;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse, HttpResponseBody,
    HttpService,
};
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use rustls::crypto::ring;
use thiserror::Error;
use tokio::time::timeout;

/// For how long a request is tried again. A recorder has a little more patience.
const RETRIED: Duration = Duration::from_secs(8);
/// How long one request may take. A connection that is dead by now must leave time for another.
const ATTEMPT: Duration = Duration::from_secs(3);

/// Where a bucket is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The URL of the store; AWS' own when empty.
    pub endpoint: String,
    /// The region; `us-east-1` when empty.
    pub region: String,
}

/// Why a store cannot be used.
#[derive(Debug, Error)]
pub enum StoreError {
    /// There are no certificate authorities to trust.
    #[error("the system's certificate authorities cannot be read")]
    Authorities(#[source] io::Error),
    /// What is said of the store is not enough, or wrong.
    #[error("the store of recordings cannot be used")]
    Store(#[source] object_store::Error),
}

/// How requests are made, with the TLS of all else.
#[derive(Debug)]
struct Https(HttpsConnector<Connector>);

#[derive(Debug)]
struct Requests(Client<HttpsConnector<Connector>, HttpRequestBody>);

// === impl Bucket ===

impl Bucket {
    /// The store, which is not asked for anything yet.
    pub fn open(&self) -> Result<Arc<dyn ObjectStore>, StoreError> {
        let retry = RetryConfig {
            max_retries: 5,
            retry_timeout: RETRIED,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::from_env()
            .with_bucket_name(&self.name)
            .with_retry(retry)
            .with_http_connector(Https(https()?));
        if !self.region.is_empty() {
            builder = builder.with_region(&self.region);
        }
        if !self.endpoint.is_empty() {
            let is_plain = self.endpoint.starts_with("http://");
            builder = builder.with_endpoint(&self.endpoint).with_allow_http(is_plain);
        }
        let store = builder.build().map_err(StoreError::Store)?;
        Ok(Arc::new(store))
    }
}

/// Trusts the system's authorities, or those of Mozilla where the system has none, as in an image without any.
fn https() -> Result<HttpsConnector<Connector>, StoreError> {
    let provider = ring::default_provider;
    let native = HttpsConnectorBuilder::new().with_provider_and_native_roots(provider());
    let builder = match native {
        Ok(builder) => builder,
        Err(error) if error.kind() == io::ErrorKind::NotFound => HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(provider())
            .map_err(|error| StoreError::Authorities(io::Error::other(error)))?,
        Err(error) => return Err(StoreError::Authorities(error)),
    };
    Ok(builder.https_or_http().enable_http1().build())
}

impl HttpConnector for Https {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = Client::builder(TokioExecutor::new()).build(self.0.clone());
        Ok(HttpClient::new(Requests(client)))
    }
}

#[async_trait]
impl HttpService for Requests {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = timeout(ATTEMPT, self.0.request(request)).await;
        let answer = answer.map_err(|late| HttpError::new(HttpErrorKind::Timeout, late))?;
        let answer = answer.map_err(|error| {
            let kind = if error.is_connect() {
                HttpErrorKind::Connect
            } else {
                HttpErrorKind::Request
            };
            HttpError::new(kind, error)
        })?;
        let read = |error| HttpError::new(HttpErrorKind::Interrupted, error);
        Ok(answer.map(|body| HttpResponseBody::new(body.map_err(read))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::RecordingName;
    use crate::sink::objects::Objects;
    use crate::sink::{Encoding, Sink};
    use bytes::Bytes;
    use http_body_util::Empty;
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use std::convert::Infallible;
    use std::sync::Mutex;
    use tokio::net::TcpListener;

    type Seen = Arc<Mutex<Vec<(String, bool, Bytes)>>>;

    /// A store that answers `status` and keeps what it was asked.
    async fn store(statuses: &'static [u16]) -> (String, Seen) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let seen = Seen::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let seen = Arc::clone(&seen);
                let service = service_fn(move |request: Request<Incoming>| {
                    let seen = Arc::clone(&seen);
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.unwrap().to_bytes();
                        let authorization = head.headers.get("authorization").map(|value| value.to_str().unwrap());
                        let is_signed = authorization.is_some_and(|value| value.starts_with("AWS4-HMAC-SHA256 "));
                        let mut seen = seen.lock().unwrap();
                        let status = statuses[seen.len().min(statuses.len() - 1)];
                        seen.push((format!("{} {}", head.method, head.uri.path()), is_signed, body));
                        let answer = Response::builder().status(status).header("etag", "\"1\"");
                        Ok::<_, Infallible>(answer.body(Empty::<Bytes>::new()).unwrap())
                    }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        (endpoint, kept)
    }

    fn sink(endpoint: &str) -> Objects {
        let builder = AmazonS3Builder::new()
            .with_bucket_name("recordings")
            .with_access_key_id("id")
            .with_secret_access_key("secret")
            .with_endpoint(endpoint)
            .with_allow_http(true)
            .with_retry(RetryConfig {
                max_retries: 1,
                ..RetryConfig::default()
            })
            .with_http_connector(Https(https().unwrap()));
        Objects::new(Arc::new(builder.build().unwrap()), "")
    }

    #[tokio::test]
    async fn flushes_are_put_and_signed() {
        let (endpoint, seen) = store(&[200]).await;
        let id = "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";
        let name = RecordingName::new("2026-11-26T17:00:00Z".parse().unwrap(), id).unwrap();
        let mut writing = sink(&endpoint).begin(&name, Encoding::Sealed).await.unwrap();
        writing.append(Bytes::from_static(b"sealed\n")).await.unwrap();
        let path = format!("PUT /recordings/{name}/000000001.cast.age");
        assert_eq!(*seen.lock().unwrap(), [(path, true, Bytes::from_static(b"sealed\n"))]);
    }

    #[tokio::test]
    async fn store_that_refuses_ends_a_recording() {
        let (endpoint, seen) = store(&[403, 200]).await;
        let id = "0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11";
        let name = RecordingName::new("2026-11-26T17:00:00Z".parse().unwrap(), id).unwrap();
        let mut writing = sink(&endpoint).begin(&name, Encoding::Plain).await.unwrap();
        assert!(writing.append(Bytes::from_static(b"a\n")).await.is_err());
        assert!(
            writing.append(Bytes::from_static(b"b\n")).await.is_err(),
            "there would be a hole"
        );
        assert_eq!(seen.lock().unwrap().len(), 1);
    }
}
