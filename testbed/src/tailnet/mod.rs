//! The tailnet: headscale, an open control server for it, and one userspace tailscaled a node.

mod headscale;
mod hujson;
mod local_api;
mod node;
mod policy;

use serde_json::json;

use self::headscale::{config, headscale};

pub use self::node::{Node, Owner};
pub(crate) use self::{
    headscale::{DOMAIN, HEADSCALE, auth_key, control_url},
    local_api::status,
    node::{
        SERVER, all as all_nodes, change as change_node, ensure as ensure_node, ensure_all as ensure_nodes,
        find as find_node, panicked, remove as remove_node, wait_acquainted,
    },
    policy::{
        apply as apply_policy, forget_grants, set_grants, wait_at as wait_policy_at,
        write_default as write_default_policy,
    },
};
use crate::{
    daemon::{self, Daemon},
    error::Result,
    facts::Facts,
    files,
    layout::Layout,
    processes::Processes,
    wait::Look,
};

/// Starts headscale unless it runs, and returns when it answers.
pub(crate) fn ensure_control_server(layout: &Layout, facts: &Facts, running: &Processes) -> Result<()> {
    let data = layout.data(HEADSCALE);
    files::create_private_dir(&data)?;
    files::write_json(&config(layout), &configuration(layout, facts))?;
    policy::ensure_rendered(layout)?;
    let daemon = || {
        Ok(Daemon::new(layout, HEADSCALE, HEADSCALE)
            .arg("serve")
            .arg("--config")
            .arg(config(layout)))
    };
    daemon::ensure_aloud(layout, running, HEADSCALE, daemon, || {
        match headscale(layout, &["health"]) {
            Ok(_) => Look::Done(()),
            Err(error) => Look::NotYet(error.to_string()),
        }
    })
}

/// JSON, which is YAML too.
fn configuration(layout: &Layout, facts: &Facts) -> serde_json::Value {
    let data = |file: &str| layout.data(HEADSCALE).join(file);
    let here = |port: u16| format!("127.0.0.1:{port}");
    let address = here(facts.ports.headscale);
    json!({
        "server_url": control_url(facts),
        "listen_addr": address,
        "metrics_listen_addr": here(facts.ports.headscale_metrics),
        "grpc_listen_addr": here(facts.ports.headscale_grpc),
        "tls_cert_path": layout.pki("headscale.pem"),
        "tls_key_path": layout.pki("headscale.key"),
        "unix_socket": facts.socket(HEADSCALE),
        "unix_socket_permission": "0700",
        "noise": { "private_key_path": data("noise.key") },
        "prefixes": { "v4": "100.64.0.0/10", "v6": "fd7a:115c:a1e0::/48", "allocation": "sequential" },
        "derp": {
            "urls": [],
            "paths": [],
            "auto_update_enabled": false,
            "server": {
                "enabled": true,
                "region_id": 999,
                "region_code": "testbed",
                "region_name": "Testbed",
                "stun_listen_addr": here(facts.ports.stun),
                "ipv4": "127.0.0.1",
                // Or each node waits three seconds, when it joins, for an answer over IPv6.
                "ipv6": "none",
                "private_key_path": data("derp.key"),
                "automatically_add_embedded_derp_region": true,
            },
        },
        "database": { "type": "sqlite", "sqlite": { "path": data("db.sqlite"), "write_ahead_log": true } },
        "dns": {
            "magic_dns": true,
            "base_domain": DOMAIN,
            "override_local_dns": false,
            "nameservers": { "global": [] },
        },
        "policy": { "mode": "file", "path": policy::rendered(layout) },
        "log": { "level": "info", "format": "text" },
        // A testbed waits for each change, and has few nodes to tell.
        "tuning": { "batch_change_delay": "50ms", "node_store_batch_timeout": "20ms" },
        // On a busy machine an answer takes longer than the five seconds that its command line waits.
        "cli": { "timeout": "60s" },
        "disable_check_updates": true,
        "logtail": { "enabled": false },
    })
}
