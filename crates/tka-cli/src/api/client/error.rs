//! Errors between the CLI and the server, and what to do about them.

use std::io;
use std::time::Duration;

use tka_api::http::ErrorResponse;

use super::operation::Operation;
use super::peer::{Endpoint, OutsideTailnet};
use crate::exit::Exit;
use crate::kubeconfig::server_kubeconfig::InvalidKubeconfig;
use crate::net::server::{Scheme, Server};

/// A failed request. Large fields are boxed, because results carry them around.
#[derive(Debug)]
pub(crate) struct ClientError {
    pub(crate) server: Box<Server>,
    pub(crate) operation: Operation,
    pub(crate) kind: Box<ClientErrorKind>,
}

/// What went wrong.
#[derive(Debug)]
pub(crate) enum ClientErrorKind {
    /// The name does not resolve.
    UnknownHost,
    NoConnection(io::Error),
    /// No complete answer in time.
    TimedOut(Duration),
    /// No connection in time, so that nothing was asked.
    ConnectTimedOut(Duration),
    /// No connection to the proxy.
    ProxyUnreachable {
        variable: &'static str,
        reason: String,
    },
    /// The proxy did not connect to the server.
    ProxyRefused {
        variable: &'static str,
        reason: String,
    },
    /// Plain HTTP would leave the tailnet, to these addresses of the server.
    OutsideTailnet(String),
    /// Plain HTTP would go through a proxy at these addresses, which are not on this machine.
    ProxyNotLocal {
        variable: &'static str,
        addresses: String,
    },
    /// The TLS connection or the server's certificate is not valid.
    Tls(String),
    /// The response is incomplete, or not HTTP.
    InvalidResponse(String),
    /// The server refused. The body says why.
    Rejected {
        status: u16,
        error: ErrorResponse,
    },
    /// The response is not from a TKA server.
    NotTka {
        status: u16,
        content_type: String,
    },
    /// The server has no such endpoint, as the original's server and other services.
    Unsupported,
    /// The kubeconfig would not work.
    UnusableKubeconfig(InvalidKubeconfig),
    /// The session was not ready in time.
    NotProvisioned(Duration),
}

/// What a server says of a path that it does not have.
const NO_SUCH_PATH: &str = "no such path";

// === impl ClientError ===

impl ClientError {
    /// Whether the server says that there is no session.
    pub(crate) fn is_not_signed_in(&self) -> bool {
        self.exit() == Exit::NotSignedIn
    }

    /// Whether the proxy did not connect to the server.
    pub(super) fn is_refused_by_proxy(&self) -> bool {
        matches!(&*self.kind, ClientErrorKind::ProxyRefused { .. })
    }

    /// Whether the server says that a sign-in was decided about already.
    pub(crate) fn is_decided(&self) -> bool {
        self.operation == Operation::Withdraw && matches!(&*self.kind, ClientErrorKind::Rejected { status: 409, .. })
    }

    /// Whether the server has no such function.
    pub(crate) fn is_unsupported(&self) -> bool {
        self.exit() == Exit::Unsupported
    }

    /// Whether a TKA server sent the error.
    pub(crate) fn is_from_server(&self) -> bool {
        matches!(&*self.kind, ClientErrorKind::Rejected { status, .. } if *status != 404)
    }

    /// Whether something other than a TKA server responded.
    pub(crate) fn is_from_other_service(&self) -> bool {
        match &*self.kind {
            ClientErrorKind::Rejected { status, .. } => *status == 404,
            ClientErrorKind::NotTka { .. } => self.exit() != Exit::Unreachable,
            _ => false,
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match &*self.kind {
            ClientErrorKind::UnknownHost
            | ClientErrorKind::NoConnection(_)
            | ClientErrorKind::TimedOut(_)
            | ClientErrorKind::ConnectTimedOut(_)
            | ClientErrorKind::ProxyUnreachable { .. }
            | ClientErrorKind::ProxyRefused { .. }
            | ClientErrorKind::OutsideTailnet(_)
            | ClientErrorKind::Tls(_)
            | ClientErrorKind::NotTka { status: 502..=504, .. } => Exit::Unreachable,
            ClientErrorKind::Rejected { status, .. } => match (status, self.operation) {
                _ if self.is_without_oversight() => Exit::Refused,
                (401, _)
                | (
                    404,
                    Operation::SignOut
                    | Operation::EndSession
                    | Operation::EndSessionOfOther
                    | Operation::Withdraw
                    | Operation::FetchCredential,
                ) => Exit::NotSignedIn,
                (403, _) => Exit::Refused,
                (400, operation) if operation.needs_oversight_of().is_some() => Exit::Usage,
                (400 | 422, _) => Exit::Policy,
                _ => Exit::Failure,
            },
            ClientErrorKind::ProxyNotLocal { .. } => Exit::Configuration,
            ClientErrorKind::Unsupported => Exit::Unsupported,
            ClientErrorKind::InvalidResponse(_)
            | ClientErrorKind::NotTka { .. }
            | ClientErrorKind::UnusableKubeconfig(_)
            | ClientErrorKind::NotProvisioned(_) => Exit::Failure,
        }
    }

    /// Whether the server told this caller that there is nothing at all, as it tells callers without oversight.
    pub(crate) fn is_without_oversight(&self) -> bool {
        self.operation.needs_oversight_of().is_some()
            && matches!(&*self.kind, ClientErrorKind::Rejected { status: 404, error } if error.message == NO_SUCH_PATH)
    }

    /// Whether there was no response, neither from the server nor on the way to it.
    pub(crate) fn has_no_response(&self) -> bool {
        !matches!(
            &*self.kind,
            ClientErrorKind::Rejected { .. } | ClientErrorKind::NotTka { .. } | ClientErrorKind::Unsupported
        )
    }

    /// Whether the server may have carried the request out anyway.
    pub(crate) fn may_have_taken_effect(&self) -> bool {
        match &*self.kind {
            ClientErrorKind::UnknownHost
            | ClientErrorKind::NoConnection(_)
            | ClientErrorKind::ConnectTimedOut(_)
            | ClientErrorKind::ProxyUnreachable { .. }
            | ClientErrorKind::ProxyRefused { .. }
            | ClientErrorKind::OutsideTailnet(_)
            | ClientErrorKind::ProxyNotLocal { .. }
            | ClientErrorKind::Tls(_)
            | ClientErrorKind::Unsupported => false,
            ClientErrorKind::Rejected { status, .. } => *status >= 500,
            ClientErrorKind::TimedOut(_)
            | ClientErrorKind::InvalidResponse(_)
            | ClientErrorKind::NotTka { .. }
            | ClientErrorKind::UnusableKubeconfig(_)
            | ClientErrorKind::NotProvisioned(_) => true,
        }
    }

    /// Whether the request was to end one session, of the caller or of another.
    fn ends_session(&self) -> bool {
        matches!(self.operation, Operation::EndSession | Operation::EndSessionOfOther)
    }

    /// Whether the server says that the session to end is not the caller's, or that nothing here is theirs.
    pub(crate) fn is_about_session_of_other(&self) -> bool {
        self.operation == Operation::EndSession
            && matches!(&*self.kind, ClientErrorKind::Rejected { status: 403 | 404, .. })
    }

    /// What happened.
    pub(crate) fn what(&self) -> String {
        let (server, verb) = (&self.server, self.operation.verb());
        match (&*self.kind, self.exit()) {
            (ClientErrorKind::NotTka { .. }, Exit::Failure) => format!("the service at {server} is not a TKA server"),
            (ClientErrorKind::OutsideTailnet(_) | ClientErrorKind::ProxyNotLocal { .. }, _) => {
                format!("tka does not send plain HTTP to {server}")
            }
            (ClientErrorKind::UnusableKubeconfig(_), _) => format!("the kubeconfig from {server} cannot be used"),
            (ClientErrorKind::NotProvisioned(limit), _) => {
                format!("your session at {server} was not ready within {}", seconds(*limit))
            }
            (ClientErrorKind::InvalidResponse(_), _) => format!("the answer from {server} cannot be read"),
            (ClientErrorKind::Unsupported, _) => format!("the server at {server} cannot {verb}"),
            (_, Exit::Unreachable) => format!("cannot reach the server at {server}"),
            (_, Exit::NotSignedIn) if self.ends_session() => format!("{server} could not {verb}"),
            (_, Exit::NotSignedIn) => format!("you are not signed in at {server}"),
            (_, Exit::Refused) => format!("{server} refuses to {verb}"),
            _ => format!("{server} could not {verb}"),
        }
    }

    /// Why, outermost cause first.
    pub(crate) fn why(&self) -> Vec<String> {
        match &*self.kind {
            ClientErrorKind::UnknownHost => vec![format!("the name {} does not resolve", self.server.host())],
            ClientErrorKind::NoConnection(error) => vec![error.to_string()],
            ClientErrorKind::TimedOut(limit) | ClientErrorKind::ConnectTimedOut(limit) => {
                vec![format!("no answer within {}", seconds(*limit))]
            }
            ClientErrorKind::ProxyUnreachable { variable, reason } => {
                vec![format!("no connection to the proxy in {variable}"), reason.clone()]
            }
            ClientErrorKind::ProxyRefused { variable, reason } => vec![
                format!("the proxy in {variable} did not connect to {}", self.server.host()),
                reason.clone(),
            ],
            ClientErrorKind::OutsideTailnet(addresses) => vec![
                format!("its address {addresses} is not on the tailnet"),
                "others could read the traffic, or answer in the server's place".to_owned(),
            ],
            ClientErrorKind::ProxyNotLocal { variable, addresses } => {
                vec![format!(
                    "the proxy in {variable} is at {addresses}, and could read the traffic"
                )]
            }
            ClientErrorKind::Tls(reason) | ClientErrorKind::InvalidResponse(reason) => vec![reason.clone()],
            ClientErrorKind::Rejected { status, error } => server_messages(*status, error),
            ClientErrorKind::NotTka {
                status: status @ 502..=504,
                ..
            } => {
                vec![format!(
                    "a gateway in front of the server answered with HTTP status {status}"
                )]
            }
            ClientErrorKind::NotTka { status, content_type } if content_type.is_empty() => {
                vec![format!("HTTP status {status} with a body that is not TKA's")]
            }
            ClientErrorKind::NotTka { status, content_type } => {
                vec![format!(
                    "HTTP status {status} with a body of type {content_type} that is not TKA's"
                )]
            }
            ClientErrorKind::Unsupported => vec![
                "it has no such endpoint: it may be the original TKA server, an older version, or another service"
                    .to_owned(),
            ],
            ClientErrorKind::UnusableKubeconfig(flaw) => vec![flaw.to_string()],
            ClientErrorKind::NotProvisioned(_) => vec!["the cluster is still creating your access".to_owned()],
        }
    }

    /// Whether the server may have signed the caller in, and what was answered tells neither the session nor that there is none.
    fn may_have_begun_unnamed(&self) -> bool {
        let is_lost = match &*self.kind {
            ClientErrorKind::InvalidResponse(_) | ClientErrorKind::TimedOut(_) => true,
            ClientErrorKind::NotTka { status, content_type } => match status {
                200..300 => content_type.starts_with("application/json"),
                502..=504 => true,
                _ => false,
            },
            _ => false,
        };
        is_lost && matches!(self.operation, Operation::SignIn | Operation::Elevate)
    }

    /// Whether the server's kubeconfig would not work.
    pub(crate) fn is_unusable_kubeconfig(&self) -> bool {
        matches!(&*self.kind, ClientErrorKind::UnusableKubeconfig(_))
    }

    /// What to do: the server's own advice if it gave any.
    pub(crate) fn advice(&self) -> Vec<String> {
        let unnamed = self.may_have_begun_unnamed();
        let begun =
            unnamed.then(|| "a session may have begun: `tka sessions` shows it, `tka logout` ends it".to_owned());
        self.advice_for_kind().into_iter().chain(begun).collect()
    }

    fn advice_for_kind(&self) -> Vec<String> {
        match &*self.kind {
            // The user wanted to be signed out, and is.
            _ if self.operation == Operation::SignOut && self.is_not_signed_in() => vec![],
            _ if self.is_without_oversight() => vec![
                format!(
                    "ask an administrator of the tailnet for oversight of {} (docs/oversight.md): without it a server says no more",
                    self.operation.needs_oversight_of().unwrap_or_default()
                ),
                "if you have it, check with `tka doctor` that the server is not an older one".into(),
            ],
            ClientErrorKind::Rejected { error, .. } => match server_advice(error) {
                advice if advice.is_empty() => self.own_advice(),
                advice => advice,
            },
            _ => self.own_advice(),
        }
    }

    fn own_advice(&self) -> Vec<String> {
        match &*self.kind {
            ClientErrorKind::UnknownHost => vec![
                "check with `tailscale status` that this device is connected and that the server is in your tailnet"
                    .into(),
                self.name_advice(),
                "or see with `tka clusters` which servers this device finds".into(),
            ],
            ClientErrorKind::NoConnection(_)
            | ClientErrorKind::TimedOut(_)
            | ClientErrorKind::ConnectTimedOut(_)
            | ClientErrorKind::NotTka { status: 502..=504, .. } => vec![
                "check with `tailscale status` that this device is connected".into(),
                self.name_advice(),
                format!(
                    "check that the server runs and listens on port {} (--port)",
                    self.server.port()
                ),
            ],
            ClientErrorKind::ProxyUnreachable { variable, .. } => {
                vec![format!("check that the proxy in {variable} runs, or unset {variable}")]
            }
            ClientErrorKind::ProxyRefused { variable, .. } => vec![
                self.name_advice(),
                format!(
                    "check that the server runs and listens on port {} (--port)",
                    self.server.port()
                ),
                format!("check that the proxy in {variable} is in your tailnet, or unset {variable}"),
            ],
            ClientErrorKind::OutsideTailnet(_) => vec![
                "check with `tailscale status` that this device is connected, so that the name resolves to a tailnet address"
                    .into(),
                self.name_advice(),
                "or use HTTPS (port 443, or a URL that begins with https://)".into(),
            ],
            ClientErrorKind::ProxyNotLocal { variable, .. } => vec![
                format!("add {} to NO_PROXY, or unset {variable}", self.server.host()),
                "to use this proxy anyway, set it with `tka config tailscale.proxy URL`".into(),
            ],
            ClientErrorKind::Tls(_) => vec![self.tls_advice()],
            ClientErrorKind::InvalidResponse(_) => vec![
                "try again; if it persists, look at the server's log".into(),
                "check --port: 443 is for HTTPS, any other port for HTTP".into(),
            ],
            ClientErrorKind::NotTka { .. } => vec![
                self.name_advice(),
                "check --port: 443 is for HTTPS, any other port for HTTP".into(),
                "check that no proxy answers in the server's place (HTTP_PROXY, HTTPS_PROXY)".into(),
            ],
            ClientErrorKind::Unsupported if self.operation == Operation::SelectRule => vec![
                "leave out --rule, --role, --for and --reason: that server takes the rule of the highest priority"
                    .into(),
                "run `tka doctor` to see which service answers there".into(),
            ],
            ClientErrorKind::Unsupported if self.operation == Operation::Elevate => vec![
                "sign in through the rule instead: `tka login --rule NAME`".into(),
                "or ask the server's administrator for a newer version".into(),
            ],
            ClientErrorKind::Unsupported => vec![
                "these commands work with it: `tka login`, `tka get login`, `tka kubeconfig`, `tka cluster-info`, `tka logout`"
                    .into(),
                "run `tka doctor` to see which service answers there".into(),
            ],
            ClientErrorKind::UnusableKubeconfig(flaw) if flaw.is_suspicious() => {
                let server = &self.server;
                vec![format!(
                    "check that {server} is the server that you mean, and tell its administrator: a TKA server does not send this"
                )]
            }
            ClientErrorKind::UnusableKubeconfig(_) => {
                vec![
                    "ask the server's administrator to look at its cluster settings (`tka cluster-info` shows them)"
                        .into(),
                ]
            }
            ClientErrorKind::NotProvisioned(_) => {
                vec![
                    "run `tka kubeconfig` in a moment".into(),
                    "if it persists, look at the server's log".into(),
                ]
            }
            ClientErrorKind::Rejected { .. } if self.operation == Operation::EndSession && self.is_not_signed_in() => {
                vec!["list your sessions with `tka sessions`".into()]
            }
            ClientErrorKind::Rejected { .. } => vec![self.status_advice().to_owned()],
        }
    }

    fn status_advice(&self) -> &'static str {
        match self.exit() {
            Exit::NotSignedIn => "sign in with `tka login`",
            Exit::Refused => "ask an administrator of the tailnet for a grant that reaches you",
            Exit::Policy => "ask an administrator of the tailnet to look at the grants that reach you",
            _ => "try again; if it persists, look at the server's log",
        }
    }

    fn name_advice(&self) -> String {
        if self.server.has_short_name() {
            format!(
                "check the server's name (--server), or complete it: `--server {}.YOUR-TAILNET.ts.net`",
                self.server.host()
            )
        } else {
            "check the server's name (--server)".to_owned()
        }
    }

    fn tls_advice(&self) -> String {
        if self.server.scheme() == Scheme::Https && self.server.has_short_name() {
            format!(
                "the certificate has the full name of the server: set tailscale.tailnet, or use `--server {}.YOUR-TAILNET.ts.net`",
                self.server.host()
            )
        } else {
            "check that the port serves HTTPS; for a private certificate authority, set SSL_CERT_FILE to its file"
                .to_owned()
        }
    }
}

/// The server's message and its causes.
fn server_messages(status: u16, error: &ErrorResponse) -> Vec<String> {
    let messages = std::iter::once(error)
        .chain(error.causes())
        .map(|error| error.message.trim());
    let messages = messages.filter(|message| !message.is_empty());
    let lines: Vec<String> = messages.map(ToOwned::to_owned).collect();
    if lines.is_empty() {
        vec![format!("HTTP status {status}, without a reason")]
    } else {
        lines
    }
}

/// All advice of the server, each line once.
fn server_advice(error: &ErrorResponse) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in std::iter::once(error)
        .chain(error.causes())
        .flat_map(|error| &error.advice)
    {
        if !line.trim().is_empty() && !lines.contains(line) {
            lines.push(line.clone());
        }
    }
    lines
}

/// A time limit in seconds.
fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

// === impl ClientErrorKind ===

impl ClientErrorKind {
    /// Classifies a transport error by what the user can do about it.
    pub(super) fn from_transport(error: ureq::Error, limit: Duration, proxy_variable: Option<&'static str>) -> Self {
        let variable = proxy_variable.unwrap_or_default();
        match error {
            ureq::Error::HostNotFound => Self::unknown_name(proxy_variable),
            ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => Self::ConnectTimedOut(limit),
            ureq::Error::Timeout(_) => Self::TimedOut(limit),
            ureq::Error::ConnectProxyFailed(reason) => Self::ProxyRefused {
                variable,
                reason: refusal(&reason),
            },
            ureq::Error::Rustls(error) => Self::Tls(error.to_string()),
            ureq::Error::Tls(reason) => Self::Tls(reason.to_owned()),
            ureq::Error::Io(error) => Self::from_io(error, limit, proxy_variable),
            ureq::Error::ConnectionFailed => Self::NoConnection(io::Error::other("no address answers")),
            other => Self::InvalidResponse(other.to_string()),
        }
    }

    /// The error for a name that does not resolve: the proxy's name if there is a proxy, else the server's.
    fn unknown_name(proxy_variable: Option<&'static str>) -> Self {
        let reason = "the proxy's name does not resolve".to_owned();
        proxy_variable.map_or(Self::UnknownHost, |variable| Self::ProxyUnreachable {
            variable,
            reason,
        })
    }

    fn from_outside_tailnet(outside: &OutsideTailnet, proxy_variable: Option<&'static str>) -> Self {
        match outside.endpoint {
            Endpoint::Server => Self::OutsideTailnet(outside.to_string()),
            Endpoint::Proxy => Self::ProxyNotLocal {
                variable: proxy_variable.unwrap_or_default(),
                addresses: outside.to_string(),
            },
        }
    }

    fn from_io(error: io::Error, limit: Duration, proxy_variable: Option<&'static str>) -> Self {
        use io::ErrorKind as Kind;
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::Tls(tls.to_string());
        }
        if let Some(outside) = error.get_ref().and_then(|inner| inner.downcast_ref::<OutsideTailnet>()) {
            return Self::from_outside_tailnet(outside, proxy_variable);
        }
        if is_unknown_name(&error) {
            return Self::unknown_name(proxy_variable);
        }
        match (error.kind(), proxy_variable) {
            (Kind::TimedOut | Kind::WouldBlock, _) => Self::TimedOut(limit),
            (Kind::UnexpectedEof, _) => Self::InvalidResponse("the connection ended before the answer did".to_owned()),
            (Kind::ConnectionReset | Kind::InvalidData, _) => Self::InvalidResponse(error.to_string()),
            (_, Some(variable)) => Self::ProxyUnreachable {
                variable,
                reason: error.to_string(),
            },
            (_, None) => Self::NoConnection(error),
        }
    }
}

/// Why a proxy refused. The HTTP library repeats the status ("proxy server responded 500/500").
fn refusal(reason: &str) -> String {
    match reason.rsplit_once('/') {
        Some((_, status)) => format!("it answered with HTTP status {status}"),
        None => reason.to_owned(),
    }
}

/// Whether a name did not resolve. The standard library has no error kind for that.
fn is_unknown_name(error: &io::Error) -> bool {
    /// Windows: host not found, and no data of the requested type.
    const WSA_NAMES: [i32; 2] = [11001, 11004];
    error.to_string().starts_with("failed to lookup address information")
        || (cfg!(windows) && error.raw_os_error().is_some_and(|code| WSA_NAMES.contains(&code)))
}
