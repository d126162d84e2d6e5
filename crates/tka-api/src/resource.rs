//! The `TkaSignin` custom resource: one session, as the cluster sees it.
//!
//! Group, kind, field names and annotations are those of the original TKA. What is added is optional, so that tools which know only the original's
//! fields go on working.

#![allow(unreachable_pub, reason = "KubeSchema repeats the struct in a scope of its own")]
#![allow(clippy::duplicated_attributes, reason = "columns share their types")]

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// API group of the resource, and prefix of the labels and annotations.
pub const GROUP: &str = "tka.specht-labs.de";

/// Says which program looks after an object
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/>).
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`LABEL_MANAGED_BY`] on all that belongs to sessions.
pub const MANAGED_BY: &str = "tka";
/// The session an object belongs to: the name of its TkaSignin.
pub const LABEL_SESSION: &str = "tka.specht-labs.de/session";
/// The namespace of the session an object belongs to. Cluster-scoped objects need it to tell two servers apart.
pub const LABEL_NAMESPACE: &str = "tka.specht-labs.de/namespace";
/// The UID of the TkaSignin that an account or binding was made for: another of its name may follow.
pub const LABEL_UID: &str = "tka.specht-labs.de/session-uid";
/// The caller (identity and device) a session belongs to, as a digest.
pub const LABEL_CALLER: &str = "tka.specht-labs.de/caller";

/// The user or machine a session belongs to, on whatever device, as a digest.
pub const LABEL_USER: &str = "tka.specht-labs.de/user";

/// When the caller last signed in (RFC 3339).
pub const ANNOTATION_LAST_SIGN_IN: &str = "tka.specht-labs.de/last-attempted-sign-in";
/// When the session ends (RFC 3339).
pub const ANNOTATION_VALID_UNTIL: &str = "tka.specht-labs.de/sign-in-valid-until";

/// How many sessions the rule allows its user at a time, as it stood at sign-in; absent when any number.
pub const ANNOTATION_MAX_SESSIONS: &str = "tka.specht-labs.de/max-sessions";

/// How the session began where its rule has `sign_in: on_use`: `asked` by its caller, or `by_use`. Absent where sessions begin only when asked for.
pub const ANNOTATION_SIGN_IN: &str = "tka.specht-labs.de/sign-in";

/// After how long without use the session ends (a Go duration); absent when use does not matter.
pub const ANNOTATION_IDLE: &str = "tka.specht-labs.de/idle";

/// When the session was last used as far as that was written down (RFC 3339). Absent before its first use, and when use does not matter.
pub const ANNOTATION_LAST_USE: &str = "tka.specht-labs.de/last-use";

/// On a ConfigMap: says that the session of its name was ended on purpose, so that use alone does not begin it again.
pub const LABEL_TOMBSTONE: &str = "tka.specht-labs.de/tombstone";
/// On the ConfigMap that keeps sign-ins through a rule with `break_glass` until one with oversight acknowledges them.
pub const LABEL_BREAK_GLASS: &str = "tka.specht-labs.de/break-glass";

/// How the session ends and why, and when that was decided (JSON): written before anything of it is taken away. Absent or empty while it goes on.
pub const ANNOTATION_END: &str = "tka.specht-labs.de/end";

/// The value of [`LABEL_MANAGED_BY`] on a TkaSignin that waits for approval. It holds no session yet, and who looks for sessions does not find it.
pub const AWAITING_APPROVAL: &str = "tka-awaiting-approval";

/// The sign-in that waits for approval on a TkaSignin, or was approved or denied (JSON). On a session that goes on it asks to extend that.
pub const ANNOTATION_APPROVAL: &str = "tka.specht-labs.de/approval";

/// Who approved the session as it was last given, and what they said (JSON). Absent where none had to.
pub const ANNOTATION_APPROVED: &str = "tka.specht-labs.de/approved";

/// Says, on the Lease of the replicas, that its holder leaves it to one that is in touch with the tailnet.
pub const ANNOTATION_YIELDS: &str = "tka.specht-labs.de/yields";

/// The most tags and the most namespaces that a TkaSignin holds: what its validation costs grows with them, and the API server limits that.
pub const MAX_ITEMS: usize = 100;

/// Keeps a TkaSignin until its ServiceAccount and binding are gone.
pub const FINALIZER: &str = "tka.specht-labs.de/session";

/// One caller's access through one rule, from sign-in to its end.
#[derive(Clone, CustomResource, Debug, Deserialize, Eq, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "tka.specht-labs.de",
    version = "v1alpha1",
    kind = "TkaSignin",
    plural = "tkasignins",
    singular = "tkasignin",
    shortname = "signin",
    namespaced,
    status = "TkaSigninStatus",
    derive = "PartialEq",
    doc = "One person's access to this cluster through one rule of the tailnet policy, from sign-in to its end.",
    printcolumn(
        json_path = ".spec.username",
        name = "User",
        type_ = "string",
        description = "Login name on the tailnet"
    ),
    printcolumn(
        json_path = ".spec.device.name",
        name = "Device",
        type_ = "string",
        description = "Device signed in from"
    ),
    printcolumn(
        json_path = ".spec.role",
        name = "Role",
        type_ = "string",
        description = "ClusterRole it is bound to"
    ),
    printcolumn(
        json_path = ".status.provisioned",
        name = "Provisioned",
        type_ = "boolean",
        description = "Whether account and binding exist"
    ),
    printcolumn(
        json_path = ".spec.validity_period",
        name = "Period",
        type_ = "string",
        description = "How long a sign-in lasts"
    ),
    printcolumn(
        json_path = ".status.valid_until",
        name = "Until",
        type_ = "string",
        description = "When the session ends"
    ),
    printcolumn(
        json_path = ".status.signed_in",
        name = "Since",
        type_ = "date",
        description = "When the caller last signed in"
    ),
    printcolumn(
        json_path = ".status.phase",
        name = "Phase",
        type_ = "string",
        description = "How far it has come"
    ),
    printcolumn(
        json_path = ".status.conditions[?(@.type=='Approved')].status",
        name = "Approved",
        type_ = "string",
        description = "Whether others approved it; empty where none must"
    ),
    printcolumn(
        json_path = ".spec.rule",
        name = "Rule",
        type_ = "string",
        priority = 1,
        description = "Name of the rule it was given through"
    ),
    printcolumn(
        json_path = ".spec.reason",
        name = "Reason",
        type_ = "string",
        priority = 1,
        description = "What the caller said it is for"
    )
)]
#[x_kube(
    validation = Rule::new("self.role == oldSelf.role").message("the role identifies the session and never changes"),
    validation = Rule::new("self.username == oldSelf.username || has(self.tags) && has(oldSelf.tags)")
        .message("username identifies the session of a user and never changes"),
    validation = Rule::new("has(self.user_id) == has(oldSelf.user_id) && (!has(self.user_id) || self.user_id == oldSelf.user_id)")
        .message("user_id identifies the session and never changes"),
    validation = Rule::new("has(self.tags) == has(oldSelf.tags)")
        .message("a session of a machine never becomes that of a user, nor the other way round"),
    validation = Rule::new("has(self.device) == has(oldSelf.device) && (!has(self.device) || self.device.stable_id == oldSelf.device.stable_id)")
        .message("the device identifies the session and never changes"),
    validation = Rule::new("has(self.namespaces) == has(oldSelf.namespaces) && (!has(self.namespaces) || self.namespaces == oldSelf.namespaces)")
        .message("namespaces identify the session and never change"),
    validation = Rule::new("has(self.rule) == has(oldSelf.rule) && (!has(self.rule) || self.rule == oldSelf.rule)")
        .message("the rule identifies the session and never changes"),
    validation = Rule::new("has(self.label) == has(oldSelf.label) && (!has(self.label) || self.label == oldSelf.label)")
        .message("the label identifies the session and never changes")
)]
pub struct TkaSigninSpec {
    /// Login name on the tailnet; of a machine the name that its node has there, which may change.
    pub username: String,
    /// The ClusterRole that the session is bound to.
    pub role: String,
    /// How long a sign-in lasts (a Go duration).
    pub validity_period: String,
    /// The user's ID on the tailnet. Never given to another user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    /// The tags of a tagged node, which has no user.
    #[schemars(length(max = MAX_ITEMS))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// The device signed in from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<SigninDevice>,
    /// Where the role holds; the whole cluster when absent.
    #[schemars(length(min = 1, max = MAX_ITEMS))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// The name of the rule that it was given through, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What the caller keeps it apart from their other sessions by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the caller said it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The device a session was signed in from.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct SigninDevice {
    /// The node's stable ID on the tailnet.
    pub stable_id: String,
    /// The node's name when the caller signed in.
    pub name: String,
}

/// How far a session has come, for people; the condition `Ready` says more.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub enum Phase {
    /// It is not usable yet.
    Pending,
    /// Others are to approve it. It has no account.
    AwaitingApproval,
    /// Another has denied it. It has no account, and will have none.
    Denied,
    /// Its account and binding exist.
    Active,
    /// It is over, and what is left of it is being removed.
    Ending,
}

/// What has been done for a session.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct TkaSigninStatus {
    /// Whether the ServiceAccount and its binding exist.
    pub provisioned: bool,
    /// When the session ends.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// When the caller last signed in.
    #[schemars(with = "Option<String>")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_in: Option<Timestamp>,
    /// How far it has come. Absent for the moment in which it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// `Ready`: whether it can be used as its caller last asked for it, and if not, why. `Approved`: whether others approved it, and who; absent where
    /// none must.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::CustomResourceExt;
    use serde_json::json;

    #[test]
    fn resource_has_the_originals_names() {
        let crd = serde_json::to_value(TkaSignin::crd()).unwrap();
        assert_eq!(crd["metadata"]["name"], "tkasignins.tka.specht-labs.de");
        assert_eq!(crd["spec"]["names"]["shortNames"], json!(["signin"]));
        assert_eq!(crd["spec"]["scope"], "Namespaced");
        let version = &crd["spec"]["versions"][0];
        assert_eq!(version["name"], "v1alpha1");
        assert_eq!(version["subresources"]["status"], json!({}));
        let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert_eq!(spec["required"], json!(["role", "username", "validity_period"]));
    }

    #[test]
    fn object_of_the_original_is_read() {
        let object: TkaSignin = serde_json::from_value(json!({
            "apiVersion": "tka.specht-labs.de/v1alpha1", "kind": "TkaSignin",
            "metadata": {"name": "tka-user-alice", "namespace": "tka-dev"},
            "spec": {"username": "alice", "role": "view", "validity_period": "1h0m0s"},
            "status": {"provisioned": true, "valid_until": "2026-01-02T15:04:05Z", "signed_in": "2026-01-02T14:04:05Z"}
        }))
        .unwrap();
        assert_eq!(object.spec.device, None);
        assert!(object.status.unwrap().provisioned);
    }
}
