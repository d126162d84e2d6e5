//! Recordings, as the API shows them.

use tka_api::http::RecordingInfo;
use tka_api::recording::FirstLine;
use tka_recording::{Details, Encoding, RecordingName};

/// What is known of the recording of that name.
pub(super) fn info(name: &RecordingName, details: &Details) -> RecordingInfo {
    let first_line = details.first_line.as_deref().map(str::as_bytes);
    RecordingInfo {
        id: name.to_string(),
        began: name.began(),
        size: details.size,
        sealed: details.form == Encoding::Sealed,
        open: details.is_open,
        about: first_line.and_then(FirstLine::read).and_then(|line| line.about),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tka_recording::RecordingMetadata;

    #[test]
    fn what_is_written_is_what_is_shown() {
        let written = RecordingMetadata {
            recording: "r".to_owned(),
            caller: "alice@example.com".to_owned(),
            device: "laptop".to_owned(),
            device_id: "n1".to_owned(),
            address: Some("100.64.0.1".to_owned()),
            session: "tka-alice".to_owned(),
            role: "edit".to_owned(),
            rule: Some("oncall".to_owned()),
            reason: Some("pager 4711".to_owned()),
            way: "exec".to_owned(),
            namespace: "shop".to_owned(),
            pod: "web-0".to_owned(),
            container: Some("web".to_owned()),
            command: vec!["sh".to_owned(), "-i".to_owned()],
            tty: true,
            stdin: true,
            stdin_recorded: true,
            required: true,
            impersonates: Some("bob".to_owned()),
            audit_id: "a1".to_owned(),
        };
        let line = written.line(jiff::Timestamp::UNIX_EPOCH);
        let shown = FirstLine::read(line.as_bytes()).unwrap().about.unwrap();
        let mut shown = serde_json::to_value(shown).unwrap();
        // The API names the caller as all its answers do, and the names of its fields have underscores.
        let fields = shown.as_object_mut().unwrap();
        let username = fields.remove("username").unwrap();
        fields.insert("caller".to_owned(), username);
        let mut expected = serde_json::to_value(&written).unwrap();
        for left_out in ["recording", "deviceId", "stdin"] {
            expected.as_object_mut().unwrap().remove(left_out);
        }
        let plain = |value: &serde_json::Value| {
            let fields = value.as_object().unwrap().iter();
            let fields = fields.map(|(name, value)| (name.replace('_', "").to_lowercase(), value.clone()));
            fields.collect::<std::collections::BTreeMap<_, _>>()
        };
        assert_eq!(plain(&shown), plain(&expected));
    }
}
