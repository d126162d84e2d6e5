//! Every way a command can fail: what happened, why, what to do, and the exit status.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

use crate::api::client::ClientError;
use crate::config::ConfigError;
use crate::discovery::NoChoice;
use crate::exit::Exit;
use crate::kubeconfig::export::Unlistable;
use crate::kubeconfig::merge::MergeError;
use crate::kubeconfig::store::StoreError;
use crate::net::proxy::InvalidProxy;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A server's address that is on the command line.
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
    /// A kubeconfig that calls this program where it is no longer.
    #[error(transparent)]
    NotMended(MergeError),
    /// A session that is over, and of which something is left.
    #[error(transparent)]
    Left(MergeError),
    /// A session that began, and whose kubeconfig cannot be written.
    #[error(transparent)]
    NotKept(Box<Self>),
    #[error("{}", .0.what())]
    Client(ClientError),
    /// kubectl asks for a credential of a session that is over.
    #[error("{}", error.what())]
    SessionOver { error: ClientError, advice: String },
    /// Signing in for kubectl led to another session.
    #[error("signing in at {server} gives another session than the one that this kubeconfig is for")]
    OtherSession { server: String, advice: String },
    /// A sign-out that may not have happened.
    #[error("{}", error.what())]
    KubeconfigKept { error: ClientError, path: PathBuf },
    /// A namespace where the role does not hold.
    #[error("the rule for the role {role} does not reach the namespace {namespace}")]
    OutsideTheRule {
        namespace: String,
        role: String,
        namespaces: Vec<String>,
    },
    #[error(transparent)]
    NoChoice(#[from] NoChoice),
    /// kubectl asks for something else than kubeconfigs of this program say.
    #[error("kubectl asks for a credential of version {0}, and this program gives {version}", version = tka_api::exec::API_VERSION)]
    ExecVersion(String),
    #[error("cannot write the manual to {}", dir.display())]
    Pages { dir: PathBuf, source: io::Error },
    #[error("the environment variable TKA_CREDENTIAL_CACHE: expected memory, keyring or none, found {0:?}")]
    CredentialCache(String),
    #[error("cannot write to standard output")]
    Output(#[source] io::Error),
    #[error("the result cannot be printed in that form")]
    Form(#[source] io::Error),
    #[error("KUBECONFIG cannot lead to the kubeconfig")]
    List(#[from] Unlistable),
    /// A question to a server broke down in this program.
    #[error("the server could not be asked")]
    NotAsked,
    #[cfg(unix)]
    #[error("cannot start {name}")]
    Program { name: String, source: io::Error },
    #[cfg(unix)]
    #[error("cannot watch for signals")]
    Signals(#[source] io::Error),
    #[cfg(unix)]
    #[error("this machine gives no random number")]
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
            Self::Client(error) | Self::KubeconfigKept { error, .. } | Self::SessionOver { error, .. } => error.exit(),
            Self::OutsideTheRule { .. } | Self::OtherSession { .. } => Exit::Refused,
            Self::NoChoice(NoChoice::NoServer { .. }) => Exit::Unreachable,
            Self::NoChoice(_) | Self::TypedServer(_) => Exit::Usage,
            Self::NotKept(error) => error.exit(),
            Self::Store(_)
            | Self::Merge(_)
            | Self::NotMended(_)
            | Self::Left(_)
            | Self::Pages { .. }
            | Self::Output(_)
            | Self::Form(_)
            | Self::List(_)
            | Self::NotAsked
            | Self::ExecVersion(_) => Exit::Failure,
            #[cfg(unix)]
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NoSuchCommand,
            #[cfg(unix)]
            Self::Program { .. } => Exit::NotRunnable,
            #[cfg(unix)]
            Self::Signals(_) | Self::Random(_) => Exit::Failure,
        }
    }

    /// What caused it, outermost first.
    pub(crate) fn why(&self) -> Vec<String> {
        match self {
            Self::Client(error) | Self::KubeconfigKept { error, .. } | Self::SessionOver { error, .. } => error.why(),
            Self::NoChoice(error) => error.why(),
            Self::NotKept(error) => error.why(),
            Self::Authorities { problem, .. } => vec![problem.clone()],
            Self::OutsideTheRule { namespaces, .. } => vec![format!("it is for {} only", namespaces.join(", "))],
            other => causes(other),
        }
    }

    /// What to do, a sentence each.
    pub(crate) fn advice(&self) -> Vec<String> {
        match self {
            Self::Config(error) | Self::TypedServer(error) => error.advice(),
            Self::NoChoice(error) => error.advice(),
            Self::Proxy(error) => vec![format!(
                "set {0} to something like http://127.0.0.1:1055, or unset it",
                error.variable
            )],
            Self::Authorities { .. } => {
                vec!["let SSL_CERT_FILE name a file with PEM certificates by its full path, or unset it".into()]
            }
            Self::Store(error) => error.advice(),
            Self::Merge(error) => {
                let apart = "or go without: leave --merge out, or set TKA_KUBECONFIG_MERGE=false";
                vec![error.advice(), apart.into()]
            }
            Self::NotMended(error) => {
                let again =
                    "it still calls tka where that is no longer: run `tka kubeconfig` again when this is solved";
                vec![error.advice(), again.into()]
            }
            Self::Left(error) => {
                let again = "the session is over, and its context is still there: run this again when this is solved";
                vec![error.advice(), again.into()]
            }
            Self::NotKept(error) => {
                let signed_in = "you are signed in: then run `tka kubeconfig`, or `tka logout` to end the session";
                error.advice().into_iter().chain([signed_in.to_owned()]).collect()
            }
            Self::Client(error) => error.advice(),
            Self::SessionOver { advice, .. } | Self::OtherSession { advice, .. } => vec![advice.clone()],
            Self::KubeconfigKept { error, path } => {
                let kept = format!(
                    "you may still be signed in, so {} was kept: run `tka logout` again when this is solved",
                    path.display()
                );
                error.advice().into_iter().chain([kept]).collect()
            }
            Self::OutsideTheRule { .. } => {
                vec!["choose one of these with --namespace, or another rule with --rule: `tka rules` shows them".into()]
            }
            Self::ExecVersion(_) => vec!["write the kubeconfig anew with `tka kubeconfig`".into()],
            Self::Pages { .. } => vec!["name a folder that you may write to with --dir".into()],
            Self::CredentialCache(_) => vec!["correct the variable, or unset it".into()],
            Self::Form(_) => vec!["leave --output out, or name another form".into()],
            Self::List(Unlistable::Separator { .. }) => vec![
                "let HOME, or the path in KUBECONFIG, have none".into(),
                "or print the path alone with --no-eval, for `kubectl --kubeconfig PATH`".into(),
            ],
            Self::List(Unlistable::NotUnicode { .. }) => {
                vec!["let HOME, or the path in KUBECONFIG, be one of Unicode characters".into()]
            }
            Self::NotAsked => vec!["try again".into()],
            Self::Output(_) => vec!["check where the output goes: is the disk full?".into()],
            #[cfg(unix)]
            Self::Program { .. } => {
                vec!["give the path of a program, or its name if PATH leads to it; SHELL names the shell".into()]
            }
            #[cfg(unix)]
            Self::Signals(_) | Self::Random(_) => {
                vec!["this machine lacks something basic: try again elsewhere".into()]
            }
        }
    }

    /// Whether whoever read the output has gone, which needs no message.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
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

impl From<ClientError> for Error {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}
