//! The server's HTTP API, as far as the CLI uses it.

pub(crate) mod api_server;
mod error;
mod lists;
mod peer;
pub(crate) mod probe;

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{io, thread};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tka_api::exec::ExecCredential;
use tka_api::http::{self, ClusterInfo, CredentialRequest, ErrorResponse, LoginRequest, LoginResponse};
use ureq::tls::{RootCerts, TlsConfig};

pub(crate) use error::{ClientError, ClientErrorKind};

use crate::api::clock::{ServerTimes, Skew};
use crate::api::deadline::Deadline;
use crate::api::retry::{self, RetryAfter, RetryBackoff};
use crate::kubeconfig::server_kubeconfig::{self, InvalidKubeconfig, ReceivedKubeconfig, ServerKubeconfig};
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

/// The requests of the CLI.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    SignIn,
    SignOut,
    ShowSession,
    FetchKubeconfig,
    FetchCredential,
    ShowCluster,
    ListSessions,
    EndSession,
    ListRules,
    /// List the rules in order to select one.
    SelectRule,
}

/// A connection to one server. All its requests share one time limit.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    server: Server,
    proxy_variable: Option<&'static str>,
    /// tailscaled's socket, where it is not at the usual place.
    socket: Option<PathBuf>,
    deadline: Deadline,
    debug: bool,
    /// Whether failed requests are retried.
    retries: bool,
    /// The clock skew by the server's first response. All its times are converted alike.
    skew: OnceLock<Skew>,
}

/// The parts of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) server: Server,
    pub(crate) proxy: Option<ChosenProxy>,
    /// tailscaled's socket, where it is not at the usual place.
    pub(crate) socket: Option<PathBuf>,
    /// Certificate authorities to trust instead of the built-in ones.
    pub(crate) authorities: Option<Vec<ureq::tls::Certificate<'static>>>,
    pub(crate) deadline: Deadline,
    /// Whether to log each request to standard error.
    pub(crate) debug: bool,
}

/// The session as the server reports it.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Session {
    pub(crate) login: LoginResponse,
    /// Whether its credential can be fetched.
    pub(crate) provisioned: bool,
}

#[derive(Debug)]
pub(crate) struct SignInResponse {
    pub(crate) login: LoginResponse,
    /// The kubeconfig, from a server that waited until the session was usable. The original's does not send one.
    pub(crate) kubeconfig: Option<Box<ServerKubeconfig>>,
    /// Name of the session. None if the server gives no credentials of sessions.
    pub(crate) session: Option<String>,
    pub(crate) credential: Option<ExecCredential>,
    /// When to retry if no kubeconfig came.
    pub(crate) retry_after: RetryAfter,
}

/// The body of the response to a sign-in.
#[derive(Deserialize)]
struct SignInBody {
    #[serde(flatten)]
    login: LoginResponse,
    kubeconfig: Option<ReceivedKubeconfig>,
    session: Option<SessionRef>,
    credential: Option<ExecCredential>,
}

impl ServerTimes for SignInBody {
    fn apply_skew(&mut self, skew: Skew) {
        self.login.apply_skew(skew);
        self.credential.apply_skew(skew);
    }
}

#[derive(Deserialize)]
struct SessionRef {
    name: String,
}

/// The response to a request for a kubeconfig or a credential.
#[derive(Debug)]
pub(crate) enum Provisioned<T> {
    Ready(T),
    /// The session is being provisioned: request again.
    Pending(RetryAfter),
}

/// The part of a sign-out response that identifies a TKA server.
#[derive(Deserialize)]
struct SignOutBody {
    username: String,
}

/// A complete response.
struct HttpResponse {
    status: u16,
    content_type: String,
    retry_after: RetryAfter,
    /// By how much the server's clock is ahead of this machine's, in whole seconds.
    clock_ahead: Option<SignedDuration>,
    server_header: Option<String>,
    body: String,
}

// === impl Operation ===

impl Operation {
    fn request(self) -> (&'static str, &'static str) {
        match self {
            Self::SignIn => ("POST", http::LOGIN),
            Self::SignOut => ("POST", http::LOGOUT),
            Self::ShowSession => ("GET", http::LOGIN),
            Self::FetchKubeconfig => ("GET", http::KUBECONFIG),
            Self::FetchCredential => ("POST", http::CREDENTIAL),
            Self::ShowCluster => ("GET", http::CLUSTER_INFO),
            Self::ListSessions => ("GET", http::SESSIONS),
            Self::EndSession => ("DELETE", http::SESSIONS),
            Self::ListRules | Self::SelectRule => ("GET", http::RULES),
        }
    }

    /// What the request does. It follows the word "to".
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::SignIn => "sign you in",
            Self::SignOut => "sign you out",
            Self::ShowSession => "show your session",
            Self::FetchKubeconfig => "give you a kubeconfig",
            Self::FetchCredential => "give you a credential",
            Self::ShowCluster => "show the cluster",
            Self::ListSessions => "show your sessions",
            Self::EndSession => "end that session",
            Self::ListRules => "show your rules",
            Self::SelectRule => "sign you in with these options",
        }
    }

    /// Whether to wait for a busy server. Sign-in, sign-out and the requests that these need are worth the wait.
    fn waits_while_busy(self) -> bool {
        !matches!(self, Self::ShowSession | Self::ShowCluster | Self::ListRules)
    }

    /// Whether the original's server supports it.
    fn is_in_original_api(self) -> bool {
        !matches!(
            self,
            Self::ListSessions | Self::EndSession | Self::ListRules | Self::SelectRule | Self::FetchCredential
        )
    }
}

// === impl Client ===

impl Client {
    pub(crate) fn new(connection: Connection) -> Self {
        let Connection {
            server,
            proxy,
            socket,
            authorities,
            deadline,
            debug,
        } = connection;
        let proxy_variable = proxy.as_ref().map(|chosen| chosen.variable);
        let roots = authorities.map_or(RootCerts::WebPki, |own| RootCerts::from(own.into_iter()));
        let config = ureq::Agent::config_builder()
            .user_agent(concat!("tka/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .proxy(proxy.as_ref().map(|chosen| chosen.proxy.clone()))
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .timeout_connect(Some(CONNECT_TIMEOUT.min(deadline.limit())))
            .http_status_as_error(false)
            // The connection identifies the caller. A redirect would lead to another server, and so to another identity.
            .max_redirects(0)
            .build();
        Self {
            agent: peer::agent(config, &server, proxy.as_ref(), socket.clone()),
            server,
            proxy_variable,
            socket,
            deadline,
            debug,
            retries: false,
            skew: OnceLock::new(),
        }
    }

    /// Retries when a connection fails or breaks, or the response is an error. Only for requests that may be sent twice, such as the end of
    /// a session.
    #[cfg(unix)]
    pub(crate) fn with_retries(self) -> Self {
        Self { retries: true, ..self }
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The time left at `now`.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        self.deadline.remaining(now)
    }

    /// Signs in. If the response has no kubeconfig, the session may not be provisioned yet.
    pub(crate) fn sign_in(&self, request: &LoginRequest) -> Result<SignInResponse, ClientError> {
        let operation = Operation::SignIn;
        // The original's CLI sends no body. This one sends none if all options have their defaults.
        let body = (*request != LoginRequest::default()).then(|| serde_json::json!(request));
        let response = self.request_with(operation, "", body.as_ref())?;
        if !matches!(response.status, 200 | 202) {
            return Err(self.refusal(operation, &response));
        }
        let body: SignInBody = self.decode_with_times(operation, &response)?;
        let arrived = body.kubeconfig.map(|arrived| self.validate(operation, arrived));
        Ok(SignInResponse {
            login: body.login,
            kubeconfig: arrived.transpose()?,
            session: body.session.map(|session| session.name),
            credential: body.credential,
            retry_after: response.retry_after,
        })
    }

    /// The caller's session.
    pub(crate) fn session(&self) -> Result<Session, ClientError> {
        let operation = Operation::ShowSession;
        let response = self.request(operation)?;
        match response.status {
            200 | 202 => Ok(Session {
                login: self.decode_with_times(operation, &response)?,
                provisioned: response.status == 200,
            }),
            _ => Err(self.refusal(operation, &response)),
        }
    }

    /// A kubeconfig with a fresh credential, validated.
    ///
    /// With `tokenless` it has a plugin instead of a token. The original's server ignores this.
    pub(crate) fn kubeconfig(&self, tokenless: bool) -> Result<Provisioned<Box<ServerKubeconfig>>, ClientError> {
        let operation = Operation::FetchKubeconfig;
        let query = if tokenless { "?credential=exec" } else { "" };
        let response = self.request_with(operation, query, None)?;
        match response.status {
            202 => Ok(Provisioned::Pending(response.retry_after)),
            200 => {
                let arrived = self.decode(operation, &response)?;
                Ok(Provisioned::Ready(self.validate(operation, arrived)?))
            }
            _ => Err(self.refusal(operation, &response)),
        }
    }

    pub(crate) fn credential(&self, session: &str) -> Result<Provisioned<ExecCredential>, ClientError> {
        let operation = Operation::FetchCredential;
        let session = Some(session.to_owned());
        let request = CredentialRequest { session };
        let response = self.request_with(operation, "", Some(&serde_json::json!(request)))?;
        match response.status {
            200 => Ok(Provisioned::Ready(self.decode_with_times(operation, &response)?)),
            202 => Ok(Provisioned::Pending(response.retry_after)),
            _ => Err(self.refusal(operation, &response)),
        }
    }

    fn validate(
        &self,
        operation: Operation,
        arrived: ReceivedKubeconfig,
    ) -> Result<Box<ServerKubeconfig>, ClientError> {
        let unusable = |flaw| self.error(operation, ClientErrorKind::UnusableKubeconfig(flaw));
        server_kubeconfig::validate(arrived).map(Box::new).map_err(unusable)
    }

    /// The error for a kubeconfig of the server that cannot be used.
    pub(crate) fn unusable(&self, flaw: InvalidKubeconfig) -> ClientError {
        self.error(Operation::FetchKubeconfig, ClientErrorKind::UnusableKubeconfig(flaw))
    }

    /// Ends the session. Returns its user.
    pub(crate) fn sign_out(&self) -> Result<String, ClientError> {
        Ok(self.fetch::<SignOutBody>(Operation::SignOut, "")?.username)
    }

    /// How to reach the cluster.
    pub(crate) fn cluster_info(&self) -> Result<ClusterInfo, ClientError> {
        self.fetch(Operation::ShowCluster, "")
    }

    /// The body of a response with the status 200. Any other status is an error.
    fn fetch<T: DeserializeOwned>(&self, operation: Operation, below: &str) -> Result<T, ClientError> {
        let response = self.request_with(operation, below, None)?;
        match response.status {
            200 => self.decode(operation, &response),
            _ => Err(self.refusal(operation, &response)),
        }
    }

    /// The same, with times by this machine's clock.
    fn fetch_with_times<T: DeserializeOwned + ServerTimes>(
        &self,
        operation: Operation,
        below: &str,
    ) -> Result<T, ClientError> {
        let response = self.request_with(operation, below, None)?;
        match response.status {
            200 => self.decode_with_times(operation, &response),
            _ => Err(self.refusal(operation, &response)),
        }
    }

    /// The error for a session that was not provisioned in time.
    pub(crate) fn not_provisioned(&self) -> ClientError {
        let kind = ClientErrorKind::NotProvisioned(self.deadline.limit());
        self.error(Operation::FetchKubeconfig, kind)
    }

    fn request(&self, operation: Operation) -> Result<HttpResponse, ClientError> {
        self.request_with(operation, "", None)
    }

    /// Sends a request with a `body` to the operation's path and `below`. A busy server is asked again at the time that it names, if the
    /// time limit allows.
    fn request_with(
        &self,
        operation: Operation,
        below: &str,
        body: Option<&Value>,
    ) -> Result<HttpResponse, ClientError> {
        let mut backoff = RetryBackoff::new();
        loop {
            let response = self.send_once(operation, below, body);
            match self.retry_pause(operation, &response, &mut backoff) {
                Some(pause) if pause < self.remaining(Instant::now()) => thread::sleep(pause),
                _ => return response,
            }
        }
    }

    /// When to retry, if a retry can help.
    fn retry_pause(
        &self,
        operation: Operation,
        response: &Result<HttpResponse, ClientError>,
        backoff: &mut RetryBackoff,
    ) -> Option<Duration> {
        let busy_for = response.as_ref().ok().and_then(HttpResponse::busy_for);
        if busy_for.is_some() {
            return busy_for.filter(|_| operation.waits_while_busy());
        }
        let is_failure = match response {
            Ok(response) => response.status >= 500,
            Err(error) => !matches!(&*error.kind, ClientErrorKind::Tls(_)),
        };
        backoff.next().filter(|_| is_failure && self.retries)
    }

    fn send_once(&self, operation: Operation, below: &str, body: Option<&Value>) -> Result<HttpResponse, ClientError> {
        let started = Instant::now();
        let url = self.server.url(operation.request().1) + below;
        let span = trace::begin(operation.request().0, operation.request().1);
        let traceparent = span.as_ref().map(RequestSpan::header);
        let result = self.exchange(operation, &url, body, traceparent.as_deref(), started);
        if let Some(span) = span {
            span.end(result.as_ref().ok().map(|response| response.status));
        }
        if self.debug {
            self.log_request(operation, &url, started.elapsed(), &result);
        }
        result.map_err(|error| {
            let kind = ClientErrorKind::from_transport(error, self.deadline.limit(), self.proxy_variable);
            self.error(operation, kind)
        })
    }

    fn exchange(
        &self,
        operation: Operation,
        url: &str,
        body: Option<&Value>,
        traceparent: Option<&str>,
        now: Instant,
    ) -> Result<HttpResponse, ureq::Error> {
        if self.proxy_variable.is_some()
            && let Some(outside) = peer::check_proxied_server(&self.server, self.socket.as_ref())
        {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, outside).into());
        }
        // Zero would mean no time limit.
        let limit = Some(self.remaining(now).max(Duration::from_millis(1)));
        let response = match operation.request().0 {
            "POST" => {
                let mut request = traced(self.agent.post(url), traceparent)
                    .config()
                    .timeout_global(limit)
                    .build();
                if operation == Operation::SignIn {
                    request = request.header("Prefer", PREFER_WAIT);
                }
                match body {
                    Some(body) => request.send_json(body)?,
                    None => request.send_empty()?,
                }
            }
            method => {
                let request = match method {
                    "DELETE" => self.agent.delete(url),
                    _ => self.agent.get(url),
                };
                let request = traced(request, traceparent).config().timeout_global(limit);
                request.build().call()?
            }
        };
        HttpResponse::read(response, Timestamp::now())
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

    fn decode<T: DeserializeOwned>(&self, operation: Operation, response: &HttpResponse) -> Result<T, ClientError> {
        serde_json::from_str(&response.body).map_err(|_| self.error(operation, response.foreign()))
    }

    /// Decodes the body, and converts its times to this machine's clock.
    fn decode_with_times<T: DeserializeOwned + ServerTimes>(
        &self,
        operation: Operation,
        response: &HttpResponse,
    ) -> Result<T, ClientError> {
        let mut decoded: T = self.decode(operation, response)?;
        decoded.apply_skew(*self.skew.get_or_init(|| Skew::new(response.clock_ahead)));
        Ok(decoded)
    }

    /// The clock skew of the server. Zero if no response had times.
    pub(crate) fn skew(&self) -> Skew {
        self.skew.get().copied().unwrap_or_default()
    }

    /// The error for a response with an unexpected status.
    fn refusal(&self, operation: Operation, response: &HttpResponse) -> ClientError {
        let kind = match serde_json::from_str::<ErrorResponse>(&response.body) {
            Ok(error) => ClientErrorKind::Rejected {
                status: response.status,
                error,
            },
            Err(_) if response.is_not_found() && !operation.is_in_original_api() => ClientErrorKind::Unsupported,
            Err(_) => response.foreign(),
        };
        self.error(operation, kind)
    }

    fn error(&self, operation: Operation, kind: ClientErrorKind) -> ClientError {
        ClientError {
            server: Box::new(self.server.clone()),
            operation,
            kind: Box::new(kind),
        }
    }
}

/// `request`, as a part of a trace if there is one.
fn traced<B>(request: ureq::RequestBuilder<B>, traceparent: Option<&str>) -> ureq::RequestBuilder<B> {
    match traceparent {
        Some(traceparent) => request.header("traceparent", traceparent),
        None => request,
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
    fn busy_for(&self) -> Option<Duration> {
        let is_busy = matches!(self.status, 429 | 503);
        self.retry_after.while_busy().filter(|_| is_busy)
    }

    /// Whether there is no such path or method.
    fn is_not_found(&self) -> bool {
        matches!(self.status, 404 | 405)
    }

    /// The error for a response that is not from a compatible TKA server.
    fn foreign(&self) -> ClientErrorKind {
        let content_type = self.content_type.split(';').next().unwrap_or_default();
        ClientErrorKind::NotTka {
            status: self.status,
            content_type: content_type.trim().to_owned(),
        }
    }
}
