//! One try to send a message. It blocks, and takes no longer than it may, whatever the receiver does.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Request, Uri};
use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use thiserror::Error;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::backlog::Message;
use super::event::content_type;
use super::signature::{KeyError, Keys};
use crate::config::{UrlError, Webhook, WebhookUrl, is_loopback};

/// What a receiver may know of who sends.
const AGENT: &str = concat!("tka-server/", env!("CARGO_PKG_VERSION"));

/// Why a message was not taken. None shows the URL.
#[derive(Debug, Error)]
pub enum PostError {
    /// A file of the webhook cannot be read.
    #[error("cannot read {}, a file of the webhook", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The URL in a file is none.
    #[error("the URL in {} is wrong: {why}", path.display())]
    Url {
        /// The file.
        path: PathBuf,
        /// Why.
        why: UrlError,
    },
    /// The keys in a file are none.
    #[error("the keys in {} are wrong: {why}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The certificate authorities in a file are none.
    #[error("there is no certificate authority in {}: a PEM block CERTIFICATE is expected", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
    },
    /// There was no answer.
    #[error("the receiver of the webhook gave no answer: {0}")]
    NoAnswer(String),
    /// The answer is that it was not taken.
    #[error("the receiver of the webhook answered {status}, and 2xx is expected")]
    Status {
        /// The status.
        status: u16,
        /// How long it asks not to be asked.
        retry_after: Option<Duration>,
    },
}

/// Sends `message` to `webhook`, signed at `now`, which may take that long in all. Files of the webhook are read each time, so that a change of them needs nothing else.
pub(super) fn post(webhook: &Webhook, message: &Message, now: Timestamp, limit: Duration) -> Result<(), PostError> {
    let uri = uri(webhook)?;
    let timestamp = now.as_second();
    let mut request = Request::post(&uri)
        .header(CONTENT_TYPE, content_type(webhook.format))
        .header("webhook-id", &message.id)
        .header("webhook-timestamp", timestamp);
    if let Some(path) = webhook.key_file() {
        let keys = Keys::parse(&read(path)?).map_err(|why: KeyError| PostError::Keys {
            path: path.to_owned(),
            why: why.to_string(),
        })?;
        request = request.header("webhook-signature", keys.sign(&message.id, timestamp, &message.body));
    }
    let request = request.body(message.body.clone());
    let request = request.map_err(|error| PostError::NoAnswer(error.to_string()))?;
    let agent = agent(webhook, uri.host().unwrap_or_default(), limit)?;
    // The answer's body is not read: all is said by the status, and a body may never end.
    let answer = agent.run(request).map_err(|error| PostError::NoAnswer(words(&error)))?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let retry_after = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    Err(PostError::Status {
        status: status.as_u16(),
        retry_after: retry_after.and_then(|value| wait(value, now)),
    })
}

fn uri(webhook: &Webhook) -> Result<Uri, PostError> {
    let (url, path) = match webhook.url_file() {
        Some(path) => (&WebhookUrl::from_file(&read(path)?), path),
        // It was parsed when it was read.
        None => (&webhook.url, Path::new("the configuration")),
    };
    url.parse(webhook.insecure).map_err(|why| PostError::Url {
        path: path.to_owned(),
        why,
    })
}

/// A client for one request, which follows no redirect. A proxy of the environment serves, but not towards this machine.
fn agent(webhook: &Webhook, host: &str, limit: Duration) -> Result<ureq::Agent, PostError> {
    let tls = match webhook.ca_file() {
        None => TlsConfig::default(),
        Some(path) => TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(authorities(path)?)))
            .build(),
    };
    let proxy = ureq::Proxy::try_from_env().filter(|_| !is_loopback(host));
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .proxy(proxy)
        .tls_config(tls)
        .user_agent(AGENT)
        .http_status_as_error(false)
        .max_redirects(0)
        .build();
    Ok(config.into())
}

fn authorities(path: &Path) -> Result<Vec<Certificate<'static>>, PostError> {
    let none = || PostError::Authorities { path: path.to_owned() };
    let mut all = Vec::new();
    for item in parse_pem(read(path)?.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.map_err(|_| none())? {
            all.push(certificate);
        }
    }
    if all.is_empty() { Err(none()) } else { Ok(all) }
}

fn read(path: &Path) -> Result<String, PostError> {
    fs::read_to_string(path).map_err(|source| PostError::Unreadable {
        path: path.to_owned(),
        source,
    })
}

/// What went wrong, in words that hold no URL.
fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::Timeout(_) => "it took too long".to_owned(),
        ureq::Error::HostNotFound => "its host is not found".to_owned(),
        ureq::Error::Rustls(error) => error.to_string(),
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => "what it answers is no HTTP".to_owned(),
        ureq::Error::ConnectProxyFailed(_) | ureq::Error::InvalidProxyUrl => {
            "the proxy of the environment does not connect to it".to_owned()
        }
        _ => "the request could not be sent".to_owned(),
    }
}

/// How long `value` of `Retry-After` asks to wait from `now` on (RFC 9110, 10.2.3).
fn wait(value: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(value.trim()).ok()?;
    Some(at.duration_since(now).try_into().unwrap_or_default())
}

// === impl PostError ===

impl PostError {
    /// How long the receiver asks not to be asked.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_said_in_seconds_or_as_a_date() {
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        let waits = |value| wait(value, now).map(|wait| wait.as_secs());
        assert_eq!(waits("120"), Some(120));
        assert_eq!(waits("Sun, 06 Nov 1994 08:49:37 GMT"), Some(37));
        assert_eq!(waits("Sun, 06 Nov 1994 08:48:00 GMT"), Some(0));
        assert_eq!(waits("18446744073709551615"), Some(u64::MAX));
        for odd in ["", "-1", "soon", "1.5"] {
            assert_eq!(waits(odd), None, "{odd}");
        }
    }
}
