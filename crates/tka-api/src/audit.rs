//! Audit records: who was given what, by which rule, when and why it ended. One JSON object a line.
//!
//! What a record may hold is documented by `docs/audit.schema.json`, which is generated from these types. A record never holds a
//! token; [`Credential::id`] names one, and gives no access.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One decision.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Audit record of TKA")]
pub struct Record {
    /// The version of this schema. Fields may be added within a version; none changes its meaning.
    pub version: Version,
    /// When it was decided (RFC 3339, UTC, with a fraction).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// What was decided.
    pub decision: Decision,
    /// What that means for the caller's access.
    pub outcome: Outcome,
    /// The caller. Absent when the caller could not be identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<Who>,
    /// The device they came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<Device>,
    /// The session it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// The credential that was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Credential>,
    /// The request. Absent without one (expiry, revocation), and when another replica or a restarted server finished the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The request to the cluster's API that was carried, by the gateway alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiRequest>,
    /// The sign-in that others decide about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// The sign-in in an emergency.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<BreakGlass>,
    /// What was looked at, of what is others'.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<Look>,
    /// Why it was refused, failed, was revoked, or was cut; or why another's session is to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How many refusals of all callers have no record of their own, since the last record that said so. Each caller has a budget of such records,
    /// and so have all together. Absent when there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<u64>,
}

/// The version of the schema.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Version {
    /// The first.
    #[default]
    #[serde(rename = "audit.tka.specht-labs.de/v1")]
    V1,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = AuditDecision))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A session began.
    SignedIn,
    /// A session that there was goes on for longer.
    Extended,
    /// A token of a session was handed out.
    CredentialIssued,
    /// The gateway begins to carry a way into a pod or node: exec, attach, port-forward, proxy or debug. Its end has a record too, unless the level
    /// is `none` and it was no such way.
    StreamBegan,
    /// The gateway carried a request to the cluster's API, and it is over. The API server's answer may have been a refusal: `api.status` says.
    Carried,
    /// A caller with oversight was shown what is others'. The record is written first.
    Looked,
    /// A caller with oversight asked to end the session of another. The end has a record of its own, `revoked`, unless the session ended by
    /// something else at that moment.
    EndRequested,
    /// A sign-in waits for the approval of others.
    ApprovalRequested,
    /// A caller with oversight approved a sign-in. The record is written before that counts. Another decision about it may have come before.
    Approved,
    /// A caller with oversight denied a sign-in.
    Denied,
    /// A sign-in waits for approval no more, without a decision. Its caller withdrew it, it was not answered in time, or what it asked for changed.
    ApprovalEnded,
    /// A sign-in through a rule with `break_glass` is to be given. The record is written before anything is; `signed_in` or `extended` follows.
    BreakGlass,
    /// A caller with oversight acknowledged such sign-ins.
    BreakGlassAcknowledged,
    /// None has acknowledged them for another day.
    BreakGlassUnacknowledged,
    /// A request did not get what it asked for. Without the request: what a sign-in had begun when it was cut off turned out not to be had.
    Refused,
    /// Its owner ended a session.
    SignedOut,
    /// A session came to its end.
    Expired,
    /// A session was not used for as long as its rule allows, and the server ended it.
    Idle,
    /// The server ended a session because its rule, device or user is gone, or its role or namespace in the cluster. Or a caller with oversight ended
    /// it; then `why` says who.
    Revoked,
    /// The session's `TkaSignin`, its account or a binding was deleted in the cluster, and the server removed the rest. The API server's audit
    /// log says who deleted it.
    TakenDown,
}

/// What a decision means for the caller's access.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// They have it.
    Granted,
    /// They do not have it yet: others are to approve.
    Pending,
    /// They have it no longer.
    Ended,
    /// They did not get it: the policy, the cluster or the request says no (HTTP 4xx).
    Refused,
    /// They did not get it: something that the answer needs did not work (HTTP 5xx).
    Failed,
}

/// The caller that a record is about.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Who {
    /// A person.
    User {
        /// Their ID on the tailnet, never given to another.
        id: i64,
        /// Their login name on the tailnet.
        login_name: String,
    },
    /// A tagged node, which has no user.
    Machine {
        /// Its tags.
        tags: Vec<String>,
    },
}

/// A device on the tailnet.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// The node's stable ID.
    pub stable_id: String,
    /// The node's name at that time.
    pub name: String,
    /// The node's addresses on the tailnet at that time. Empty without a request: expiry, revocation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

/// A session.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// The name of its `TkaSignin` and ServiceAccount. The API server knows its credentials as
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub name: String,
    /// The namespace of both.
    pub namespace: String,
    /// What it was given through.
    pub rule: Rule,
    /// When it ends, if nothing ends it before (RFC 3339).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
    /// What the caller keeps it apart from their other sessions by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the caller said it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The rule of the tailnet policy that a session was given through.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The ClusterRole.
    pub role: String,
    /// Where it holds; the whole cluster when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The rule's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For how long at a time it was given (a Go duration): the rule's period, or less if the caller asked for less.
    pub period: String,
}

/// A credential, without what makes it one.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Credential {
    /// The token's ID (`jti`). The API server's audit log has it as `authentication.kubernetes.io/credential-id: JTI=…` in
    /// `user.extra` of every request that was made with it. Absent when the token has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// When it stops working (RFC 3339).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires: Timestamp,
}

/// A sign-in that others decide about. `session` of the record is what it asks for, and `who` decides, or asks.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The request: an approval counts for this one.
    pub request: String,
    /// The login name of the caller that it would let in; of a machine the name of its device.
    pub username: String,
    /// The stable ID of their device.
    pub device: String,
    /// How many had approved, this decision included.
    pub count: u32,
    /// How many must.
    pub needed: u32,
    /// Who has approved, with the sign-in that they let in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// The same with when each approved, and what they said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<ApprovalVote>,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// The approval of one person.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovalVote {
    /// Their login name; of a machine the name of its device.
    pub username: String,
    /// The stable ID of the device that they decided on.
    pub device: String,
    /// When (RFC 3339).
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// A sign-in through a rule with `break_glass`. `session` of the record is what it is for.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Its ID. Who acknowledges it acknowledges those of the same caller and rule before it.
    pub request: String,
    /// The name that it is acknowledged by: that of the session, or of the one without a label.
    pub name: String,
    /// The login name of its caller; of a machine the name of its device.
    pub username: String,
    /// The stable ID of their device.
    pub device: String,
    /// How many of the same caller and rule none has acknowledged, this one included. Absent at the sign-in itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// When the last of them was (RFC 3339). Absent at the sign-in itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
    /// What was said of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What a caller with oversight looked at.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Look {
    /// What it is.
    pub at: LookedAt,
    /// Its name, where it is one thing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What was asked for of a list: the beginning of the request's query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// What can be looked at.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LookedAt {
    /// Which recordings there are, whose, and of what.
    Recordings,
    /// Whose recording it is, and of what.
    Recording,
    /// What is in a recording.
    Cast,
    /// Which sign-ins wait for approval.
    Approvals,
    /// Which sessions there are, and whose.
    Sessions,
    /// Audit records.
    Audit,
}

/// A request to the cluster's API. Bodies are never recorded.
#[derive(Clone, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiRequest {
    /// Its ID. The API server's audit log has it as `auditID`.
    pub audit_id: String,
    /// Its verb, as Kubernetes authorises it; the method where it is about no resource.
    pub verb: String,
    /// Its path, where it is about no resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The API group; empty for the core group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// The resource, such as `pods`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// The subresource, such as `exec`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
    /// The namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The container of an exec or attach, where the request names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command of an exec, word by word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// The ports of a port-forward, where the request names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// The recording of an exec or attach, if one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<String>,
    /// What the client calls itself. Nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The status that the API server answered with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many bytes of bodies or streams the caller sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_bytes: Option<u64>,
    /// How many the caller received.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub received_bytes: Option<u64>,
    /// How long it took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub milliseconds: Option<u64>,
}

/// A request.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Its path, without the query.
    pub path: String,
    /// The other end of the connection: an address of the tailnet, or one on loopback where tailscaled runs in userspace mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The status it was answered with, where it was refused or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_reads_as_documented() {
        let record = json!({
            "version": "audit.tka.specht-labs.de/v1",
            "time": "2026-01-02T15:04:05.678901234Z",
            "decision": "credential_issued",
            "outcome": "granted",
            "who": {"user": {"id": 7, "login_name": "alice@example.com"}},
            "device": {"stable_id": "n1", "name": "laptop", "addresses": ["100.64.0.2"]},
            "session": {
                "name": "tka-alice-x", "namespace": "tka", "until": "2026-01-02T16:04:05Z",
                "rule": {"role": "view", "period": "1h0m0s"}, "reason": "pager 4711",
            },
            "credential": {"id": "a-b", "expires": "2026-01-02T16:04:05Z"},
            "request": {"method": "POST", "path": "/api/v1alpha1/credential", "peer": "100.64.0.2:5"},
            "suppressed": 7,
        });
        let read: Record = serde_json::from_value(record.clone()).unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), record);
        let mut misspelt = record;
        misspelt["token"] = json!("eyJ");
        assert!(serde_json::from_value::<Record>(misspelt).is_err());
    }

    #[test]
    fn machine_has_tags_and_no_user() {
        let tags = vec!["tag:ci".into()];
        let who = serde_json::to_value(Who::Machine { tags }).unwrap();
        assert_eq!(who, json!({"machine": {"tags": ["tag:ci"]}}));
    }
}
