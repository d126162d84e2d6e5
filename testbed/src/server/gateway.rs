//! The settings of a gateway, wherever the server runs.

use serde_json::{Value, json};

/// The settings of a server that carries the cluster's API and records each request.
#[must_use]
pub fn with_gateway() -> Value {
    json!({ "gateway": { "enabled": true, "audit": "all" } })
}
