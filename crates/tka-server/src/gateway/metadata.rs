//! What a recording says of the request that it is of.

use axum::http::HeaderMap;
use tka_core::{Caller, Identity, RuleName};
use tka_gateway::request_info::{flag, parameter, parameters};
use tka_recording::RecordingMetadata;

use super::access::AuthorizedRequest;

/// Whose request it is, and what it is.
pub(super) fn metadata(access: &AuthorizedRequest, headers: &HeaderMap) -> RecordingMetadata {
    let (session, info) = (&access.live.session, &access.info);
    let query = access.target.query().unwrap_or_default();
    let impersonated = headers.get("impersonate-user");
    RecordingMetadata {
        caller: who(&session.caller),
        device: session.caller.device.name.clone(),
        device_id: session.caller.device.stable_id.clone(),
        address: access.address.map(|address| address.to_string()),
        session: session.name().to_string(),
        role: session.rule.role.to_string(),
        rule: session.rule.name.as_ref().map(RuleName::to_string),
        reason: session.reason.as_ref().map(|reason| reason.as_str().to_owned()),
        way: info.subresource.clone(),
        namespace: info.namespace.clone(),
        pod: info.name.clone(),
        container: parameter(query, "container"),
        command: parameters(query, "command").collect(),
        tty: flag(query, "tty"),
        stdin: flag(query, "stdin"),
        impersonates: impersonated.map(|user| String::from_utf8_lossy(user.as_bytes()).into_owned()),
        ..RecordingMetadata::default()
    }
}

fn who(caller: &Caller) -> String {
    match &caller.identity {
        Identity::User { login_name, .. } => login_name.clone(),
        Identity::Machine { .. } => caller.device.name.clone(),
    }
}
