//! The requests of the CLI: what each is for, and how it is sent.

use tka_api::http;

use crate::net::server::Server;

/// The requests of the CLI.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Operation {
    SignIn,
    /// Sign in to an elevation of this device.
    Elevate,
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
    ListApprovals,
    /// Decide about another's sign-in.
    Decide,
    /// End the wait of the caller's own sign-in.
    Withdraw,
    /// List the sessions of all callers.
    ListAllSessions,
    /// End a session of another.
    EndSessionOfOther,
    SearchAudit,
    ListRecordings,
    ShowRecording,
    FetchRecording,
    /// Ask the cluster through the gateway.
    AskCluster,
}

// === impl Operation ===

impl Operation {
    pub(super) fn request(self) -> (&'static str, &'static str) {
        match self {
            Self::SignIn | Self::Elevate => ("POST", http::LOGIN),
            Self::SignOut => ("POST", http::LOGOUT),
            Self::ShowSession => ("GET", http::LOGIN),
            Self::FetchKubeconfig => ("GET", http::KUBECONFIG),
            Self::FetchCredential => ("POST", http::CREDENTIAL),
            Self::ShowCluster => ("GET", http::CLUSTER_INFO),
            Self::ListSessions => ("GET", http::SESSIONS),
            Self::EndSession => ("DELETE", http::SESSIONS),
            Self::ListRules | Self::SelectRule => ("GET", http::RULES),
            Self::ListApprovals => ("GET", http::APPROVALS),
            Self::Decide => ("POST", http::APPROVALS),
            Self::Withdraw => ("DELETE", http::APPROVALS),
            Self::SearchAudit => ("GET", http::OVERSIGHT_AUDIT),
            Self::ListAllSessions => ("GET", http::OVERSIGHT_SESSIONS),
            Self::EndSessionOfOther => ("DELETE", http::OVERSIGHT_SESSIONS),
            Self::ListRecordings | Self::ShowRecording | Self::FetchRecording => ("GET", http::RECORDINGS),
            Self::AskCluster => ("GET", "/version"),
        }
    }

    /// The URL at `server`.
    pub(super) fn url(self, server: &Server) -> String {
        let path = self.request().1;
        match self {
            Self::AskCluster => format!("{server}{}{path}", http::GATEWAY),
            _ => server.url(path),
        }
    }

    /// What the request does. It follows the word "to".
    pub(crate) fn verb(self) -> &'static str {
        match self {
            Self::SignIn => "sign you in",
            Self::Elevate => "elevate you",
            Self::SignOut => "sign you out",
            Self::ShowSession => "show your session",
            Self::FetchKubeconfig => "give you a kubeconfig",
            Self::FetchCredential => "give you a credential",
            Self::ShowCluster => "show the cluster",
            Self::ListSessions => "show your sessions",
            Self::EndSession | Self::EndSessionOfOther => "end that session",
            Self::ListAllSessions => "show the sessions of all",
            Self::SearchAudit => "search audit records",
            Self::ListRules => "show your rules",
            Self::SelectRule => "sign you in with these options",
            Self::ListApprovals => "show what waits for approval",
            Self::Decide => "take your decision",
            Self::Withdraw => "withdraw that sign-in",
            Self::ListRecordings => "list recordings",
            Self::ShowRecording => "show that recording",
            Self::FetchRecording => "give you that recording",
            Self::AskCluster => "reach the cluster",
        }
    }

    /// Whether to wait for a busy server. Sign-in, sign-out and the requests that these need are worth the wait.
    pub(super) fn retries_on_503(self) -> bool {
        !matches!(
            self,
            Self::ShowSession | Self::ShowCluster | Self::ListRules | Self::AskCluster
        )
    }

    /// Whether the original's server supports it.
    pub(super) fn is_in_original_api(self) -> bool {
        !matches!(
            self,
            Self::Elevate
                | Self::ListSessions
                | Self::EndSession
                | Self::ListRules
                | Self::SelectRule
                | Self::FetchCredential
                | Self::ListApprovals
                | Self::Decide
                | Self::Withdraw
                | Self::ListAllSessions
                | Self::EndSessionOfOther
                | Self::SearchAudit
                | Self::ListRecordings
                | Self::ShowRecording
                | Self::FetchRecording
                | Self::AskCluster
        )
    }

    /// What callers need oversight of to get an answer.
    pub(super) fn needs_oversight_of(self) -> Option<&'static str> {
        match self {
            Self::ListAllSessions | Self::EndSessionOfOther => Some("sessions"),
            Self::SearchAudit => Some("audit records"),
            Self::ListRecordings | Self::ShowRecording | Self::FetchRecording => Some("recordings"),
            _ => None,
        }
    }
}
