//! The server's HTTP API, as far as the CLI uses it.

pub(crate) mod api_server;
mod approvals;
mod error;
mod failover;
pub(crate) mod gateway;
mod lists;
mod operation;
mod oversight;
mod peer;
pub(crate) mod probe;
mod recordings;
mod replicas;
mod route;
mod tls_name;

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tka_api::exec::ExecCredential;
use tka_api::http::{ClusterInfo, CredentialRequest, ErrorResponse, LoginRequest, LoginResponse};

pub(crate) use error::{ClientError, ClientErrorKind};
pub(crate) use operation::Operation;
pub(crate) use replicas::Tailnet;
pub(crate) use route::{Connection, Download, Route};

use crate::api::clock::{ServerTimes, Skew};
use crate::api::deadline::Deadline;
use crate::api::retry::{RETRIES, RetryAfter, RetryBackoff};
use crate::kubeconfig::server_kubeconfig::{self, AuthMethod, InvalidKubeconfig, ReceivedKubeconfig, ServerKubeconfig};
use crate::net::server::Server;
use replicas::Replicas;
use route::{HttpResponse, Request};

/// A connection to one server. All its requests share one time limit.
#[derive(Debug)]
pub(crate) struct Client {
    route: Arc<Route>,
    /// The replicas of the server, if several are known.
    replicas: Option<Arc<Replicas>>,
    deadline: Deadline,
    /// Whether failed requests are retried.
    retries: bool,
    /// The clock skew by the server's first response. All its times are converted alike.
    skew: OnceLock<Skew>,
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
    ///
    /// An unusable one is an error only here: the session has begun, and its name is needed to end it.
    pub(crate) kubeconfig: Option<Result<Box<ServerKubeconfig>, ClientError>>,
    /// Name of the session. None if the server gives no credentials of sessions.
    pub(crate) session: Option<String>,
    /// Name of its rule, if that has one.
    pub(crate) rule: Option<String>,
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
    #[serde(default)]
    rule: Option<String>,
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

// === impl Client ===

impl Client {
    pub(crate) fn new(route: Route, deadline: Deadline) -> Self {
        Self {
            route: Arc::new(route),
            replicas: None,
            deadline,
            retries: false,
            skew: OnceLock::new(),
        }
    }

    /// Asks another replica when one does not answer. `order` has the server and its replicas in the order in which to ask. All requests of
    /// this client may be sent twice: the second time they find done what the first one did.
    pub(crate) fn with_replicas(self, order: Vec<Server>, tailnet: impl Tailnet + 'static) -> Self {
        Self {
            replicas: Some(Arc::new(Replicas::new(Arc::clone(&self.route), order, tailnet))),
            ..self
        }
    }

    /// Retries when a connection fails or breaks, or the response is an error. Only for requests that may be sent twice, such as the end of
    /// a session.
    pub(crate) fn with_retries(self) -> Self {
        Self { retries: true, ..self }
    }

    /// The same with a time limit that begins now.
    pub(crate) fn with_fresh_deadline(&self, limit: Duration) -> Self {
        Self {
            route: Arc::clone(&self.route),
            replicas: self.replicas.clone(),
            deadline: Deadline::new(limit),
            retries: self.retries,
            skew: self.skew.clone(),
        }
    }

    pub(crate) fn server(&self) -> &Server {
        self.route.server()
    }

    /// The time left at `now`.
    pub(crate) fn remaining(&self, now: Instant) -> Duration {
        self.deadline.remaining(now)
    }

    /// Signs in. If the response has no kubeconfig, the session may not be provisioned yet.
    pub(crate) fn sign_in(&self, request: &LoginRequest, form: AuthMethod) -> Result<SignInResponse, ClientError> {
        self.sign_in_with(request, form.sign_in_query())
    }

    /// Signs in by the request for approval that is waited for. Where that was withdrawn or is over, the server refuses it, and begins no other.
    pub(crate) fn sign_in_by(
        &self,
        request: &LoginRequest,
        form: AuthMethod,
        approval: &str,
    ) -> Result<SignInResponse, ClientError> {
        let query = format!("{}&request={}", form.sign_in_query(), lists::escaped(approval));
        self.sign_in_with(request, &query)
    }

    fn sign_in_with(&self, request: &LoginRequest, query: &str) -> Result<SignInResponse, ClientError> {
        let operation = if request.elevate {
            Operation::Elevate
        } else {
            Operation::SignIn
        };
        // The original's CLI sends no body. This one sends none if all options have their defaults.
        let body = (*request != LoginRequest::default()).then(|| serde_json::json!(request));
        let response = self.request_with(operation, query, body.as_ref())?;
        if !matches!(response.status, 200 | 202) {
            return Err(self.refusal(operation, &response));
        }
        let body: SignInBody = self.decode_with_times(operation, &response)?;
        Ok(SignInResponse {
            login: body.login,
            kubeconfig: body.kubeconfig.map(|arrived| self.validate(operation, arrived)),
            rule: body.session.as_ref().and_then(|session| session.rule.clone()),
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

    /// A kubeconfig with a fresh credential, or another way to one, validated.
    pub(crate) fn kubeconfig(&self, form: AuthMethod) -> Result<Provisioned<Box<ServerKubeconfig>>, ClientError> {
        let operation = Operation::FetchKubeconfig;
        let response = self.request_with(operation, form.kubeconfig_query(), None)?;
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

    /// The error of a server that knows no elevations, and would sign the user in instead or refuse what it does not know.
    pub(crate) fn knows_no_elevations(&self) -> ClientError {
        self.error(Operation::Elevate, ClientErrorKind::Unsupported)
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
        let mut backoff = RetryBackoff::new(if self.retries { RETRIES } else { 1 });
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
            return busy_for.filter(|_| operation.retries_on_503());
        }
        let is_failure = match response {
            Ok(response) => response.status >= 500,
            Err(error) => !matches!(&*error.kind, ClientErrorKind::Tls(_)),
        };
        // tailscaled's proxy gives up connections that it is making when the tailnet changes. Nothing was sent, so trying once more harms nothing.
        let is_proxy_refusal = response.as_ref().is_err_and(ClientError::is_refused_by_proxy);
        backoff
            .next()
            .filter(|_| is_failure && (self.retries || is_proxy_refusal))
    }

    fn send_once(&self, operation: Operation, below: &str, body: Option<&Value>) -> Result<HttpResponse, ClientError> {
        let request = Request {
            operation,
            below: below.to_owned(),
            body: body.cloned(),
        };
        let result = self.exchange(request, Instant::now());
        result.map_err(|error| {
            let kind = ClientErrorKind::from_transport(error, self.deadline.limit(), self.route.proxy_variable());
            self.error(operation, kind)
        })
    }

    /// Sends the request to the server, or to the first of its replicas that answers.
    fn exchange(&self, request: Request, now: Instant) -> Result<HttpResponse, ureq::Error> {
        let limit = self.remaining(now);
        match &self.replicas {
            None => self.route.exchange(&request, limit),
            Some(replicas) => replicas.exchange(request, limit),
        }
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
            server: Box::new(self.server().clone()),
            operation,
            kind: Box::new(kind),
        }
    }
}
