//! The state of a node on its tailnet.

use std::fmt;

use serde::Deserialize;

use crate::excerpt::excerpt;

/// Whether a node is on its tailnet (`ipn.State`).
#[derive(Clone, Debug, Deserialize, Eq, Hash, PartialEq)]
#[serde(from = "String")]
#[non_exhaustive]
pub enum BackendState {
    /// tailscaled has just started.
    NoState,
    /// Another user of this machine uses tailscaled (Windows).
    InUseOtherUser,
    /// The node waits for a user to sign it in.
    NeedsLogin,
    /// An administrator of the tailnet has to approve the node.
    NeedsMachineAuth,
    /// Turned off, `tailscale down`.
    Stopped,
    /// Connecting to the tailnet.
    Starting,
    /// On the tailnet.
    Running,
    /// One that this program does not know.
    Other(String),
}

// === impl BackendState ===

impl BackendState {
    /// The state behind the number that notifications carry.
    pub(crate) fn from_number(number: i64) -> Self {
        match number {
            0 => Self::NoState,
            1 => Self::InUseOtherUser,
            2 => Self::NeedsLogin,
            3 => Self::NeedsMachineAuth,
            4 => Self::Stopped,
            5 => Self::Starting,
            6 => Self::Running,
            other => Self::Other(other.to_string()),
        }
    }

    /// What brings the node from this state to [`Running`](Self::Running).
    pub(crate) fn advice(&self) -> &'static str {
        match self {
            Self::NeedsLogin => "sign it in with `tailscale up`, or give its container a TS_AUTHKEY that is valid",
            Self::NeedsMachineAuth => "let an administrator of the tailnet approve this device",
            Self::Stopped => "turn it on with `tailscale up`",
            Self::InUseOtherUser => "let the other user of this machine sign out",
            Self::NoState | Self::Starting => "try again in some seconds",
            Self::Running | Self::Other(_) => "see `tailscale status`",
        }
    }
}

impl From<String> for BackendState {
    fn from(name: String) -> Self {
        match name.as_str() {
            "NoState" => Self::NoState,
            "InUseOtherUser" => Self::InUseOtherUser,
            "NeedsLogin" => Self::NeedsLogin,
            "NeedsMachineAuth" => Self::NeedsMachineAuth,
            "Stopped" => Self::Stopped,
            "Starting" => Self::Starting,
            "Running" => Self::Running,
            other => Self::Other(excerpt(other)),
        }
    }
}

impl fmt::Display for BackendState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(name) => write!(f, "{name:?}"),
            known => write!(f, "{known:?}"),
        }
    }
}
