//! `tka policy who` and the server do not disagree. Generated policies are in force at a real headscale, one after another, and the server tells each
//! device its rules.
//!
//! `TKA_E2E_POLICIES` says how many; `cargo xtask policies` tries 1000. `TKA_E2E_SEED` begins elsewhere. Each policy is made of its own number, so
//! that one that failed can be tried again alone. Its number is the seed then, of one policy.

use std::env;
use std::net::IpAddr;
use std::time::Instant;

use e2e::user::{ALICE, BOB, CAROL, CI, NAMESAKE};
use e2e::{Answer, Caller, Outcome, Site, World};
use serde_json::{Map, Value, json};
use testbed::{ServerOptions, with_recordings};
use tka_core::{Oversight, Refusal, Rule};
use tka_policy::{Capabilities, Dialect, Node, Policy};

/// How many policies are tried if it is not said.
const POLICIES: u64 = 200;

const DEVICES: [(&str, &str); 5] = [
    ("ALICE", ALICE),
    ("ALICE2", NAMESAKE),
    ("BOB", BOB),
    ("CAROL", CAROL),
    ("CI", CI),
];

/// A device: who it is for the policy, and requests from it.
struct Device {
    name: &'static str,
    node: Node,
    caller: Caller,
}

/// What was compared.
#[derive(Debug, Default)]
struct Counts {
    answers: usize,
    with_rules: usize,
    refused: usize,
    malformed: usize,
    tied: usize,
    overseen: usize,
}

/// Runs alone: each policy takes the place of the one of all tests.
pub(crate) fn who_and_the_server_do_not_disagree(world: &World) -> Outcome {
    let number = |name: &str, otherwise: u64| env::var(name).map_or(Ok(otherwise), |text| text.parse());
    let (count, seed) = (number("TKA_E2E_POLICIES", POLICIES)?, number("TKA_E2E_SEED", 1)?);
    let file = world.testbed.policy_file();
    let before = std::fs::read_to_string(&file)?;
    let compared = compare_all(world, seed, count);
    std::fs::write(&file, before)?;
    world.testbed.apply_policy()?;
    compared
}

fn compare_all(world: &World, seed: u64, count: u64) -> Outcome {
    let mut options = ServerOptions::new("policy");
    options.config = with_recordings(&world.new_folder("policy-recordings")?);
    options.config["operator"] = json!({"machines": true});
    let site = world.site_with(options)?;
    let devices: Vec<Device> = DEVICES
        .iter()
        .map(|(name, who)| device(world, &site, name, who))
        .collect::<Outcome<_>>()?;
    let server = addressed(Node::tagged(["tag:tka"]), world.testbed.node("TKA")?.addresses())?;
    let (mut counts, begun) = (Counts::default(), Instant::now());
    for number in seed..seed + count {
        let text = Generator::new(number).policy(&site, &devices, &server);
        std::fs::write(world.testbed.policy_file(), &text)?;
        world
            .testbed
            .apply_policy()
            .map_err(|error| format!("policy {number}: {error}\n{text}"))?;
        let policy = Policy::parse(&text, Dialect::Headscale, &Capabilities::of(site.server.capability()))?;
        assert!(!policy.is_refused(), "policy {number} is in force: {text}");
        for device in &devices {
            compare(&policy, device, &server, &mut counts)
                .map_err(|error| format!("policy {number}, {}: {error}\n{text}", device.name))?;
        }
    }
    eprintln!("{count} policies from {seed} in {:?}: {counts:?}", begun.elapsed());
    // Otherwise nothing was tried.
    assert!(counts.with_rules > 0 && counts.refused > 0, "{counts:?}");
    Ok(())
}

fn device(world: &World, site: &Site<'_>, name: &'static str, who: &str) -> Outcome<Device> {
    let node = if who.starts_with("tag:") {
        Node::tagged([who])
    } else {
        Node::of_user(who)
    };
    Ok(Device {
        name,
        node: addressed(node, world.testbed.node(name)?.addresses())?,
        caller: site.caller(name)?,
    })
}

/// With the address by which nodes reach each other here.
fn addressed(mut node: Node, addresses: &[String]) -> Outcome<Node> {
    let parsed: Vec<IpAddr> = addresses
        .iter()
        .map(|address| address.parse())
        .collect::<Result<_, _>>()?;
    node.addresses = parsed.into_iter().filter(IpAddr::is_ipv4).collect();
    Ok(node)
}

fn compare(policy: &Policy, device: &Device, server: &Node, counts: &mut Counts) -> Outcome {
    let who = policy.who(&device.node, server, "1s".parse()?);
    if !who.perhaps.is_empty() || !who.perhaps_oversight.is_empty() {
        return Err(format!("all that these policies have can be known: {:?}", who.perhaps).into());
    }
    let told = device.caller.get("/rules")?;
    counts.answers += 1;
    match &who.taken {
        Ok(_) => counts.with_rules += 1,
        Err(Refusal::Ambiguous { .. }) => counts.tied += 1,
        Err(Refusal::MalformedRule(_)) => counts.malformed += 1,
        Err(_) => counts.refused += 1,
    }
    match &who.taken {
        Err(refusal) if !matches!(refusal, Refusal::Ambiguous { .. }) => is_refused_so(&told, refusal)?,
        taken => {
            let rules = who.rules.iter().map(|given| shown(&given.what, taken.as_ref().ok()));
            let expected: Vec<Value> = rules.collect();
            let found = listed(&told)?;
            if found != expected {
                return Err(format!("the server says {found:?}, who says {expected:?}").into());
            }
        }
    }
    let sees = device.caller.get("/recordings")?.status;
    counts.overseen += usize::from(sees == 200);
    let expected = if who.oversight.recordings { 200 } else { 404 };
    if sees != expected {
        let Oversight { recordings, .. } = who.oversight;
        return Err(format!("/recordings answers {sees}, and who says {recordings}").into());
    }
    Ok(())
}

fn is_refused_so(told: &Answer, refusal: &Refusal) -> Outcome {
    let status = if *refusal == Refusal::NoRule { 403 } else { 400 };
    let body = told.json()?;
    // headscale hands values on with the blanks that they have in its file.
    let without_blanks = |text: &str| text.split_whitespace().collect::<String>();
    let cause = std::error::Error::source(refusal).map(|cause| without_blanks(&cause.to_string()));
    let said_cause = body["cause"]["message"].as_str().map(without_blanks);
    let said = (told.status, body["message"].as_str(), said_cause);
    if said != (status, Some(refusal.to_string().as_str()), cause) {
        return Err(format!("the server says {told:?}, who says {refusal:?}").into());
    }
    Ok(())
}

/// A rule as the server lists it, as far as both say the same.
fn shown(rule: &Rule, taken: Option<&Rule>) -> Value {
    json!({
        "role": rule.role.as_str(),
        "name": rule.name.as_ref().map(ToString::to_string),
        "namespaces": rule.scope.to_names(),
        "period": rule.period.to_string(),
        "priority": rule.priority,
        "default": taken == Some(rule),
    })
}

fn listed(told: &Answer) -> Outcome<Vec<Value>> {
    let body = told.clone().expect(200)?.json()?;
    let items = body["items"].as_array().ok_or("no items")?;
    let shown = |item: &Value| {
        let fields = ["role", "name", "namespaces", "period", "priority", "default"];
        let fields = fields.map(|field| (field.to_owned(), item[field].clone()));
        Value::Object(Map::from_iter(fields))
    };
    Ok(items.iter().map(shown).collect())
}

/// Makes one policy, always the same of one number (`SplitMix64`).
struct Generator(u64);

// === impl Generator ===

impl Generator {
    fn new(number: u64) -> Self {
        Self(number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let mixed = (mixed ^ (mixed >> 31)) >> 33;
        usize::try_from(mixed).unwrap_or_default() % limit
    }

    fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.below(of.len())]
    }

    fn some(&mut self, of: &[&str], from: usize, to: usize) -> Vec<String> {
        let count = from + self.below(to - from + 1);
        (0..count).map(|_| self.one(of).to_owned()).collect()
    }

    /// Comments and last commas are among it, as people write them.
    fn policy(&mut self, site: &Site<'_>, devices: &[Device], server: &Node) -> String {
        let address = |node: &Node| node.addresses.first().map(ToString::to_string).unwrap_or_default();
        let (own, other) = (address(server), address(&devices[self.below(devices.len())].node));
        let users = [ALICE, NAMESAKE, BOB, CAROL];
        let groups = json!({
            "group:sre": self.some(&users, 0, 2),
            "group:dev": self.some(&users, 1, 3),
            "group:none": [],
        });
        let hosts = json!({"laptop": other, "server": own, "office": "10.0.0.0/8", "nodes": "100.64.0.0/10"});
        let mut sources = vec![
            "*",
            "group:sre",
            "group:dev",
            "group:none",
            CI,
            "tag:tka",
            "autogroup:member",
            "autogroup:tagged",
            "autogroup:danger-all",
            "laptop",
            "office",
            "nodes",
            "10.0.0.0/8",
            "100.64.0.0/10",
            &other,
        ];
        // Twice as often.
        sources.extend(users.iter().chain(&users));
        let mut destinations = vec![
            "*",
            "autogroup:tagged",
            "autogroup:member",
            CI,
            CAROL,
            "group:sre",
            "server",
            "laptop",
            "nodes",
            &own,
        ];
        destinations.extend(["tag:tka"; 20]);
        let count = 1 + self.below(6);
        let grants: Vec<String> = (0..count).map(|_| self.grant(site, &sources, &destinations)).collect();
        format!(
            "// A policy of the tests.\n{{\"groups\": {groups}, \"hosts\": {hosts}, /* owners */ \"tagOwners\": {{\"tag:tka\": [], \"tag:ci\": [],}},\n\
             \"grants\": [{{\"src\": [\"*\"], \"dst\": [\"*\"], \"ip\": [\"*\"]}},\n{},\n],}}\n",
            grants.join(",\n")
        )
    }

    fn grant(&mut self, site: &Site<'_>, sources: &[&str], destinations: &[&str]) -> String {
        let values: Vec<Value> = (0..self.below(3)).map(|_| self.value()).collect();
        let capability = site.server.capability();
        let mut app = json!({ capability: values });
        if self.below(3) == 0 {
            let oversight = [
                json!({"recordings": true}),
                json!({"audit": true}),
                json!({"recording": true}),
            ];
            app[format!("{capability}-oversight")] = json!([oversight[self.below(3)]]);
        }
        let mut grant = json!({"src": self.some(sources, 1, 3), "dst": self.some(destinations, 1, 2), "app": app});
        if self.below(15) == 0 {
            grant["via"] = json!([CI]);
            grant["ip"] = json!(["*"]);
        }
        grant.to_string()
    }

    fn value(&mut self) -> Value {
        if self.below(80) == 0 {
            return json!({"role": "view", "period": "1h", "namespace": ["default"]});
        }
        let priority = i64::try_from(self.below(5)).unwrap_or_default() - 1;
        let (role, period) = (
            self.one(&["view", "edit", "cluster-admin"]),
            self.one(&["1h", "90m", "24h"]),
        );
        let mut value = json!({"role": role, "period": period, "priority": priority});
        if self.below(4) == 0 {
            value["namespaces"] = json!(["default", "kube-public"]);
        }
        if self.below(5) == 0 {
            value["name"] = json!("oncall");
        }
        value
    }
}
