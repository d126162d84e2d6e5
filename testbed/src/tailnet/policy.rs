//! The tailnet policy: the file that people edit, the grants that tests add, and the file that headscale reads.
//!
//! headscale reads a third file that is made from the other two, so that a test never writes into what a person edits.
//! It holds one more capability, a number that counts up. When the server's tailscaled reports it, the policy before it
//! is out of force. So a test need not wait for a time and hope.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use sysinfo::Signal;

use super::{
    headscale::{DOMAIN, HEADSCALE, headscale},
    hujson, local_api,
    node::record::{self as node, Node},
};
use crate::{
    error::{Attempt, Error, Result},
    facts::Facts,
    files::{self, Lock},
    layout::Layout,
    processes::Processes,
    wait::{self, Look},
};

/// Who may have what, by capability: an array of `{"src": […], "rules": […]}`.
type Grants = BTreeMap<String, Value>;

/// How long a policy may take to reach the server's node.
const LIMIT: Duration = Duration::from_secs(20);

/// Writes the policy that a testbed begins with, unless there is one.
pub(crate) fn write_default(layout: &Layout, capability: &str) -> Result<()> {
    if layout.policy().exists() {
        return Ok(());
    }
    let grant = |who: &str, rule: Value| json!({ "src": [who], "dst": ["tag:tka"], "app": { capability: [rule] } });
    let policy = json!({
        "tagOwners": { "tag:tka": [], "tag:ci": [] },
        "grants": [
            { "src": ["*"], "dst": ["*"], "ip": ["*"] },
            grant("alice@example.com", json!({ "role": "cluster-admin", "period": "15m", "priority": 100 })),
            grant("bob@example.com", json!({ "role": "view", "period": "1h", "priority": 10 })),
            grant("alice@other.example", json!({ "role": "view", "period": "1h", "priority": 1 })),
            grant("tag:ci", json!({ "role": "edit", "period": "20m", "priority": 1 })),
        ],
    });
    files::write_json(&layout.policy(), &policy)
}

/// The file that headscale reads.
pub(super) fn rendered(layout: &Layout) -> PathBuf {
    layout.data(HEADSCALE).join("policy.json")
}

/// Makes the file that headscale needs in order to start. It allows nothing: users come before the policy that names
/// them.
pub(super) fn ensure_rendered(layout: &Layout) -> Result<()> {
    let file = rendered(layout);
    if file.exists() {
        Ok(())
    } else {
        files::write_json(&file, &json!({ "grants": [] }))
    }
}

/// Puts the policy into force as it now is in its file, and returns when the server's node has it.
pub(crate) fn apply(layout: &Layout, facts: &Facts) -> Result<()> {
    let generation = {
        let _lock = lock(layout)?;
        put_into_force(layout, &grants(layout)?)?
    };
    wait_at_server(layout, facts, generation)
}

/// Returns when `node` has the policy that was put into force last, or a later one.
pub(crate) fn wait_at(layout: &Layout, facts: &Facts, node: &Node) -> Result<()> {
    let generation = files::read_json(&generation_file(layout))?.unwrap_or_default();
    wait_in_force(layout, facts, node, generation)
}

/// Replaces the grants of one capability, beside what the policy file says, and returns when the server's node has
/// them. The caller may be one of many.
pub(crate) fn set_grants(layout: &Layout, facts: &Facts, capability: &str, grants_of_it: Value) -> Result<()> {
    let generation = {
        let _lock = lock(layout)?;
        let mut grants = grants(layout)?;
        grants.insert(capability.to_owned(), grants_of_it);
        let generation = put_into_force(layout, &grants)?;
        files::write_json(&grants_file(layout), &grants)?;
        generation
    };
    wait_at_server(layout, facts, generation)
}

/// Leaves the grants of one capability out of the next policy that is put into force.
pub(crate) fn forget_grants(layout: &Layout, capability: &str) -> Result<()> {
    let _lock = lock(layout)?;
    let mut grants = grants(layout)?;
    grants.remove(capability);
    files::write_json(&grants_file(layout), &grants)
}

fn put_into_force(layout: &Layout, grants: &Grants) -> Result<u64> {
    let refused = |why: String| Error::Policy {
        path: layout.policy(),
        why,
    };
    let text = files::read_to_string(&layout.policy())?;
    let policy = hujson::parse(&text).map_err(|error| refused(error.to_string()))?;
    let generation = next_generation(layout)?;
    let rendered_policy = render(policy, grants, generation).map_err(|why| refused(why.to_owned()))?;
    let candidate = layout.data(HEADSCALE).join("policy-candidate.json");
    files::write_json(&candidate, &rendered_policy)?;
    let processes = Processes::find(layout)?;
    if !processes.has(HEADSCALE) {
        return Err(Error::NoTestbed {
            dir: layout.dir().to_owned(),
        });
    }
    // A reload reports what is wrong to headscale's log only.
    match headscale(layout, &["policy", "check", "--file", &candidate.to_string_lossy()]) {
        Err(Error::Command { stderr, .. }) => return Err(refused(stderr)),
        result => result?,
    };
    std::fs::rename(&candidate, rendered(layout)).attempt(|| format!("cannot write {}", rendered(layout).display()))?;
    processes.signal(HEADSCALE, Signal::Hangup);
    Ok(generation)
}

/// The whole policy: what the file says, what tests granted, and its number.
fn render(mut policy: Value, grants: &Grants, generation: u64) -> Result<Value, &'static str> {
    let document = policy.as_object_mut().ok_or("it is not an object")?;
    let all = document
        .entry("grants")
        .or_insert_with(|| json!([]))
        .as_array_mut()
        .ok_or("`grants` is not a list")?;
    for (capability, grants_of_it) in grants {
        for grant in grants_of_it.as_array().into_iter().flatten() {
            let app = json!({ capability: grant["rules"] });
            all.push(json!({ "src": grant["src"], "dst": ["tag:tka"], "app": app }));
        }
    }
    let number = json!({ generation_capability(): [{ "generation": generation }] });
    all.push(json!({ "src": ["*"], "dst": ["*"], "app": number }));
    Ok(policy)
}

fn wait_at_server(layout: &Layout, facts: &Facts, generation: u64) -> Result<()> {
    wait_in_force(layout, facts, &node::find(layout, facts, node::SERVER)?, generation)
}

/// Waits until `node` has a policy of this number, or a later one. Towards which other node is all the same, and not all
/// of them need be there any more.
fn wait_in_force(layout: &Layout, facts: &Facts, node: &Node, generation: u64) -> Result<()> {
    let others = node::all(layout, facts)?
        .into_iter()
        .filter(|other| other.hostname() != node.hostname());
    let addresses: Vec<_> = others.filter_map(|node| node.addresses().first().cloned()).collect();
    let seen = || {
        addresses
            .iter()
            .filter_map(|address| local_api::whois(node.socket(), address).ok())
    };
    let look = || match seen().filter_map(|whois| generation_of(&whois)).max() {
        Some(seen) if seen >= generation => Look::Done(()),
        seen => Look::NotYet(format!(
            "it has {}",
            seen.map_or("none".to_owned(), |seen| seen.to_string())
        )),
    };
    wait::until(LIMIT, look).map_err(|why| Error::Timeout {
        what: format!("tailnet policy {generation} to reach the node {}", node.hostname()),
        limit: LIMIT,
        why,
    })
}

/// Whether the policy in force covers a node that has just joined.
pub(crate) fn covers(whois: &Value) -> bool {
    generation_of(whois).is_some()
}

fn generation_of(whois: &Value) -> Option<u64> {
    whois["CapMap"][generation_capability()][0]["generation"].as_u64()
}

fn generation_capability() -> String {
    format!("{DOMAIN}/cap/policy-generation")
}

fn next_generation(layout: &Layout) -> Result<u64> {
    let file = generation_file(layout);
    let generation = files::read_json::<u64>(&file)?.unwrap_or(0) + 1;
    files::write_json(&file, &generation)?;
    Ok(generation)
}

fn generation_file(layout: &Layout) -> PathBuf {
    layout.data("policy-generation.json")
}

fn grants(layout: &Layout) -> Result<Grants> {
    Ok(files::read_json(&grants_file(layout))?.unwrap_or_default())
}

fn grants_file(layout: &Layout) -> PathBuf {
    layout.data("grants.json")
}

fn lock(layout: &Layout) -> Result<Lock> {
    Lock::acquire(&layout.data("policy.lock"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tests_grant_stands_beside_what_the_file_says() {
        let policy = json!({ "tagOwners": { "tag:tka": [] }, "grants": [{ "src": ["*"], "dst": ["*"], "ip": ["*"] }] });
        let rules = json!([{ "role": "view", "period": "1h" }, "malformed"]);
        let grants = Grants::from([
            (
                "example.com/cap/a".to_owned(),
                json!([{ "src": ["alice@example.com"], "rules": rules }]),
            ),
            ("example.com/cap/none".to_owned(), json!([])),
        ]);
        let rendered = render(policy.clone(), &grants, 7).unwrap();
        assert_eq!(rendered["tagOwners"], policy["tagOwners"]);
        assert_eq!(rendered["grants"][0], policy["grants"][0]);
        let granted =
            json!({ "src": ["alice@example.com"], "dst": ["tag:tka"], "app": { "example.com/cap/a": rules } });
        assert_eq!(rendered["grants"][1], granted);
        assert_eq!(rendered["grants"].as_array().unwrap().len(), 3);
        let whois = json!({ "CapMap": rendered["grants"][2]["app"] });
        assert_eq!(generation_of(&whois), Some(7));
        assert!(generation_of(&json!({ "CapMap": null })).is_none());
    }

    #[test]
    fn a_policy_of_another_shape_is_refused() {
        assert_eq!(render(json!([]), &Grants::new(), 1), Err("it is not an object"));
        assert_eq!(
            render(json!({ "grants": {} }), &Grants::new(), 1),
            Err("`grants` is not a list")
        );
        assert!(render(json!({}), &Grants::new(), 1).is_ok());
    }

    #[test]
    fn the_first_policy_grants_what_the_interface_promises() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::of(dir.path()).unwrap();
        write_default(&layout, "example.com/cap/tka").unwrap();
        let text = files::read_to_string(&layout.policy()).unwrap();
        let policy: Value = serde_json::from_str(&text).unwrap();
        let rules: Vec<_> = policy["grants"].as_array().unwrap().iter().skip(1).collect();
        assert_eq!(rules.len(), 4, "carol has none");
        assert_eq!(rules[0]["app"]["example.com/cap/tka"][0]["priority"], 100);
        files::write(&layout.policy(), "{}").unwrap();
        write_default(&layout, "example.com/cap/tka").unwrap();
        assert_eq!(
            files::read_to_string(&layout.policy()).unwrap(),
            "{}",
            "what a person wrote stays"
        );
    }
}
