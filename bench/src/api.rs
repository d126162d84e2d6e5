//! Requests to the API server by the HTTP client that the server uses too, without what the server puts around it.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::Value;

use crate::Outcome;
use crate::prometheus::Requests;

/// A client of the API server.
#[derive(Clone)]
pub struct Api(Client);

/// A request's answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
    /// How long it took.
    pub time: Duration,
    /// After how many seconds the API server wants to be asked again.
    pub retry_after: Option<u64>,
}

// === impl Api ===

impl Api {
    /// The client that a kubeconfig file is of.
    pub async fn of(kubeconfig: &Path) -> Outcome<Self> {
        let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        config.default_retry = false;
        Ok(Self(Client::try_from(config)?))
    }

    /// Sends a request and reads its answer, whatever that is.
    pub async fn send(&self, method: Method, path: &str, body: Option<&Value>) -> Outcome<Answer> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        let body = body.map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let start = Instant::now();
        let (parts, body) = self.0.send(request.body(Body::from(body))?).await?.into_parts();
        let body = body.collect_bytes().await?;
        let time = start.elapsed();
        let retry_after = parts
            .headers
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answer {
            status: parts.status,
            body,
            time,
            retry_after,
        })
    }

    /// The same, of which nothing but success is expected.
    pub async fn must(&self, method: Method, path: &str, body: Option<&Value>) -> Outcome<Answer> {
        let answer = self.send(method.clone(), path, body).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let said = String::from_utf8_lossy(&answer.body);
        Err(format!("{method} {path} answered {}: {said}", answer.status).into())
    }

    /// What the API server has counted of its requests.
    pub async fn requests(&self) -> Outcome<Requests> {
        let metrics = self.must(Method::GET, "/metrics", None).await?;
        Ok(Requests::read(&String::from_utf8_lossy(&metrics.body)))
    }

    /// How many objects the list at `path` has.
    pub async fn count(&self, path: &str) -> Outcome<u64> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let list = self
            .must(Method::GET, &format!("{path}{separator}limit=1"), None)
            .await?;
        let list: Value = serde_json::from_slice(&list.body)?;
        let here = list["items"].as_array().map_or(0, Vec::len);
        Ok(here as u64 + list["metadata"]["remainingItemCount"].as_u64().unwrap_or_default())
    }
}
