//! A server's configuration file.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::Record;
use crate::{
    cluster,
    error::{Attempt, Result},
    facts::Facts,
    layout::Layout,
    tailnet,
};

/// The whole configuration. JSON, which is YAML too.
pub(super) fn render(layout: &Layout, facts: &Facts, record: &Record) -> Result<Value> {
    let mut config = basics(layout, facts, record)?;
    merge(&mut config, &record.options.config);
    Ok(config)
}

/// What every server of the testbed is told.
fn basics(layout: &Layout, facts: &Facts, record: &Record) -> Result<Value> {
    let options = &record.options;
    let ca = layout.cluster_ca();
    let ca = std::fs::read(&ca).attempt(|| format!("cannot read {}", ca.display()))?;
    Ok(json!({
        "tailscale": {
            "hostname": options.node,
            "port": record.port,
            "tailnet": tailnet::DOMAIN,
            "socket": facts.socket(&options.node),
            "capName": options.capability,
        },
        "health": { "address": "127.0.0.1", "port": record.health_port },
        "operator": { "namespace": options.namespace, "minPeriod": "1s" },
        "clusterInfo": {
            "apiEndpoint": cluster::api_server_url(facts),
            "caData": BASE64_STANDARD.encode(ca),
            "labels": { "environment": "testbed" },
        },
        "log": { "format": "json" },
    }))
}

/// Lays `over` onto `base`, object by object.
fn merge(base: &mut Value, over: &Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_settings_are_laid_over_key_by_key() {
        let mut config = json!({ "operator": { "namespace": "a", "minPeriod": "1s" }, "debug": false });
        merge(
            &mut config,
            &json!({ "operator": { "minPeriod": "5s" }, "debug": true, "api": { "x": [1] } }),
        );
        let expected = json!({
            "operator": { "namespace": "a", "minPeriod": "5s" }, "debug": true, "api": { "x": [1] },
        });
        assert_eq!(config, expected);
        merge(&mut config, &json!({}));
        assert_eq!(config, expected);
    }
}
