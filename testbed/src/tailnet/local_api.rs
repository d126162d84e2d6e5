//! tailscaled's `LocalAPI`, as far as the testbed looks through it.

use std::path::Path;

use serde_json::Value;

use crate::{
    error::{Error, Result},
    http::{self, Answer},
};

/// GETs a path below `/localapi/v0/`.
pub(crate) fn get(socket: &Path, path: &str) -> Result<Value> {
    let from = || format!("tailscaled on {}", socket.display());
    let answer = http::get_unix(socket, "local-tailscaled.sock", &format!("/localapi/v0/{path}"));
    let problem = |why: String, answer: String| Error::Answer {
        from: from(),
        why,
        answer,
    };
    match answer {
        Ok(Answer { status: 200, body }) => {
            serde_json::from_str(&body).map_err(|error| problem(error.to_string(), body.clone()))
        }
        Ok(Answer { status, body }) => Err(problem(format!("status {status}"), body.trim().to_owned())),
        Err(error) => Err(problem(error.to_string(), String::new())),
    }
}

/// What tailscaled says of itself and its peers.
pub(crate) fn status(socket: &Path) -> Result<Value> {
    get(socket, "status")
}

/// Who has an address, and which capabilities they have towards this node.
pub(crate) fn whois(socket: &Path, address: &str) -> Result<Value> {
    get(socket, &format!("whois?addr={address}"))
}
