//! The JSON bodies of the HTTP API, and the names of its paths and headers.
//!
//! The shapes are a contract with the CLI of the original TKA (`SpechtLabs/tka`), which is installed on its users' machines. Fields may be
//! added; none may be renamed, retyped or dropped.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::exec::ExecCredential;
use crate::kubeconfig::KeyedKubeconfig;

/// What every path of the API begins with.
pub const PREFIX: &str = "/api/v1alpha1";

/// Signs in (`POST`), or says who is signed in (`GET`).
pub const LOGIN: &str = "/login";
/// Ends the calling device's session.
pub const LOGOUT: &str = "/logout";
/// A kubeconfig with a fresh credential of the calling device's session.
pub const KUBECONFIG: &str = "/kubeconfig";
/// How to reach the Kubernetes API server.
pub const CLUSTER_INFO: &str = "/cluster-info";

/// The caller's sessions; `/{name}` is one of them.
pub const SESSIONS: &str = "/sessions";
/// The rules that reach the caller.
pub const RULES: &str = "/rules";
/// A fresh credential of a session.
pub const CREDENTIAL: &str = "/credential";

/// Sign-ins that wait for approval; `/{session}` is one of them.
pub const APPROVALS: &str = "/approvals";

/// Recordings, for callers with oversight; `/{id}` is one of them, and `/{id}/cast` what is in it.
pub const RECORDINGS: &str = "/recordings";

/// Audit records, for callers with oversight.
pub const OVERSIGHT_AUDIT: &str = "/oversight/audit";
/// The sessions of all callers, for callers with oversight; `/{name}` is one of them.
pub const OVERSIGHT_SESSIONS: &str = "/oversight/sessions";

/// What every path of the gateway begins with: the cluster's API is below it, and not below [`PREFIX`].
pub const GATEWAY: &str = "/k8s";
/// How messages of the gateway's own begin, in a `Status`. So a client tells them from the API server's.
pub const GATEWAY_MESSAGE: &str = "TKA: ";
/// A token that says that it is none. kubectl asks for a user name over https where there is no credential at all.
pub const UNUSED_TOKEN: &str = "unused";

/// By which way a session is to reach the cluster.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum RequestedAccess {
    /// With a token, from the device to the API server.
    Direct,
    /// Through the gateway, with an address and no token.
    Gateway,
    /// As the rule wants it, and else the server.
    Default,
}

/// What a caller may ask for at a sign-in. All of it is optional, as is the body; what is there is not null.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// Name of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            example = "oncall",
            pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
        )
    )]
    pub rule: Option<String>,
    /// Role of the rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(nullable = false, example = "view", min_length = 1, pattern = "^[^/%]+$")
    )]
    pub role: Option<String>,
    /// For how long (a Go duration); not longer than the rule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            example = "30m",
            pattern = "^[+]?([0-9]+[.]?[0-9]*(ns|us|µs|μs|ms|s|m|h)|[.][0-9]+(ns|us|µs|μs|ms|s|m|h))+$"
        )
    )]
    pub period: Option<String>,
    /// What for: one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(nullable = false, example = "pager 4711", min_length = 1, max_length = 500)
    )]
    pub reason: Option<String>,
    /// Keeps the session apart from the device's others: a DNS label.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(
            nullable = false,
            example = "shell-1",
            pattern = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
        )
    )]
    pub session: Option<String>,
    /// Elevates the device: while it lasts, this session acts for requests through the gateway that name no rule. Not beside `session`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elevate: bool,
}

/// Which of the caller's sessions; the calling device's own when absent, and not null.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct CredentialRequest {
    /// Name of the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub session: Option<String>,
}

/// The answer to a sign-in that was waited for (`Prefer: wait`): all it takes to work.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SignInResponse {
    /// As without waiting.
    #[serde(flatten)]
    pub login: LoginResponse,
    /// The session.
    pub session: SessionInfo,
    /// Its credential. Absent where the session goes through the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<ExecCredential>,
    /// A kubeconfig with that credential, as `GET /kubeconfig` answers it, or with the gateway's address.
    pub kubeconfig: KeyedKubeconfig,
}

/// One session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Its name: that of its TkaSignin and ServiceAccount.
    pub name: String,
    /// The caller's login name on the tailnet.
    pub username: String,
    /// Name of the device it was signed in from.
    pub device: String,
    /// Whether that is the calling device.
    pub this_device: bool,
    /// The ClusterRole it is bound to.
    pub role: String,
    /// Where the role holds; the whole cluster when empty.
    pub namespaces: Vec<String>,
    /// Name of its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What it is kept apart by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it is usable.
    pub provisioned: bool,
    /// When the caller last signed in (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub signed_in: Timestamp,
    /// When it ends (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub until: Timestamp,
}

/// The caller's sessions.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionList {
    /// The sessions.
    pub items: Vec<SessionInfo>,
}

/// Sessions of all callers, in the order of their names.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionPage {
    /// The sessions.
    pub items: Vec<SessionInfo>,
    /// There may be more: ask again with this as `after`. A page may have few items, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub next: Option<String>,
}

/// Audit records, newest first, and what was searched for them.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditPage {
    /// The records, as docs/audit.schema.json describes them.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<Object>))]
    pub items: Vec<serde_json::Value>,
    /// The search did not come to its end: ask again with this as `before`. A page may have fewer items than were asked for, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub next: Option<String>,
    /// What was searched.
    pub searched: AuditSearched,
}

/// What was searched for audit records: those of one replica. Others have their own.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AuditSearched {
    /// The name of the replica's node on the tailnet.
    #[cfg_attr(feature = "openapi", schema(example = "tka.example.ts.net"))]
    pub replica: String,
    /// The time of the oldest record that it can search (RFC 3339). Absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, format = DateTime, nullable = false))]
    pub since: Option<Timestamp>,
    /// Whether all was searched that may hold what was asked for, together with the pages before.
    pub complete: bool,
    /// Files whose records may be meant and were not searched: they are packed, or cannot be read.
    pub not_searched: Vec<String>,
    /// How many lines were read for this page that are no record: cut off, or written by something else.
    pub skipped_lines: u64,
}

/// One recording. What is sealed says no more of itself than its size: all else is inside.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingInfo {
    /// Its name: when it began, and the ID that its request has in the audit logs.
    #[cfg_attr(
        feature = "openapi",
        schema(example = "20261126T175446.123Z-0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11")
    )]
    pub id: String,
    /// When it began (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub began: Timestamp,
    /// How many bytes are stored.
    pub size: u64,
    /// Whether it is sealed to recipients.
    pub sealed: bool,
    /// Whether it has no end: it is still being written, or was when its server was killed. Absent where the store does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub open: Option<bool>,
    /// Whose it is, and of what. Absent where it is sealed, or its first line cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub about: Option<RecordingAbout>,
}

/// Whose recording it is, and of what. All texts are as they were given.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingAbout {
    /// The login name of the caller, or the name of a tagged device.
    pub username: String,
    /// Name of the device.
    pub device: String,
    /// The caller's address on the tailnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub address: Option<String>,
    /// Name of the session.
    pub session: String,
    /// The ClusterRole that it gives.
    pub role: String,
    /// Name of its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub rule: Option<String>,
    /// What the access is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub reason: Option<String>,
    /// `exec` or `attach`.
    pub way: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container, where the request names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub container: Option<String>,
    /// The command, a word each.
    pub command: Vec<String>,
    /// Whether there is a terminal.
    pub tty: bool,
    /// Whether input is in the recording.
    pub stdin_recorded: bool,
    /// Whether nothing was seen that is not in the recording.
    pub required: bool,
    /// The user that the request impersonates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub impersonates: Option<String>,
    /// The ID of the request in both audit logs.
    pub audit_id: String,
}

/// Recordings, newest first.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RecordingList {
    /// The recordings.
    pub items: Vec<RecordingInfo>,
    /// There may be more: ask again with this as `before`. A page may have fewer items than were asked for, or none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub next: Option<String>,
    /// How many sealed ones the page leaves out, because it cannot be known whether they are meant.
    #[serde(default)]
    pub sealed_left_out: u32,
}

/// One rule that reaches the caller.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(clippy::struct_excessive_bools, reason = "they are fields of a document")]
pub struct RuleInfo {
    /// What it can be chosen by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The ClusterRole it gives.
    pub role: String,
    /// Where the role holds; the whole cluster when empty.
    pub namespaces: Vec<String>,
    /// For how long at the most (a Go duration).
    pub period: String,
    /// Of several rules the one with the highest priority is taken.
    pub priority: i64,
    /// Whether it asks for a reason.
    pub require_reason: bool,
    /// How many sessions it allows at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// By which ways its sessions reach the cluster, if not by all: `gateway` or `direct`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "gateway"))]
    pub access: Option<String>,
    /// Whether exec and attach through the gateway are recorded, if they are: `best_effort` or `required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "required"))]
    pub recording: Option<String>,
    /// Whether this server keeps no recordings, although the rule has `recording`: nothing is recorded, and where it is required refused.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unrecorded: bool,
    /// How many others must approve a sign-in through it, if any must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub approvals: Option<u32>,
    /// Whether it is for emergencies: others are alarmed, and one of them is to acknowledge the sign-in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub break_glass: bool,
    /// What begins its sessions, if not their caller alone: `on_use`, the first request through the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "on_use"))]
    pub sign_in: Option<String>,
    /// After how long without use its sessions end (a Go duration), if use matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(example = "15m0s"))]
    pub idle: Option<String>,
    /// Whether signing in takes it when the caller does not choose.
    pub default: bool,
    /// Why signing in through it would be refused, as far as the cluster says so now. It has no such role, or the server may not bind it.
    /// Absent when nothing is known against it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether the cluster could not be asked just now, so that an absent `problem` means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unchecked: bool,
}

/// The rules that reach the caller, those of higher priority first.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleList {
    /// The rules.
    pub items: Vec<RuleInfo>,
}

/// Who is signed in, as what, and until when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LoginResponse {
    /// The caller's login name on the tailnet.
    #[cfg_attr(feature = "openapi", schema(example = "alice@example.com"))]
    pub username: String,
    /// The ClusterRole the session is bound to.
    #[cfg_attr(feature = "openapi", schema(example = "view"))]
    pub role: String,
    /// When the session ends (RFC 3339, whole seconds).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime, example = "2026-01-02T15:04:05Z"))]
    pub until: Timestamp,
    /// How many must approve before the session begins, or goes on for longer. Absent where none must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub approval: Option<ApprovalStatus>,
}

/// How a sign-in stands that others are to approve.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApprovalStatus {
    /// How many have approved.
    pub count: u32,
    /// How many must.
    pub needed: u32,
    /// Until when it waits (RFC 3339). Of an emergency that none has acknowledged: when that is told again.
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub expires: Timestamp,
    /// Name of the session that it would begin or extend.
    pub session: String,
    /// Tells this request from others about the same session: an approval counts for this one.
    pub request: String,
    /// How it stands.
    pub state: ApprovalState,
    /// Names of those who may still approve it, for the one who asked: ten at the most, of users with a device on the tailnet. Absent where the server
    /// cannot tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub approvers: Option<Vec<String>>,
}

/// How a sign-in stands that others are to approve.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum ApprovalState {
    /// Others are still to approve.
    Waiting,
    /// Enough have approved, and its session is being made.
    Approved,
    /// Its session was given.
    Granted,
    /// One has denied it.
    Denied,
    /// It was not answered in time.
    Expired,
    /// It was given in an emergency, and none has acknowledged it.
    Unacknowledged,
    /// It was given in an emergency, and one has acknowledged it.
    Acknowledged,
}

/// A sign-in that waits for approval, or was decided a moment ago.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[allow(clippy::struct_excessive_bools, reason = "they are fields of a document")]
pub struct ApprovalInfo {
    /// How it stands.
    #[serde(flatten)]
    pub status: ApprovalStatus,
    /// Whose it is: a login name on the tailnet, or the name of a tagged device.
    pub username: String,
    /// Name of the device it was asked from.
    pub device: String,
    /// Whether it is the caller's own.
    pub own: bool,
    /// Whether it was asked for from the calling device, by this caller.
    #[serde(default)]
    pub this_device: bool,
    /// Whether the caller may decide about it.
    pub may_decide: bool,
    /// The ClusterRole it would give.
    pub role: String,
    /// Where the role would hold; the whole cluster when empty.
    pub namespaces: Vec<String>,
    /// Name of its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub rule: Option<String>,
    /// For how long (a Go duration), from the approval.
    pub period: String,
    /// What for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub reason: Option<String>,
    /// Whether a session goes on that it would extend.
    pub extends: bool,
    /// Whether it would elevate the device: act for requests through the gateway that name no rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elevation: bool,
    /// When it was asked for (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub requested: Timestamp,
    /// Who has approved.
    pub approvals: Vec<ApprovalVote>,
    /// Who has denied it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub denial: Option<ApprovalVote>,
    /// Who has denied what was asked a moment before in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub denied_before: Option<ApprovalVote>,
}

/// What one person decided.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApprovalVote {
    /// Their login name on the tailnet, or the name of a tagged device.
    pub username: String,
    /// When (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = String, format = DateTime))]
    pub at: Timestamp,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub comment: Option<String>,
}

/// Sign-ins that wait for approval: what the caller may decide, and what they wait for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApprovalList {
    /// The sign-ins, those that were asked for first first.
    pub items: Vec<ApprovalInfo>,
}

/// What a caller decides about a sign-in of another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct DecisionRequest {
    /// To let them in, or not to.
    pub decision: Decision,
    /// What they are told: one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false, min_length = 1, max_length = 500))]
    pub comment: Option<String>,
    /// The request that is meant. Where another waits by now, nothing is decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub request: Option<String>,
}

/// A decision.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// To let them in.
    Approve,
    /// Not to.
    Deny,
    /// To have seen that it was given in an emergency.
    Acknowledge,
}

/// How to reach the Kubernetes API server.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterInfo {
    /// URL of the API server, as people reach it.
    #[cfg_attr(feature = "openapi", schema(example = "https://k8s.example.com:6443"))]
    pub server_url: String,
    /// Whether clients skip verifying the API server's certificate. Never in production.
    #[serde(default)]
    pub insecure_skip_tls_verify: bool,
    /// The certificate authority, PEM in base64; empty when the system's authorities serve.
    #[serde(default)]
    pub ca_data: String,
    /// Name by which to verify the API server's certificate, where it is not the URL's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// Free labels of the cluster (environment, region, …).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Which installation of TKA this is. Its replicas answer the same, and no other installation does. Absent at the original's
    /// server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(
        feature = "openapi",
        schema(nullable = false, example = "mfrggzdfmztwq2lknnwg23tpobyxe43u")
    )]
    pub instance: Option<String>,
    /// The gateway. Absent at a server without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub gateway: Option<GatewayInfo>,
}

/// The cluster's API over the tailnet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GatewayInfo {
    /// What the `server` of a kubeconfig holds for the rule of the highest priority. `/rule/NAME` and `/role/ROLE` behind it choose another.
    #[cfg_attr(feature = "openapi", schema(example = "http://tka.example.ts.net:8080/k8s"))]
    pub url: String,
    /// Whether sign-ins go through it unless the caller chooses.
    pub default: bool,
    /// Whether a device may be elevated (`elevate` of a sign-in). Earlier versions know no such thing.
    #[serde(default)]
    pub elevation: bool,
}

/// What every refusal and failure answers: what happened, what to do about it, and what caused it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorResponse {
    /// What happened.
    #[cfg_attr(feature = "openapi", schema(example = "no rule of the tailnet policy reaches you"))]
    pub message: String,
    /// What to do about it, a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub advice: Vec<String>,
    /// What caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(no_recursion))]
    pub cause: Option<Box<ErrorResponse>>,
}

impl ErrorResponse {
    /// The causes, outermost first, this response itself not among them.
    pub fn causes(&self) -> impl Iterator<Item = &ErrorResponse> {
        std::iter::successors(self.cause.as_deref(), |error| error.cause.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn login_response_is_byte_compatible_with_the_original() {
        let response = LoginResponse {
            username: "alice@example.com".into(),
            role: "view".into(),
            until: "2026-01-02T15:04:05Z".parse().unwrap(),
            approval: None,
        };
        let expected = r#"{"username":"alice@example.com","role":"view","until":"2026-01-02T15:04:05Z"}"#;
        assert_eq!(serde_json::to_string(&response).unwrap(), expected);
    }

    #[test]
    fn until_is_understood_in_any_offset() {
        let response: LoginResponse =
            serde_json::from_value(json!({"username": "a", "role": "b", "until": "2026-01-02T16:04:05+01:00"}))
                .unwrap();
        assert_eq!(response.until, "2026-01-02T15:04:05Z".parse().unwrap());
    }

    #[test]
    fn error_omits_what_is_absent() {
        let error = ErrorResponse {
            message: "no".into(),
            ..ErrorResponse::default()
        };
        assert_eq!(serde_json::to_string(&error).unwrap(), r#"{"message":"no"}"#);
    }

    #[test]
    fn causes_are_listed_outermost_first() {
        let error: ErrorResponse =
            serde_json::from_value(json!({"message": "a", "cause": {"message": "b", "cause": {"message": "c"}}}))
                .unwrap();
        let messages: Vec<_> = error.causes().map(|cause| cause.message.as_str()).collect();
        assert_eq!(messages, ["b", "c"]);
    }

    #[test]
    fn cluster_info_reads_what_the_original_sends() {
        let info: ClusterInfo = serde_json::from_value(
            json!({"server_url": "https://k:6443", "insecure_skip_tls_verify": false, "ca_data": "", "labels": {"env": "dev"}}),
        )
        .unwrap();
        assert_eq!(
            (info.labels["env"].as_str(), info.instance, info.gateway),
            ("dev", None, None)
        );
    }
}
