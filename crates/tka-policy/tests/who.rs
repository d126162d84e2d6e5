//! What a policy gives a caller.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, this also in what they call"
)]

use proptest::prelude::*;
use tka_core::{Period, Refusal};
use tka_policy::{Answer, Capabilities, Dialect, Node, Policy};

const RULES: &str = r#"{"specht-labs.de/cap/tka": [{"role": "view", "period": "1h"}]}"#;

fn minute() -> Period {
    "1m".parse().unwrap()
}

fn policy(text: &str, dialect: Dialect) -> Policy {
    Policy::parse(text, dialect, &Capabilities::default()).unwrap()
}

/// A policy with one grant of `view` to `src`, and with definitions.
fn with_source(src: &str, dialect: Dialect) -> Policy {
    let text = format!(
        r#"{{
            "groups": {{"group:sre": ["alice@example.com", "bob@example.com"], "group:none": [], "group:short": ["dave@"],
                       "group:a": ["group:b"], "group:b": ["group:a", "eve@example.com"]}},
            "hosts": {{"laptop": "100.64.0.7", "office": "10.0.0.0/8"}},
            "ipsets": {{"ipset:some": ["100.64.0.0/16", "remove 100.64.1.0/24", "add host:laptop"],
                        "ipset:outer": ["ipset:some", "remove 100.64.0.7"], "ipset:self": ["ipset:self", "100.64.0.7"]}},
            "tagOwners": {{"tag:tka": [], "tag:ci": []}},
            "grants": [{{"src": ["{src}"], "dst": ["tag:tka"], "app": {RULES}}}],
        }}"#
    );
    policy(&text, dialect)
}

fn user(name: &str) -> Node {
    Node::of_user(name)
}

fn at(mut node: Node, addresses: &[&str]) -> Node {
    node.addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    node
}

fn member_of(mut node: Node, name: &str) -> Node {
    node.member_of.insert(name.to_owned());
    node
}

/// `yes`, `no`, or what it depends on.
fn said(answer: &Answer) -> String {
    match (answer.rules.len(), answer.perhaps.first()) {
        (0, None) => "no".into(),
        (0, Some((_, why))) => why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        _ => "yes".into(),
    }
}

fn asked(policy: &Policy, caller: &Node) -> String {
    said(&policy.who(caller, &Node::tagged(["tag:tka"]), minute()))
}

#[test]
fn selectors_that_both_dialects_have() {
    let alice = || user("alice@example.com");
    let ci = || Node::tagged(["tag:ci"]);
    for (src, caller, expected) in [
        ("*", alice(), "yes"),
        ("*", ci(), "yes"),
        ("alice@example.com", alice(), "yes"),
        ("alice@example.com", user("alice@other.example"), "no"),
        ("alice@example.com", ci(), "no"),
        ("group:sre", alice(), "yes"),
        ("group:sre", user("carol@example.com"), "no"),
        ("group:sre", ci(), "no"),
        ("group:none", alice(), "no"),
        ("group:gone", alice(), "no"),
        // Groups that contain each other end.
        ("group:a", user("eve@example.com"), "yes"),
        ("group:a", alice(), "no"),
        ("tag:ci", ci(), "yes"),
        ("tag:ci", Node::tagged(["tag:other", "tag:ci"]), "yes"),
        ("tag:ci", Node::tagged(["tag:other"]), "no"),
        ("tag:ci", alice(), "no"),
        ("autogroup:member", alice(), "yes"),
        ("autogroup:member", ci(), "no"),
        ("autogroup:tagged", ci(), "yes"),
        ("autogroup:tagged", alice(), "no"),
        ("autogroup:danger-all", ci(), "yes"),
        ("autogroup:internet", alice(), "no"),
        ("autogroup:self", alice(), "no"),
        ("100.64.0.7", alice(), "which address"),
        ("100.64.0.7", at(alice(), &["100.64.0.7"]), "yes"),
        ("100.64.0.7", at(alice(), &["100.64.0.8"]), "no"),
        (
            "100.64.0.7",
            at(alice(), &["100.64.0.7", "fd7a:115c:a1e0::7"]),
            "from which of its addresses",
        ),
        ("100.64.0.0/10", at(ci(), &["100.99.0.1"]), "yes"),
        ("10.0.0.0/8", alice(), "no"),
        ("laptop", at(alice(), &["100.64.0.7"]), "yes"),
        ("laptop", alice(), "which address"),
        ("office", alice(), "no"),
        ("gone", at(alice(), &["100.64.0.7"]), "no"),
        ("alice@example.com", at(Node::default(), &["100.64.0.7"]), "whose node"),
        ("autogroup:member", at(Node::default(), &["100.64.0.7"]), "whose node"),
        ("tag:ci", at(Node::default(), &["100.64.0.7"]), "whose node"),
    ] {
        for dialect in [Dialect::Tailscale, Dialect::Headscale] {
            let found = asked(&with_source(src, dialect), &caller);
            assert!(found.contains(expected), "{src} of {caller:?} at {dialect}: {found}");
        }
    }
}

/// What only Tailscale has, and what headscale makes of it.
#[test]
fn selectors_that_only_tailscale_has() {
    let alice = || user("alice@example.com");
    for (src, caller, tailscale, headscale) in [
        ("user:*@example.com", alice(), "yes", "no"),
        ("user:*@example.com", user("alice@other.example"), "no", "no"),
        ("user:*@example.com", Node::tagged(["tag:ci"]), "no", "no"),
        (
            "group:sre@example.com",
            alice(),
            "which the identity provider keeps",
            "no",
        ),
        (
            "group:sre@example.com",
            member_of(alice(), "group:sre@example.com"),
            "yes",
            "no",
        ),
        ("autogroup:admin", alice(), "who is in autogroup:admin", "who is in"),
        ("autogroup:admin", member_of(alice(), "autogroup:admin"), "yes", "yes"),
        ("autogroup:admin", Node::tagged(["tag:ci"]), "no", "no"),
        ("autogroup:shared", alice(), "no", "no"),
        ("ipset:some", alice(), "which address", "no"),
        ("ipset:some", at(alice(), &["100.64.3.1"]), "yes", "no"),
        ("ipset:some", at(alice(), &["100.64.1.1"]), "no", "no"),
        ("ipset:outer", at(alice(), &["100.64.3.1"]), "yes", "no"),
        ("ipset:outer", at(alice(), &["100.64.0.7"]), "no", "no"),
        ("ipset:self", at(alice(), &["100.64.0.7"]), "yes", "no"),
        ("svc:db", alice(), "no", "no"),
        ("Alice@example.com", alice(), "other capitals", "no"),
        ("dave@", user("dave@"), "yes", "yes"),
        ("dave@", user("dave@example.com"), "no", "by another name"),
        ("dave@example.com", user("dave@"), "no", "by another name"),
        ("group:short", user("dave@example.com"), "no", "by another name"),
        ("https://id.example/7@", alice(), "no", "by another name"),
    ] {
        let found = asked(&with_source(src, Dialect::Tailscale), &caller);
        assert!(found.contains(tailscale), "{src} of {caller:?}: {found}");
        let found = asked(&with_source(src, Dialect::Headscale), &caller);
        assert!(found.contains(headscale), "{src} of {caller:?} at headscale: {found}");
    }
}

#[test]
fn destinations_and_conditions_count() {
    let of = |grant: &str, server: &Node, dialect| {
        let text = format!(
            r#"{{"hosts": {{"k8s": "100.64.0.1"}}, "grants": [{{"src": ["alice@example.com"], {grant}, "app": {RULES}}}]}}"#
        );
        said(&policy(&text, dialect).who(&user("alice@example.com"), server, minute()))
    };
    let tka = Node::tagged(["tag:tka"]);
    for (grant, server, tailscale, headscale) in [
        (r#""dst": ["tag:tka"]"#, &tka, "yes", "yes"),
        (r#""dst": ["tag:web", "tag:tka"]"#, &tka, "yes", "yes"),
        (r#""dst": ["tag:web"]"#, &tka, "no", "no"),
        (r#""dst": ["*"]"#, &tka, "yes", "yes"),
        (r#""dst": ["autogroup:tagged"]"#, &tka, "yes", "yes"),
        (r#""dst": ["autogroup:self"]"#, &tka, "no", "no"),
        (r#""dst": ["autogroup:self"]"#, &user("alice@example.com"), "yes", "yes"),
        (r#""dst": ["autogroup:self"]"#, &user("bob@example.com"), "no", "no"),
        (r#""dst": ["k8s"]"#, &tka, "which address", "which address"),
        (r#""dst": ["k8s"]"#, &at(tka.clone(), &["100.64.0.1"]), "yes", "yes"),
        (r#""dst": []"#, &tka, "no", "no"),
        (
            r#""dst": ["tag:tka"], "srcPosture": ["posture:managed"]"#,
            &tka,
            "posture:managed",
            "posture:managed",
        ),
        (
            r#""dst": ["tag:tka"], "via": ["tag:router"]"#,
            &tka,
            "a grant with `via`",
            "no",
        ),
    ] {
        for (dialect, expected) in [(Dialect::Tailscale, tailscale), (Dialect::Headscale, headscale)] {
            let found = of(grant, server, dialect);
            assert!(found.contains(expected), "{grant} at {dialect}: {found}");
        }
    }
    let default = format!(
        r#"{{"defaultSrcPosture": ["posture:latest"], "grants": [{{"src": ["*"], "dst": ["*"], "app": {RULES}}}]}}"#
    );
    let answer = policy(&default, Dialect::Tailscale).who(&user("alice@example.com"), &tka, minute());
    assert!(said(&answer).contains("posture:latest"));
}

fn answer(values: &str, oversight: &str) -> Answer {
    let text = format!(
        r#"{{"grants": [{{"src": ["*"], "dst": ["*"], "app": {{"specht-labs.de/cap/tka": {values}, "specht-labs.de/cap/tka-oversight": {oversight}}}}}]}}"#
    );
    policy(&text, Dialect::Headscale).who(&user("alice@example.com"), &Node::tagged(["tag:tka"]), minute())
}

#[test]
fn choice_is_the_servers() {
    let rules = r#"[{"role": "view", "period": "8h"}, {"role": "edit", "period": "1h", "priority": 5}]"#;
    let given = answer(rules, "[]");
    assert_eq!(given.taken.unwrap().role.as_str(), "edit");
    assert_eq!(
        given
            .rules
            .iter()
            .map(|rule| rule.what.role.as_str())
            .collect::<Vec<_>>(),
        ["edit", "view"]
    );
    assert_eq!(answer("[]", "[]").taken, Err(Refusal::NoRule));
    let tied = answer(
        r#"[{"role": "view", "period": "8h"}, {"role": "edit", "period": "1h"}]"#,
        "[]",
    );
    assert!(matches!(tied.taken, Err(Refusal::Ambiguous { .. })));
    let same = answer(
        r#"[{"role": "view", "period": "60m"}, {"role": "view", "period": "1h"}]"#,
        "[]",
    );
    assert_eq!((same.rules.len(), same.taken.is_ok()), (1, true));
    let wrong = answer(
        r#"[{"role": "view", "period": "8h"}, {"role": "edit", "period": "1h", "namespace": ["a"]}]"#,
        "[]",
    );
    assert!(wrong.rules.is_empty() && matches!(wrong.taken, Err(Refusal::MalformedRule(_))));
    let short = answer(r#"[{"role": "view", "period": "5s"}]"#, "[]");
    assert!(matches!(short.taken, Err(Refusal::PeriodTooShort { .. })));
}

#[test]
fn oversight_adds_up_and_what_cannot_be_read_gives_nothing() {
    let given = answer(
        "[]",
        r#"[{"recordings": true}, {"approve": ["oncall"]}, {"recording": true}]"#,
    );
    assert!(given.oversight.recordings && given.oversight.approve.len() == 1 && !given.oversight.audit);
    assert_eq!(given.refused.len(), 1);
    assert!(given.rules.is_empty());
}

#[test]
fn a_server_may_have_another_capability() {
    let text = r#"{"grants": [{"src": ["*"], "dst": ["*"], "app": {"example.com/cap/k8s": [{"role": "view", "period": "1h"}], "example.com/cap/k8s-oversight": [{"audit": true}]}}]}"#;
    let policy = Policy::parse(text, Dialect::Tailscale, &Capabilities::of("example.com/cap/k8s")).unwrap();
    let given = policy.who(&user("a@b"), &Node::tagged(["tag:tka"]), minute());
    assert!(given.taken.is_ok() && given.oversight.audit);
    let other = Policy::parse(text, Dialect::Tailscale, &Capabilities::default()).unwrap();
    assert_eq!(
        other.who(&user("a@b"), &Node::tagged(["tag:tka"]), minute()).taken,
        Err(Refusal::NoRule)
    );
}

proptest! {
    /// The order of grants, sources and members decides nothing, and a caller of a group is one of its members.
    #[test]
    fn order_decides_nothing(
        grants in prop::collection::vec((prop::collection::vec(0..6_usize, 1..4), 0..4_i64, "(view|edit|admin)"), 0..6)
            .prop_flat_map(|grants| (Just(grants.clone()), Just(grants).prop_shuffle())),
        caller in 0..4_usize,
    ) {
        let sources = ["*", "group:sre", "alice@example.com", "tag:ci", "autogroup:member", "autogroup:tagged"];
        let of = |grants: &[(Vec<usize>, i64, String)]| {
            let grants: Vec<_> = grants.iter().map(|(src, priority, role)| {
                let src: Vec<_> = src.iter().map(|source| format!("{:?}", sources[*source])).collect();
                format!(r#"{{"src": [{}], "dst": ["tag:tka"], "app": {{"specht-labs.de/cap/tka": [{{"role": "{role}", "period": "1h", "priority": {priority}}}]}}}}"#, src.join(","))
            }).collect();
            let text = format!(r#"{{"groups": {{"group:sre": ["bob@example.com", "alice@example.com"]}}, "tagOwners": {{"tag:ci": [], "tag:tka": []}}, "grants": [{}]}}"#, grants.join(","));
            let caller = [user("alice@example.com"), user("bob@example.com"), user("carol@example.com"), Node::tagged(["tag:ci"])][caller].clone();
            let answer = policy(&text, Dialect::Headscale).who(&caller, &Node::tagged(["tag:tka"]), minute());
            (answer.rules.into_iter().map(|rule| rule.what).collect::<Vec<_>>(), answer.taken, answer.perhaps.len())
        };
        let (listed, shuffled) = grants;
        let first = of(&listed);
        prop_assert_eq!(first.2, 0);
        prop_assert_eq!(first, of(&shuffled));
    }
}
