//! The first line of a recording, as its readers take it.

use std::time::Duration;

use serde::Deserialize;

use crate::http::RecordingAbout;

/// What the first line says: that of an asciicast of version 2, in which TKA says whose recording it is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FirstLine {
    /// How long nothing may happen in a player, if the recording says so.
    pub idle_time_limit: Option<Duration>,
    /// Whose recording it is, and of what.
    pub about: Option<RecordingAbout>,
}

#[derive(Deserialize)]
struct CastHeader {
    version: u32,
    #[serde(default)]
    idle_time_limit: Option<f64>,
    #[serde(default)]
    tka: Tka,
}

#[derive(Default, Deserialize)]
struct Tka {
    #[serde(default)]
    about: Option<RawAbout>,
}

/// As `tka-recording` writes it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct RawAbout {
    caller: String,
    device: String,
    address: Option<String>,
    session: String,
    role: String,
    rule: Option<String>,
    reason: Option<String>,
    way: String,
    namespace: String,
    pod: String,
    container: Option<String>,
    command: Vec<String>,
    tty: bool,
    stdin_recorded: bool,
    required: bool,
    impersonates: Option<String>,
    audit_id: String,
}

// === impl FirstLine ===

impl FirstLine {
    /// Reads a first line; none where it is not that of an asciicast of version 2.
    #[must_use]
    pub fn read(line: &[u8]) -> Option<Self> {
        let line: CastHeader = serde_json::from_slice(line).ok()?;
        (line.version == 2).then(|| Self {
            idle_time_limit: line
                .idle_time_limit
                .and_then(|limit| Duration::try_from_secs_f64(limit).ok()),
            about: line.tka.about.map(RecordingAbout::from),
        })
    }
}

impl From<RawAbout> for RecordingAbout {
    fn from(about: RawAbout) -> Self {
        Self {
            username: about.caller,
            device: about.device,
            address: about.address,
            session: about.session,
            role: about.role,
            rule: about.rule,
            reason: about.reason,
            way: about.way,
            namespace: about.namespace,
            pod: about.pod,
            container: about.container,
            command: about.command,
            tty: about.tty,
            stdin_recorded: about.stdin_recorded,
            required: about.required,
            impersonates: about.impersonates,
            audit_id: about.audit_id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_line_says_whose_it_is_and_other_files_say_less() {
        let line = br#"{"version": 2, "width": 80, "idle_time_limit": 1.5, "tka": {"format": 1, "about":
            {"caller": "alice@example.com", "pod": "web", "stdinRecorded": true, "auditId": "i", "deviceId": "n1"}}}"#;
        let first = FirstLine::read(line).unwrap();
        let about = first.about.unwrap();
        assert_eq!(first.idle_time_limit, Some(Duration::from_millis(1500)));
        assert_eq!(
            (about.username.as_str(), about.pod.as_str(), about.stdin_recorded),
            ("alice@example.com", "web", true)
        );
        assert_eq!(about.audit_id, "i");
        assert_eq!(
            FirstLine::read(br#"{"version": 2, "idle_time_limit": -1}"#),
            Some(FirstLine::default())
        );
        for wrong in ["{}", "{\"version\": 3}", "[]", "<html>", ""] {
            assert_eq!(FirstLine::read(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
