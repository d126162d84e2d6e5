//! Recordings, as the API shows them.

use tka_api::http::{RecordingAbout, RecordingInfo};
use tka_recording::{About, Details, Form, RecordingName};

/// What is known of the recording of that name.
pub(super) fn info(name: &RecordingName, details: &Details) -> RecordingInfo {
    let about = details.first_line.as_deref().and_then(About::read);
    RecordingInfo {
        id: name.to_string(),
        began: name.began(),
        size: details.size,
        sealed: details.form == Form::Sealed,
        open: details.is_open,
        about: about.map(shown),
    }
}

fn shown(about: About) -> RecordingAbout {
    RecordingAbout {
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
