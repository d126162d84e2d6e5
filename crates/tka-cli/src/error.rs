//! All errors of commands: what happened, why, what to do, and the exit status.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use tka_api::http::ApprovalStatus;

use crate::api::access::OutsideRule;
use crate::api::client::ClientError;
use crate::config::ConfigError;
use crate::discovery::SelectError;
use crate::exit::Exit;
use crate::kubeconfig::env_variable::UnexportablePath;
use crate::kubeconfig::merge::MergeError;
use crate::kubeconfig::store::StoreError;
use crate::net::proxy::InvalidProxy;
use crate::policy::PolicyError;
use crate::recordings::RecordingError;
use crate::terminal::approvers::who_may_approve;
use crate::terminal::messages;
use crate::terminal::output::{PrintError, RenderOptions};

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A wrong server address on the command line.
    #[error(transparent)]
    TypedServer(ConfigError),
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    #[error("the certificates in SSL_CERT_FILE cannot be read: {}", path.display())]
    Authorities { path: PathBuf, problem: String },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A kubeconfig that calls this program at an outdated path, and cannot be repaired.
    #[error(transparent)]
    NotRepaired(MergeError),
    /// A session has ended, but its entries could not be removed.
    #[error(transparent)]
    CleanupFailed(MergeError),
    /// A session began, but its kubeconfig cannot be written.
    #[error(transparent)]
    NotPersisted(Box<Self>),
    /// The same, and the session was ended again.
    #[error(transparent)]
    NotKept(Box<Self>),
    #[error("{}", .0.what())]
    Client(ClientError),
    /// kubectl requests a credential of a session that has ended.
    #[error("{}", error.what())]
    SessionOver { error: ClientError, advice: String },
    /// Signing in for kubectl gave another session.
    #[error("the sign-in at {server} gives another session than this kubeconfig names")]
    OtherSession { server: String, advice: String },
    /// A sign-out failed, so the kubeconfig stays.
    #[error("{}", error.what())]
    SignOutFailed { error: ClientError, path: PathBuf },
    /// The gateway was asked for.
    #[error("the server at {server} has no gateway")]
    NoGateway { server: String },
    #[error("the server at {server} has no gateway, and an elevation acts through the gateway alone")]
    NothingToElevate { server: String },
    #[error("this device is not elevated at {server}")]
    NotElevated { server: String },
    /// Others must approve, and the command does not wait for them.
    #[error("this sign-in waits for the approval of others")]
    AwaitsApproval { status: ApprovalStatus },
    #[error("no sign-in for the session {session} waits that you made or may approve")]
    NothingWaits { session: String },
    /// A signal asked the command to end.
    #[cfg(unix)]
    #[error("interrupted; the sign-in does not wait any more")]
    Interrupted,
    /// A replica is known from earlier, and the tailnet does not show its node just now, or with other tags.
    #[error("the tailnet does not show {server} as a replica of the server")]
    NotAReplica { server: String },
    #[error(transparent)]
    Recording(RecordingError),
    /// A search in recordings or audit records failed, or is not whole.
    #[error(transparent)]
    Search(Box<Self>),
    #[error("the pattern is no regular expression: {0}")]
    Pattern(String),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    OutsideRule(#[from] OutsideRule),
    #[error(transparent)]
    SelectError(#[from] SelectError),
    /// kubectl requests another version than the kubeconfigs of this program name.
    #[error("kubectl requests a credential of version {0}, but tka supports only {version}", version = tka_api::exec::API_VERSION)]
    ExecVersion(String),
    #[error("cannot write the manual to {}", dir.display())]
    ManualPages { dir: PathBuf, source: io::Error },
    #[error("the environment variable TKA_CREDENTIAL_CACHE must be memory, keyring or none, not {0:?}")]
    CredentialCache(String),
    #[error(transparent)]
    Print(#[from] PrintError),
    #[error("KUBECONFIG cannot contain this path")]
    KubeconfigVariable(#[from] UnexportablePath),
    /// A worker thread panicked.
    #[error("a request to the server failed")]
    WorkerPanicked,
    #[cfg(unix)]
    #[error("cannot start {name}")]
    Program { name: String, source: io::Error },
    #[cfg(unix)]
    #[error("cannot handle signals")]
    Signals(#[source] io::Error),
    #[cfg(unix)]
    #[error("the system provides no random numbers")]
    Random(#[source] getrandom::Error),
}

// === impl Error ===

impl Error {
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(error) if error.is_usage() => Exit::Usage,
            Self::Config(_) | Self::Proxy(_) | Self::Authorities { .. } | Self::CredentialCache(_) => {
                Exit::Configuration
            }
            Self::Client(error) | Self::SignOutFailed { error, .. } | Self::SessionOver { error, .. } => error.exit(),
            Self::NoGateway { .. } | Self::NothingToElevate { .. } => Exit::Unsupported,
            Self::AwaitsApproval { .. } => Exit::AwaitsApproval,
            Self::NothingWaits { .. } | Self::NotElevated { .. } => Exit::NotSignedIn,
            Self::NotAReplica { .. } => Exit::Unreachable,
            #[cfg(unix)]
            Self::Interrupted => Exit::Interrupted,
            Self::Recording(_) => Exit::Failure,
            // As of grep, 1 says that nothing was found.
            Self::Search(error) => match error.exit() {
                Exit::Failure => Exit::SearchFailed,
                exit => exit,
            },
            Self::Pattern(_) => Exit::Usage,
            Self::Policy(error) => error.exit(),
            Self::OutsideRule(_) | Self::OtherSession { .. } => Exit::Refused,
            Self::SelectError(SelectError::NoServer { .. } | SelectError::NoneFound { .. }) => Exit::Unreachable,
            Self::SelectError(_) | Self::TypedServer(_) => Exit::Usage,
            Self::NotPersisted(error) | Self::NotKept(error) => error.exit(),
            Self::Store(_)
            | Self::Merge(_)
            | Self::NotRepaired(_)
            | Self::CleanupFailed(_)
            | Self::ManualPages { .. }
            | Self::Print(_)
            | Self::KubeconfigVariable(_)
            | Self::WorkerPanicked
            | Self::ExecVersion(_) => Exit::Failure,
            #[cfg(unix)]
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NoSuchCommand,
            #[cfg(unix)]
            Self::Program { .. } => Exit::NotRunnable,
            #[cfg(unix)]
            Self::Signals(_) | Self::Random(_) => Exit::Failure,
        }
    }

    /// The causes, outermost first.
    pub(crate) fn why(&self) -> Vec<String> {
        match self {
            Self::Client(error) | Self::SignOutFailed { error, .. } | Self::SessionOver { error, .. } => error.why(),
            Self::SelectError(error) => error.why(),
            Self::NotPersisted(error) | Self::NotKept(error) | Self::Search(error) => error.why(),
            Self::Authorities { problem, .. } => vec![problem.clone()],
            Self::OutsideRule(error) => vec![format!("it is for {} only", error.namespaces.join(", "))],
            other => causes(other),
        }
    }

    /// What to do, one sentence each.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::Config(error) | Self::TypedServer(error) => error.advice(),
            Self::SelectError(error) => error.advice(),
            Self::Proxy(error) => vec![format!(
                "set {0} to something like http://127.0.0.1:1055, or unset it",
                error.variable
            )],
            Self::Authorities { .. } => {
                vec!["set SSL_CERT_FILE to the full path of a file with PEM certificates, or unset it".into()]
            }
            Self::Store(error) => error.advice(),
            Self::Merge(error) => {
                let without_merge = "or do not merge: leave --merge out, or set TKA_KUBECONFIG_MERGE=false";
                vec![error.advice(), without_merge.into()]
            }
            Self::NotRepaired(error) => {
                let advice = "this kubeconfig still calls tka at an outdated path: run `tka kubeconfig` again when this is solved";
                vec![error.advice(), advice.into()]
            }
            Self::CleanupFailed(error) => {
                let advice =
                    "the session has ended, but its context is still there: run this again when this is solved";
                vec![error.advice(), advice.into()]
            }
            Self::NotPersisted(error) => {
                let signed_in =
                    "you are signed in: solve this and run `tka kubeconfig`, or end the session with `tka logout`";
                error.advice().into_iter().chain([signed_in.to_owned()]).collect()
            }
            Self::NotKept(error) => {
                let ended = "the session was ended again: solve this, and run `tka login`";
                error.advice().into_iter().chain([ended.to_owned()]).collect()
            }
            Self::Client(error) => error.advice(),
            Self::SessionOver { advice, .. } | Self::OtherSession { advice, .. } => vec![advice.clone()],
            Self::SignOutFailed { error, path } => {
                let kubeconfig_stays = format!(
                    "you may still be signed in, so {} was kept: run `tka logout` again when this is solved",
                    path.display()
                );
                error.advice().into_iter().chain([kubeconfig_stays]).collect()
            }
            Self::NoGateway { .. } => vec![
                "sign in without it: leave `--via gateway` out".into(),
                "or ask the server's administrator to set gateway.enabled".into(),
            ],
            Self::NothingToElevate { .. } => vec![
                "sign in through the rule instead: `tka login --rule NAME`".into(),
                "or ask the server's administrator to set gateway.enabled".into(),
            ],
            Self::NotElevated { .. } => vec!["see your sessions on all devices with `tka sessions`, and what waits for approval with `tka approvals`".into()],
            Self::AwaitsApproval { status } => vec![
                who_may_approve(status),
                "run the same command again once it is approved, or without --no-wait to wait for that".into(),
                format!("withdraw it with `tka approvals withdraw {}`", status.session),
            ],
            Self::NotAReplica { .. } => vec![
                "check with `tailscale status` that its node is there, with the tags of the server's".into(),
                "sign in with `tka login` for this device to learn which replicas there are".into(),
            ],
            Self::NothingWaits { .. } => vec!["see `tka approvals` for those that wait".into()],
            #[cfg(unix)]
            Self::Interrupted => vec![],
            Self::Recording(error) => error.advice(),
            Self::Search(error) => error.advice(),
            Self::Pattern(_) => vec!["correct it, or search for it as a text with --fixed-strings".into()],
            Self::Policy(error) => error.advice(),
            Self::OutsideRule(_) => {
                vec!["choose one of these with --namespace, or another rule with --rule: `tka rules` shows them".into()]
            }
            Self::ExecVersion(_) => vec!["write the kubeconfig again with `tka kubeconfig`".into()],
            Self::ManualPages { .. } => vec!["name a folder that you may write to with --dir".into()],
            Self::CredentialCache(_) => vec!["correct the variable, or unset it".into()],
            Self::Print(PrintError::Form(_)) => vec!["leave --output out, or choose another format".into()],
            Self::KubeconfigVariable(UnexportablePath::Separator { .. }) => vec![
                "use a HOME, or a path in KUBECONFIG, without this character".into(),
                "or print the path alone with --no-eval, for `kubectl --kubeconfig PATH`".into(),
            ],
            Self::KubeconfigVariable(UnexportablePath::NotUnicode { .. }) => {
                vec!["use a HOME, or a path in KUBECONFIG, of Unicode characters only".into()]
            }
            Self::WorkerPanicked => vec!["try again".into()],
            Self::Print(PrintError::Write(_)) => vec!["check where the output goes: is the disk full?".into()],
            #[cfg(unix)]
            Self::Program { .. } => {
                vec!["give the path of a program, or the name of one on PATH; SHELL names the shell".into()]
            }
            #[cfg(unix)]
            Self::Signals(_) | Self::Random(_) => {
                vec!["this machine lacks a basic system function: use another machine".into()]
            }
        }
    }

    /// The error as text: what happened, why, and what to do.
    pub(crate) fn render(&self, options: &RenderOptions<'_>) -> String {
        messages::problem(&self.to_string(), self.why(), self.advice(), options)
    }

    /// Whether the reader of the output is gone. That needs no message.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Print(PrintError::Write(error)) => error.kind() == io::ErrorKind::BrokenPipe,
            Self::Search(error) => error.is_broken_pipe(),
            _ => false,
        }
    }
}

fn causes(error: &Error) -> Vec<String> {
    let mut messages = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        messages.push(cause.to_string());
        next = cause.source();
    }
    messages
}

impl From<RecordingError> for Error {
    fn from(error: RecordingError) -> Self {
        match error {
            RecordingError::Client(error) => Self::Client(error),
            RecordingError::Print(error) => Self::Print(PrintError::Write(error)),
            error => Self::Recording(error),
        }
    }
}

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::client::{ClientErrorKind, Operation};
    use crate::config::Config;
    use crate::config::flags::Global;
    use crate::net::server::Server;
    use crate::terminal::messages::tests::options;
    use crate::terminal::theme::{Palette, Theme};
    use tka_api::http::ErrorResponse;

    fn plain() -> Palette {
        Theme::Notty.palette()
    }

    fn shown(server: &str, operation: Operation, kind: ClientErrorKind) -> String {
        let server = Server::new(server, 443, None).unwrap();
        shown_in(server, operation, kind, &options(&plain()))
    }

    fn shown_in(server: Server, operation: Operation, kind: ClientErrorKind, options: &RenderOptions<'_>) -> String {
        let failed = ClientError {
            server: Box::new(server),
            operation,
            kind: Box::new(kind),
        };
        Error::Client(failed).render(options)
    }

    #[test]
    fn refusals_in_the_servers_words() {
        let account = serde_json::json!({
            "message": "no rule of the tailnet policy reaches you",
            "advice": ["ask for a grant", "ask for a grant"],
            "cause": {"message": "capability\u{1b}[31m specht-labs.de/cap/tka\nis absent", "advice": ["look at the grants"]}
        });
        let kind = ClientErrorKind::Rejected {
            status: 403,
            error: serde_json::from_value(account).unwrap(),
        };
        insta::assert_snapshot!(shown("tka.example.ts.net", Operation::SignIn, kind), @"
        ✗ https://tka.example.ts.net refuses to sign you in
          why  no rule of the tailnet policy reaches you
               capability[31m specht-labs.de/cap/tka is absent
          do   ask for a grant
               look at the grants
        ");
    }

    #[test]
    fn refusals_without_words() {
        for (status, operation) in [
            (400, Operation::SignIn),
            (401, Operation::FetchKubeconfig),
            (403, Operation::SignIn),
            (404, Operation::SignOut),
            (500, Operation::ShowCluster),
        ] {
            let kind = ClientErrorKind::Rejected {
                status,
                error: ErrorResponse::default(),
            };
            insta::assert_snapshot!(format!("bare_{status}"), shown("tka", operation, kind));
        }
    }

    #[test]
    fn troubles_on_the_way() {
        use std::time::Duration;
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        for (name, kind) in [
            ("unknown_host", ClientErrorKind::UnknownHost),
            ("no_connection", ClientErrorKind::NoConnection(refused())),
            ("timed_out", ClientErrorKind::ConnectTimedOut(Duration::from_secs(30))),
            ("no_answer", ClientErrorKind::TimedOut(Duration::from_secs(30))),
            (
                "no_proxy",
                ClientErrorKind::ProxyUnreachable {
                    variable: "HTTPS_PROXY",
                    reason: "Connection refused".into(),
                },
            ),
            (
                "proxy_refused",
                ClientErrorKind::ProxyRefused {
                    variable: "HTTPS_PROXY",
                    reason: "it answered with HTTP status 500".into(),
                },
            ),
            (
                "tls",
                ClientErrorKind::Tls("invalid peer certificate: UnknownIssuer".into()),
            ),
            (
                "broken",
                ClientErrorKind::InvalidResponse("the connection ended before the answer did".into()),
            ),
            (
                "foreign",
                ClientErrorKind::NotTka {
                    status: 200,
                    content_type: "text/html".into(),
                },
            ),
            (
                "bad_gateway",
                ClientErrorKind::NotTka {
                    status: 502,
                    content_type: String::new(),
                },
            ),
            (
                "unusable",
                ClientErrorKind::UnusableKubeconfig(crate::kubeconfig::server_kubeconfig::InvalidKubeconfig::NoToken),
            ),
            (
                "not_provisioned",
                ClientErrorKind::NotProvisioned(Duration::from_millis(1500)),
            ),
        ] {
            insta::assert_snapshot!(name, shown("tka", Operation::SignIn, kind));
        }
    }

    #[test]
    fn a_wrong_configuration() {
        let flags = Global {
            server: Some("a b".to_owned()),
            ..Global::default()
        };
        let wrong = Config::load(&flags, None, &|_| None).unwrap().server().unwrap_err();
        insta::assert_snapshot!(Error::from(wrong).render(&options(&plain())), @"
        ✗ the server's address cannot be used
          why  `a b` is not a host name or address
          do   give --server a name in your tailnet, a full name, an address or a URL, and --port a port
        ");
    }

    #[test]
    fn narrow_terminals_get_wrapped_lines() {
        let palette = plain();
        let narrow = RenderOptions {
            width: Some(40),
            ..options(&palette)
        };
        let server = Server::new("tka.example.ts.net", 443, None).unwrap();
        let kind = ClientErrorKind::Tls("invalid peer certificate: UnknownIssuer".into());
        insta::assert_snapshot!(shown_in(server, Operation::SignIn, kind, &narrow));
    }
}
