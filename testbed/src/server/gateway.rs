//! The settings of a gateway, wherever the server runs.

use std::path::Path;

use serde_json::{Value, json};

/// The settings of a server that carries the cluster's API and records each request.
#[must_use]
pub fn with_gateway() -> Value {
    json!({ "gateway": { "enabled": true, "audit": "all" } })
}

/// The same, with recordings of exec and attach in `folder`, which must be there.
#[must_use]
pub fn with_recordings(folder: &Path) -> Value {
    json!({ "gateway": { "enabled": true, "audit": "all", "recording": { "folder": folder } } })
}
