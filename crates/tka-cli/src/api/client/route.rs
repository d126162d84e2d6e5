//! The way to one server: one request, one response.

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use ureq::tls::{RootCerts, TlsConfig};

use super::error::ClientErrorKind;
use super::operation::Operation;
use super::peer;
use crate::api::retry::{self, RetryAfter};
use crate::net::proxy::ChosenProxy;
use crate::net::server::Server;
use crate::terminal::{messages, ui};
use crate::trace::{self, RequestSpan};

/// How long connecting to a tailnet node may take. Relayed connections need less, and users do not wait longer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest response. A kubeconfig with a long certificate chain has about 20 kB.
const ANSWER_LIMIT: u64 = 1024 * 1024;
/// Asks the server to respond once the session is usable (RFC 7240). The original's server ignores this.
const PREFER_WAIT: &str = "wait=10";
/// Asks it to respond at once where others must approve first.
const PREFER_TELL: &str = "tell-approval";
/// The media type of a recording that is not sealed.
const ASCIICAST: &str = "application/x-asciicast";
/// Zero would mean no time limit.
const SHORTEST_LIMIT: Duration = Duration::from_millis(1);

/// The way to one server.
#[derive(Debug)]
pub(crate) struct Route {
    agent: ureq::Agent,
    server: Server,
    proxy_variable: Option<&'static str>,
    /// tailscaled's socket, where it is not at the usual place.
    socket: Option<PathBuf>,
    debug: bool,
}

/// The parts of a route.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) server: Server,
    pub(crate) proxy: Option<ChosenProxy>,
    /// tailscaled's socket, where it is not at the usual place.
    pub(crate) socket: Option<PathBuf>,
    /// Certificate authorities to trust instead of the built-in ones.
    pub(crate) authorities: Option<Vec<ureq::tls::Certificate<'static>>>,
    /// The longest time for connecting.
    pub(crate) limit: Duration,
    /// Whether to log each request to standard error.
    pub(crate) debug: bool,
}

/// A request for any server.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) operation: Operation,
    /// What follows the operation's path.
    pub(super) below: String,
    pub(super) body: Option<Value>,
}

/// A complete response.
#[derive(Debug)]
pub(super) struct HttpResponse {
    pub(super) status: u16,
    pub(super) content_type: String,
    pub(super) retry_after: RetryAfter,
    /// By how much the server's clock is ahead of this machine's, in whole seconds.
    pub(super) clock_ahead: Option<SignedDuration>,
    pub(super) server_header: Option<String>,
    pub(super) body: String,
}

/// A recording as it comes. No time limit: it may be long.
pub(crate) struct Download {
    /// Whether it is sealed to recipients.
    pub(crate) sealed: bool,
    /// Its bytes.
    pub(crate) reader: Box<dyn Read + Send>,
}

// === impl Route ===

impl Route {
    pub(crate) fn new(connection: Connection) -> Self {
        let Connection {
            server,
            proxy,
            socket,
            authorities,
            limit,
            debug,
        } = connection;
        let proxy_variable = proxy.as_ref().map(|chosen| chosen.variable);
        let roots = authorities.map_or(RootCerts::WebPki, |own| RootCerts::from(own.into_iter()));
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("tka/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .proxy(proxy.as_ref().map(|chosen| chosen.proxy.clone()))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(CONNECT_TIMEOUT.min(limit).max(SHORTEST_LIMIT)))
            .http_status_as_error(false)
            // The connection identifies the caller. A redirect would lead to another server, and so to another identity.
            .max_redirects(0)
            .build();
        Self {
            agent: peer::agent(config, &server, proxy.as_ref(), socket.clone()),
            server,
            proxy_variable,
            socket,
            debug,
        }
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// The variable or setting of the proxy, if there is one.
    pub(super) fn proxy_variable(&self) -> Option<&'static str> {
        self.proxy_variable
    }

    /// Sends the request, and reads the response within `limit`.
    pub(super) fn exchange(&self, request: &Request, limit: Duration) -> Result<HttpResponse, ureq::Error> {
        let started = Instant::now();
        let url = request.operation.url(&self.server) + &request.below;
        let (method, path) = request.operation.request();
        let span = trace::begin(method, path);
        let traceparent = span.as_ref().map(RequestSpan::header);
        let result = self.send(request, &url, traceparent.as_deref(), limit);
        if let Some(span) = span {
            span.end(result.as_ref().ok().map(|response| response.status));
        }
        if self.debug {
            self.log_request(request.operation, &url, started.elapsed(), &result);
        }
        result
    }

    fn send(
        &self,
        request: &Request,
        url: &str,
        traceparent: Option<&str>,
        limit: Duration,
    ) -> Result<HttpResponse, ureq::Error> {
        self.check_proxy()?;
        let limit = Some(limit.max(SHORTEST_LIMIT));
        let response = match request.operation.request().0 {
            "POST" => {
                let post = traced(self.agent.post(url), traceparent);
                let mut post = post.config().timeout_global(limit).build();
                if matches!(request.operation, Operation::SignIn | Operation::Elevate) {
                    post = post.header("Prefer", PREFER_WAIT).header("Prefer", PREFER_TELL);
                }
                match &request.body {
                    Some(body) => post.send_json(body)?,
                    None => post.send_empty()?,
                }
            }
            method => {
                let empty = match method {
                    "DELETE" => self.agent.delete(url),
                    _ => self.agent.get(url),
                };
                let empty = traced(empty, traceparent).config().timeout_global(limit);
                empty.build().call()?
            }
        };
        HttpResponse::read(response, Timestamp::now())
    }

    /// Sends a request, and reads no more than its head, or its whole response where that is a refusal. `limit` is how long the head may take.
    pub(super) fn download(
        &self,
        operation: Operation,
        below: &str,
        limit: Duration,
    ) -> Result<Result<Download, HttpResponse>, ureq::Error> {
        self.check_proxy()?;
        let url = operation.url(&self.server) + below;
        let limit = Some(limit.max(SHORTEST_LIMIT));
        let request = self.agent.get(&url).config().timeout_recv_response(limit).build();
        let response = request.call()?;
        if self.debug {
            ui::write_stderr(&format!("debug: GET {url}: {}\n", response.status().as_u16()));
        }
        if response.status().as_u16() != 200 {
            return Ok(Err(HttpResponse::read(response, Timestamp::now())?));
        }
        let content_type = response.headers().get("content-type");
        let sealed = content_type.is_none_or(|value| value != ASCIICAST);
        let reader = Box::new(response.into_body().into_reader());
        Ok(Ok(Download { sealed, reader }))
    }

    fn check_proxy(&self) -> io::Result<()> {
        if self.proxy_variable.is_some()
            && let Some(outside) = peer::check_proxied_server(&self.server, self.socket.as_ref())
        {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, outside));
        }
        Ok(())
    }

    fn log_request(&self, operation: Operation, url: &str, took: Duration, result: &Result<HttpResponse, ureq::Error>) {
        let method = operation.request().0;
        let outcome = match result {
            Ok(response) => response.status.to_string(),
            Err(error) => error.to_string(),
        };
        let through = |variable| format!(" through {variable}");
        let via = self.proxy_variable.map(through).unwrap_or_default();
        let took = took.as_millis();
        let outcome = messages::clean(&outcome);
        ui::write_stderr(&format!("debug: {method} {url}{via}: {outcome} in {took} ms\n"));
    }
}

/// `request`, as a part of a trace if there is one.
fn traced<B>(request: ureq::RequestBuilder<B>, traceparent: Option<&str>) -> ureq::RequestBuilder<B> {
    match traceparent {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
    }
}

// === impl Download ===

impl fmt::Debug for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Download")
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

// === impl HttpResponse ===

impl HttpResponse {
    fn read(mut response: ureq::http::Response<ureq::Body>, now: Timestamp) -> Result<Self, ureq::Error> {
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(ToOwned::to_owned)
        };
        let content_type = header("content-type").unwrap_or_default();
        let retry_after = RetryAfter::from_header(header("retry-after").as_deref(), now);
        let clock_ahead = header("date").and_then(|date| retry::timestamp(&date));
        let server_header = header("server");
        let status = response.status().as_u16();
        let bytes = response.body_mut().with_config().limit(ANSWER_LIMIT).read_to_vec()?;
        Ok(Self {
            status,
            content_type,
            retry_after,
            clock_ahead: clock_ahead.map(|date| date.duration_since(now)),
            server_header,
            body: String::from_utf8_lossy(&bytes).into_owned(),
        })
    }

    /// How long a server that is busy asks to wait (RFC 6585, 4; RFC 9110, 15.6.4).
    pub(super) fn busy_for(&self) -> Option<Duration> {
        let is_busy = matches!(self.status, 429 | 503);
        self.retry_after.while_busy().filter(|_| is_busy)
    }

    /// Whether there is no such path or method.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self.status, 404 | 405)
    }

    /// The error for a response that is not from a compatible TKA server.
    pub(super) fn foreign(&self) -> ClientErrorKind {
        let content_type = self.content_type.split(';').next().unwrap_or_default();
        ClientErrorKind::NotTka {
            status: self.status,
            content_type: content_type.trim().to_owned(),
        }
    }
}
