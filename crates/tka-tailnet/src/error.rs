//! What can go wrong, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::BackendState;

/// Why tailscaled did not give an answer. One variant for each way to fail; each says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No process listens on the socket.
    #[error(
        "no tailscaled listens on {}: {why}{}; start tailscaled (in a pod, the log of its container says why it ended), or \
         give the path of the socket it was started with",
        path.display(),
        ended(last_words.as_deref())
    )]
    NoTailscaled {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
        /// The last line that tailscaled or its container wrote before it ended, where that was kept beside the socket.
        last_words: Option<String>,
    },

    /// The system does not let this process open the socket. Mostly a folder above it is closed, because tailscaled
    /// makes the socket itself open to all (`safesocket.socketPermissionsForOS`, 0666).
    #[error(
        "this process may not open tailscaled's socket {}: {why}; let its user search each folder of that path \
         and write to the socket",
        path.display()
    )]
    PermissionDenied {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        why: io::Error,
    },

    /// tailscaled answered, and denied the request (HTTP 401 or 403).
    #[error(
        "tailscaled denied the request {endpoint}: \"{said}\"; certificates are for root, tailscaled's own user, its \
         operator (`tailscale set --operator=USER`) and the user ID in tailscaled's TS_PERMIT_CERT_UID"
    )]
    Forbidden {
        /// What was asked.
        endpoint: &'static str,
        /// The beginning of what tailscaled said.
        said: String,
    },

    /// tailscaled runs, its node is not on a tailnet.
    #[error(
        "this node is not on the tailnet: tailscaled is in state {state}{}; {}",
        quoted(said.as_deref()),
        state.advice()
    )]
    NotRunning {
        /// The state it is in.
        state: BackendState,
        /// The beginning of what it finds wrong, if it was asked: why it was refused a sign-in, for example.
        said: Option<String>,
    },

    /// tailscaled knows of no node behind the address. It says the same of every address while the node is not on a
    /// tailnet: [`Status::require_running`](crate::Status::require_running) tells the two apart.
    #[error(
        "{addr} is not known on this tailnet: the connection did not come through this tailscaled, or it is over; \
         connect to this node over the tailnet"
    )]
    NotFound {
        /// The address that was asked for.
        addr: SocketAddr,
    },

    /// Certificates: the certificate authority asks for patience (HTTP 429).
    #[error(
        "the certificate authority allows no further certificate now: \"{said}\"; {}",
        patience(*retry_after)
    )]
    RateLimited {
        /// How long to wait, if it said so.
        retry_after: Option<Duration>,
        /// The beginning of what tailscaled said.
        said: String,
    },

    /// Any other answer than 200.
    #[error("tailscaled refused the request {endpoint} with HTTP {status}: \"{said}\"; its log says more")]
    Refused {
        /// What was asked.
        endpoint: &'static str,
        /// The HTTP status.
        status: u16,
        /// The beginning of what tailscaled said.
        said: String,
    },

    /// The answer is not what tailscaled is known to answer.
    #[error(
        "the answer to {endpoint} makes no sense: {why}; see that the socket is tailscaled's, and that it is not much \
         older or newer than this program"
    )]
    Malformed {
        /// What was asked.
        endpoint: &'static str,
        /// What is wrong with it.
        why: String,
    },

    /// The answer is larger than [`Limits`](crate::Limits) allow.
    #[error("the answer to {endpoint} is larger than {limit} bytes; raise that limit if the tailnet is this large")]
    TooLarge {
        /// What was asked.
        endpoint: &'static str,
        /// The limit, in bytes.
        limit: usize,
    },

    /// The answer took longer than [`Limits`](crate::Limits) allow.
    #[error(
        "tailscaled did not answer {endpoint} within {} s; it may be starting, overloaded or stuck: try again, then \
         look at its log",
        limit.as_secs_f32()
    )]
    TimedOut {
        /// What was asked.
        endpoint: &'static str,
        /// The limit.
        limit: Duration,
    },

    /// The connection broke before the answer was complete.
    #[error("the connection to tailscaled broke during {endpoint}: {why}; it may be restarting: try again")]
    Interrupted {
        /// What was asked.
        endpoint: &'static str,
        /// How it broke.
        why: String,
    },

    /// The question cannot be put into a request, so nothing was sent.
    #[error("{endpoint} cannot be asked like this: {why}; correct the argument")]
    InvalidQuestion {
        /// What was to be asked.
        endpoint: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

fn ended(last_words: Option<&str>) -> String {
    last_words.map_or_else(String::new, |words| format!("; what it said last: \"{words}\""))
}

/// What tailscaled said, behind what it is about.
fn quoted(said: Option<&str>) -> String {
    said.map_or_else(String::new, |said| format!(": \"{said}\""))
}

fn patience(retry_after: Option<Duration>) -> String {
    match retry_after {
        Some(wait) => format!("try again in {} s", wait.as_secs()),
        None => "try again later".to_owned(),
    }
}
