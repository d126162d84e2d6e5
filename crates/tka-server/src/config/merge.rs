//! Merges a configuration that was read again into the running one: keys marked `x-live` take effect, all others wait for a restart.

use serde_json::Value;

use super::given::insert;
use super::keys::keys;
use super::sections::Config;

/// What came of reading a configuration again.
#[derive(Clone, Debug)]
pub struct Change {
    /// What holds from now on.
    pub config: Config,
    /// The keys that changed, and hold.
    pub changed: Vec<&'static str>,
    /// The keys that differ from what the server runs with, and hold after a restart.
    pub waiting: Vec<&'static str>,
}

/// The configuration in effect after a server running `running` loads `read`.
pub fn merge(running: &Config, read: &Config) -> Result<Change, serde_json::Error> {
    let (mut tree, read) = (serde_json::to_value(running)?, serde_json::to_value(read)?);
    let (mut changed, mut waiting) = (Vec::new(), Vec::new());
    for key in keys().settings().iter().filter(|key| !key.is_ignored()) {
        let value = at(&read, &key.name);
        if value == at(&tree, &key.name) {
            continue;
        }
        if key.is_live() {
            insert(&mut tree, &key.name, value.clone());
            changed.push(key.name.as_str());
        } else {
            waiting.push(key.name.as_str());
        }
    }
    let config = serde_json::from_value(tree)?;
    Ok(Change {
        config,
        changed,
        waiting,
    })
}

fn at<'v>(tree: &'v Value, name: &str) -> &'v Value {
    name.split('.').fold(tree, |tree, part| &tree[part])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::tests::apart as config;

    #[test]
    fn live_keys_hold_and_others_wait() {
        let running =
            config("tailscale: {port: 80}\nclusterInfo: {labels: {a: x, b: y}}\nserver: {rateLimit: {burst: 7}}");
        let read = config(
            "tailscale: {port: 81, hostname: other}\nclusterInfo: {labels: {a: z}}\noperator: {minPeriod: 90s, machines: true}",
        );
        let change = merge(&running, &read).unwrap();
        assert_eq!(change.waiting, ["tailscale.port"]);
        let changed = [
            "clusterInfo.labels",
            "operator.machines",
            "operator.minPeriod",
            "server.rateLimit.burst",
        ];
        assert_eq!(change.changed, changed);
        let now = change.config;
        assert_eq!((now.tailscale.port, now.operator.machines), (80, true));
        assert_eq!(now.cluster_info.labels.len(), 1, "a label that is gone is gone");
        assert_eq!(now.operator.min_period.to_string(), "1m30s");
        assert_eq!(now.server.rate_limit.burst.get(), 100, "left out is the default");
    }

    #[test]
    fn what_holds_is_what_was_read_when_every_key_differs() {
        let running = config("");
        let all = crate::config::load::tests::EVERY_KEY;
        let change = merge(&running, &config(all)).unwrap();
        let count = keys().settings().iter().filter(|key| !key.is_ignored()).count();
        assert_eq!(change.changed.len() + change.waiting.len(), count);
        let again = merge(&change.config, &config(all)).unwrap();
        assert_eq!((again.changed.len(), again.waiting), (0, change.waiting));
        let to_value = |config: &Config| serde_json::to_value(config).unwrap();
        assert_eq!(to_value(&again.config), to_value(&change.config));
    }
}
