//! Changing nodes as an administrator of the tailnet does.

use std::time::Duration;

use serde_json::{Value, json};

use super::record::{Node, SERVER, find, part};
use crate::{
    error::{Error, Result},
    facts::Facts,
    files,
    layout::Layout,
    ports,
    processes::Processes,
    tailnet::{
        headscale::{Listed, headscale, listed},
        local_api,
    },
    wait::{self, Look},
};

/// How long a change may take to reach the server's node.
const LIMIT: Duration = Duration::from_secs(20);

/// Changes a node on the control server, and returns when the server's node has heard of it.
pub(crate) fn change(layout: &Layout, facts: &Facts, node: &Node, change: &[&str]) -> Result<()> {
    let server = find(layout, facts, SERVER)?;
    let then = who(&server, node);
    let listed = on_control_server(layout, node)?;
    let listed = listed.ok_or_else(|| Error::Name(format!("headscale has no node {}", node.hostname())))?;
    let identifier = format!("--identifier={}", listed.id);
    headscale(layout, &[&["nodes"], change, &["--force", &identifier]].concat())?;
    wait_heard(&server, node, |now| *now != then)
}

/// Takes a node off the tailnet and ends it, and returns when the server's node has heard of it.
pub(crate) fn remove(layout: &Layout, facts: &Facts, node: &Node) -> Result<()> {
    let hostname = node.hostname();
    if let Some(listed) = on_control_server(layout, node)? {
        let identifier = format!("--identifier={}", listed.id);
        headscale(layout, &["nodes", "delete", "--force", &identifier])?;
        wait_heard(&find(layout, facts, SERVER)?, node, Value::is_null)?;
    }
    Processes::find(layout)?.stop(&[&part(hostname)], Duration::from_secs(5))?;
    ports::put_back(layout, &[node.record.proxy, node.record.socks])?;
    files::remove(&layout.node(hostname))
}

/// A node is found by its addresses, which no change of its name changes.
fn on_control_server(layout: &Layout, node: &Node) -> Result<Option<Listed>> {
    let is_it = |listed: &Listed| listed.ip_addresses.iter().any(|ip| node.addresses().contains(ip));
    Ok(listed(layout)?.into_iter().find(is_it))
}

/// Waits until the server's node has heard of a change of `node`: until what it knows is as it should be.
fn wait_heard(server: &Node, node: &Node, is_heard: impl Fn(&Value) -> bool) -> Result<()> {
    let look = || match who(server, node) {
        now if is_heard(&now) => Look::Done(()),
        now => Look::NotYet(format!("it knows {now}")),
    };
    wait::until(LIMIT, look).map_err(|why| Error::Timeout {
        what: format!("a change of node {} to reach the server's node", node.hostname()),
        limit: LIMIT,
        why,
    })
}

/// Who a node is, as the server's node knows it, or null. That is what an administrator may change, and not whether it is online or through which
/// relay.
fn who(server: &Node, node: &Node) -> Value {
    let address = node.addresses().first().map_or("", String::as_str);
    let Ok(whois) = local_api::whois(server.socket(), address) else {
        return Value::Null;
    };
    let of = |field: &str| whois["Node"][field].clone();
    json!(["Name", "User", "Tags", "KeyExpiry", "Expired"].map(of))
}
