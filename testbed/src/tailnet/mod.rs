//! The tailnet: headscale, an open control server for it, and one userspace tailscaled a node.

mod hujson;
mod local_api;
mod node;
mod policy;

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

pub use self::node::{Node, Owner};
pub(crate) use self::{
    node::{
        SERVER, all as all_nodes, change as change_node, ensure as ensure_node, ensure_all as ensure_nodes,
        find as find_node, panicked, remove as remove_node, wait_acquainted,
    },
    policy::{apply as apply_policy, forget_grants, set_grants, write_default as write_default_policy},
};
use crate::{
    command::Run,
    daemon::{self, Daemon},
    error::{Error, Result},
    facts::Facts,
    files::{self, Lock},
    layout::Layout,
    processes::Processes,
    wait::Look,
};

/// Names on the tailnet end in it.
pub(crate) const DOMAIN: &str = "tailnet.test";

pub(crate) const HEADSCALE: &str = "headscale";

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

/// Runs headscale's own client, which reports errors as `{"error": "…"}`.
fn headscale(layout: &Layout, args: &[&str]) -> Result<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let program = Run::new(&layout.program(HEADSCALE));
    let mut output = program
        .args(["--output", "json", "--config"])
        .args([config(layout)])
        .args(args)
        .output()?;
    if let Ok(refusal) = serde_json::from_str::<Refusal>(&output.stderr) {
        output.stderr = refusal.error;
    }
    output.success()
}

fn config(layout: &Layout) -> PathBuf {
    layout.data(HEADSCALE).join("config.yaml")
}

/// JSON, which is YAML too.
fn configuration(layout: &Layout, facts: &Facts) -> serde_json::Value {
    let data = |file: &str| layout.data(HEADSCALE).join(file);
    let here = |port: u16| format!("127.0.0.1:{port}");
    let address = here(facts.ports.headscale);
    json!({
        "server_url": format!("https://{address}"),
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

#[derive(Deserialize)]
struct User {
    id: u64,
    name: String,
}

/// The ID of a user, who is created if there is none of that name.
fn ensure_user(layout: &Layout, name: &str) -> Result<u64> {
    let _lock = Lock::acquire(&layout.data("users.lock"))?;
    let users: Option<Vec<User>> = decode(&headscale(layout, &["users", "list"])?)?;
    if let Some(user) = users.into_iter().flatten().find(|user| user.name == name) {
        return Ok(user.id);
    }
    decode::<User>(&headscale(layout, &["users", "create", name])?).map(|user| user.id)
}

/// A key that joins a node to the tailnet.
fn auth_key(layout: &Layout, owner: &Owner) -> Result<String> {
    #[derive(Deserialize)]
    struct Key {
        key: String,
    }
    let mut args = vec![
        "preauthkeys".to_owned(),
        "create".to_owned(),
        "--expiration=1h".to_owned(),
    ];
    match owner {
        Owner::User(name) => args.push(format!("--user={}", ensure_user(layout, name)?)),
        Owner::Tags(tags) => args.push(format!("--tags={}", tags.join(","))),
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    decode::<Key>(&headscale(layout, &args)?).map(|key| key.key)
}

#[derive(Deserialize)]
struct Listed {
    id: u64,
    #[serde(default)]
    ip_addresses: Vec<String>,
}

fn listed(layout: &Layout) -> Result<Vec<Listed>> {
    let nodes: Option<_> = decode(&headscale(layout, &["nodes", "list"])?)?;
    Ok(nodes.unwrap_or_default())
}

fn decode<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Answer {
        from: HEADSCALE.to_owned(),
        why: error.to_string(),
        answer: text.chars().take(200).collect(),
    })
}
