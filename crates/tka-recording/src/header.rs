//! What a recording says of itself in its first line.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The size of a terminal whose client has not said it yet. The header does not wait for that: it is written before the command begins.
const COLUMNS: u16 = 80;
/// Its lines.
const ROWS: u16 = 24;
/// The version of the format: what `o`, `O`, `T` and the other events mean.
const FORMAT: u32 = 1;

/// Whose recording it is, and of what. All texts are as they were given, however hostile: each is a string of JSON.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools, reason = "they are fields of a document")]
pub struct RecordingMetadata {
    /// The recording's name.
    pub recording: String,
    /// Who: a login name, or the name of a tagged device.
    pub caller: String,
    /// The name of the caller's device.
    pub device: String,
    /// The device's stable ID.
    pub device_id: String,
    /// The caller's address on the tailnet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The session: the name of its `TkaSignin`.
    pub session: String,
    /// The role that the session gives.
    pub role: String,
    /// The name of the rule, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What the caller said the access is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// `exec` or `attach`.
    pub way: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod.
    pub pod: String,
    /// The container, if the request names one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The command, a word each; none of an attach.
    pub command: Vec<String>,
    /// Whether there is a terminal.
    pub tty: bool,
    /// Whether the client sends input.
    pub stdin: bool,
    /// Whether input is in the recording.
    pub stdin_recorded: bool,
    /// Whether bytes were held back until they were written (`required`).
    pub required: bool,
    /// The user that the request impersonates, if it asks for it: the cluster decides whether it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonates: Option<String>,
    /// The ID of the request in the audit logs.
    pub audit_id: String,
}

// === impl RecordingMetadata ===

impl RecordingMetadata {
    /// The first line of a recording that begins at `began`, without its end.
    #[must_use]
    pub fn line(&self, began: Timestamp) -> String {
        // What a player shows: https://docs.asciinema.org/manual/asciicast/v2. It passes over what it does not know.
        let about = serde_json::to_value(self).unwrap_or(Value::Null);
        json!({
            "version": 2,
            "width": COLUMNS,
            "height": ROWS,
            "timestamp": began.as_second().max(0),
            "title": self.title(),
            "command": self.command.join(" "),
            "tka": {"format": FORMAT, "began": began.to_string(), "about": about},
        })
        .to_string()
    }

    fn title(&self) -> String {
        format!("{} in {}/{} by {}", self.way, self.namespace, self.pod, self.caller)
    }
}
