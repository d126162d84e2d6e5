//! Expectations beside a policy.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, this also in what they call"
)]

use tka_policy::{Capabilities, Dialect, Expectations, Node, Policy};

const POLICY: &str = r#"{
  "groups": {"group:sre": ["alice@example.com"]},
  "tagOwners": {"tag:tka": ["autogroup:admin"], "tag:ci": ["group:sre"]},
  "grants": [
    {"src": ["autogroup:member"], "dst": ["tag:tka"], "app": {"specht-labs.de/cap/tka": [{"role": "view", "period": "8h"}]}},
    {"src": ["group:sre"], "dst": ["tag:tka"], "app": {
      "specht-labs.de/cap/tka": [{"role": "edit", "period": "2h", "namespaces": ["shop", "web"], "priority": 5}],
      "specht-labs.de/cap/tka-oversight": [{"recordings": true, "approve": ["oncall"]}]}},
    {"src": ["autogroup:admin"], "dst": ["tag:tka"], "app": {"specht-labs.de/cap/tka": [{"role": "cluster-admin", "period": "1h", "name": "oncall", "priority": -1}]}},
  ],
}"#;

fn failures(test: &str) -> Vec<String> {
    let file = format!("to: [tag:tka]\ntests:\n- {}\n", test.replace('\n', "\n  "));
    let policy = Policy::parse(POLICY, Dialect::Tailscale, &Capabilities::default()).unwrap();
    let expectations = Expectations::parse(&file).unwrap();
    let outcomes = expectations.test(&policy, None, "1m".parse().unwrap()).unwrap();
    assert_eq!((outcomes[0].position.line, outcomes[0].position.column), (3, 3));
    outcomes.into_iter().flat_map(|outcome| outcome.failures).collect()
}

#[test]
fn what_is_as_expected_passes() {
    for test in [
        "as: alice@example.com\nmay: [{role: view}, {role: edit, namespaces: [shop]}, {role: edit, for: 2h}]",
        "as: alice@example.com\ntakes: {role: edit, namespaces: [web]}\noversight: {recordings: true, audit: false, sessions: none, approve: [oncall]}",
        "as: alice@example.com\nmay_not: [{role: edit, namespaces: [kube-system]}, {role: edit, whole_cluster: true}, {role: edit, for: 3h}]",
        "as: carol@example.com\nmay: [{role: view, whole_cluster: true, namespaces: [any]}]\nmay_not: [{role: edit}]\noversight: {recordings: false}",
        "as: carol@example.com\nin: ['autogroup:admin']\nmay: [{name: oncall}]\ntakes: {role: view}",
        "tags: ['tag:ci']\nnothing: true",
    ] {
        assert_eq!(failures(test), Vec::<String>::new(), "{test}");
    }
}

#[test]
fn what_is_not_as_expected_says_so() {
    for (test, words) in [
        ("as: carol@example.com\nmay: [{role: edit}]", "may not have edit"),
        (
            "as: alice@example.com\nmay: [{role: edit, whole_cluster: true}]",
            "may not have edit in the whole cluster",
        ),
        (
            "as: alice@example.com\nmay_not: [{role: edit, namespaces: [web]}]",
            "may have edit in web: edit in shop and web for 2h0m0s",
        ),
        (
            "as: carol@example.com\nmay_not: [{role: view, namespaces: [web]}]",
            "may have view in web: view in the whole cluster",
        ),
        (
            "as: alice@example.com\ntakes: {role: view}",
            "a sign-in takes edit in shop and web for 2h0m0s, and not view",
        ),
        (
            "as: carol@example.com\nmay: [{name: oncall}]",
            "depends on who is in autogroup:admin",
        ),
        (
            "as: carol@example.com\nmay_not: [{role: cluster-admin}]",
            "depends on who is in autogroup:admin",
        ),
        ("as: carol@example.com\nnothing: true", "has a rule: view"),
        ("tags: ['tag:ci']\ntakes: {role: view}", "a sign-in is refused: no rule"),
        (
            "as: carol@example.com\noversight: {recordings: true}",
            "oversight of recordings is false",
        ),
        (
            "as: alice@example.com\noversight: {sessions: end}",
            "oversight of sessions is none",
        ),
        (
            "as: alice@example.com\noversight: {approve: []}",
            "may approve [oncall]",
        ),
    ] {
        let found = failures(test);
        assert!(found.len() == 1 && found[0].contains(words), "{test}: {found:?}");
    }
}

#[test]
fn files_that_expect_nothing_or_are_misspelt_are_refused() {
    for (text, words) in [
        ("tests: []", "`tests` is empty"),
        ("tests:\n- as: alice@example.com", "expects nothing"),
        ("tests:\n- may: [{role: view}]", "whose access"),
        ("tests:\n- as: a@b\n  may: [{namespaces: [shop]}]", "without `role`"),
        ("tests:\n- as: a@b\n  mai: [{role: view}]", "mai"),
        ("tests:\n- as: a@b\n  may: [{role: view, namespaces: []}]", ""),
        ("test: []", ""),
        ("", ""),
    ] {
        let error = Expectations::parse(text).unwrap_err();
        let cause = std::error::Error::source(&error)
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(format!("{error} {cause}").contains(words), "{text}: {error} {cause}");
    }
    let policy = Policy::parse(POLICY, Dialect::Tailscale, &Capabilities::default()).unwrap();
    let test = |text: &str| {
        let expectations = Expectations::parse(text).unwrap();
        expectations
            .test(&policy, None, "1m".parse().unwrap())
            .map_err(|error| error.to_string())
    };
    assert!(
        test("tests:\n- as: a@b\n  nothing: true")
            .unwrap_err()
            .contains("what the server's node is")
    );
    assert!(
        test("to: [laptop]\ntests:\n- as: a@b\n  nothing: true")
            .unwrap_err()
            .contains("no host of the policy")
    );
    assert!(
        test("to: ['tag:tka']\ntests:\n- as: a@b\n  tags: ['tag:ci']\n  nothing: true")
            .unwrap_err()
            .contains("line 3: a node is a user's")
    );
}

#[test]
fn a_policy_that_is_refused_gives_nothing() {
    let text = POLICY.replace("\"groups\"", "\"groups\": {}, \"groups\"");
    let policy = Policy::parse(&text, Dialect::Tailscale, &Capabilities::default()).unwrap();
    let expectations = Expectations::parse("tests:\n- as: alice@example.com\n  may: [{role: edit}]").unwrap();
    let outcomes = expectations
        .test(&policy, Some(&Node::tagged(["tag:tka"])), "1m".parse().unwrap())
        .unwrap();
    assert!(outcomes[0].failures[0].contains("would refuse the policy"));
}
