//! What is wrong with a policy.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions, this also in what they call"
)]

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tka_policy::{Capabilities, Dialect, Findings, Kind, Level, Node, Options, Policy, Roles};

/// What any of these may take in a build without optimisation on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

fn options() -> Options {
    let roles = Roles {
        anywhere: ["view".to_owned()].into(),
        in_namespaces: [("edit".to_owned(), ["shop".to_owned()].into())].into(),
    };
    Options {
        server: None,
        min_period: Some("1m".parse().unwrap()),
        roles: Some(roles),
    }
}

fn checked_with(text: &str, dialect: Dialect, options: &Options) -> Findings {
    Policy::parse(text, dialect, &Capabilities::default())
        .unwrap()
        .check(text, options)
}

fn checked(text: &str, dialect: Dialect) -> Findings {
    checked_with(text, dialect, &options())
}

/// A policy with these values for all members, the first of them at line 2, column 1.
fn with_values(values: &str) -> String {
    format!(
        "{{\"tagOwners\": {{\"tag:tka\": []}}, \"grants\": [{{\"src\": [\"autogroup:member\"], \"dst\": [\"tag:tka\"], \"app\": {{\"specht-labs.de/cap/tka\": [\n{values}]}}}}]}}"
    )
}

fn listed(findings: &Findings) -> Vec<(Kind, usize, usize)> {
    findings
        .items
        .iter()
        .map(|finding| (finding.kind, finding.position.line, finding.position.column))
        .collect()
}

#[test]
fn what_the_server_would_refuse_is_found_in_its_words_and_place() {
    for (value, kind, column, words) in [
        (
            r#"{"role": "view", "period": "1h", "namespace": ["a"]}"#,
            Kind::MalformedRule,
            34,
            "is not a rule: unknown field `namespace`",
        ),
        (
            r#"{"role": "view", "period": "soon"}"#,
            Kind::MalformedRule,
            18,
            "\"soon\" is not a duration",
        ),
        (
            r#"{"role": "view", "period": "1h", "access": ["gateway"]}"#,
            Kind::MalformedRule,
            34,
            "`access`: the expected value is a text",
        ),
        (
            r#"{"role": "view", "period": "1h", "namespaces": ["dev", "Dev"]}"#,
            Kind::MalformedRule,
            34,
            "`namespaces[1]`: \"Dev\" cannot be the name of a namespace",
        ),
        (
            r#"{"role": " ", "period": "1h"}"#,
            Kind::MalformedRule,
            2,
            "`role`: \" \" cannot be the name of a ClusterRole",
        ),
        (
            r#"{"role": "view", "period": "1h", "idle": null}"#,
            Kind::MalformedRule,
            34,
            "`idle` is null",
        ),
        (r#""view""#, Kind::MalformedRule, 1, "not an object"),
        (
            r#"{"role": "view", "period": "59s"}"#,
            Kind::PeriodTooShort,
            18,
            "shorter than the minimum of this server, 1m0s",
        ),
        (
            r#"{"role": "admin", "period": "1h"}"#,
            Kind::RoleNotListed,
            2,
            "neither in `roles`",
        ),
        (
            r#"{"role": "edit", "period": "1h"}"#,
            Kind::RoleNotListed,
            2,
            "the rule names none",
        ),
        (
            r#"{"role": "edit", "period": "1h", "namespaces": ["shop", "web"]}"#,
            Kind::RoleNotListed,
            2,
            "for the namespaces web",
        ),
    ] {
        let findings = checked(&with_values(value), Dialect::Headscale);
        assert_eq!(listed(&findings), [(kind, 2, column)], "{value}: {findings:?}");
        let finding = &findings.items[0];
        assert!(
            finding.message.contains(words) && finding.level == Level::Error,
            "{finding:?}"
        );
    }
    for value in [
        r#"{"role": "view", "period": "1m"}"#,
        r#"{"role": "edit", "period": "1h", "namespaces": ["shop"]}"#,
    ] {
        assert_eq!(listed(&checked(&with_values(value), Dialect::Headscale)), []);
    }
}

#[test]
fn field_that_is_there_twice_is_found_where_it_is_again() {
    let value = r#"{"role": "view", "period": "1h", "role": "edit"}"#;
    for dialect in [Dialect::Tailscale, Dialect::Headscale] {
        let findings = checked(&with_values(value), dialect);
        assert_eq!(
            listed(&findings),
            [(Kind::DuplicateKey, 2, 34), (Kind::MalformedRule, 2, 34)]
        );
    }
    let findings = checked(r#"{"grants": [], "grants": []}"#, Dialect::Tailscale);
    assert_eq!(listed(&findings), [(Kind::DuplicateKey, 1, 16)]);
}

#[test]
fn oversight_that_cannot_be_read_is_found() {
    let text = with_values("")
        .replace("cap/tka\"", "cap/tka-oversight\"")
        .replace('\n', "\n{\"recording\": true}");
    let findings = checked(&text, Dialect::Tailscale);
    assert_eq!(listed(&findings), [(Kind::MalformedOversight, 2, 2)]);
    assert!(
        findings.items[0]
            .message
            .contains("is no oversight: unknown field `recording`")
    );
}

/// A policy of one grant, and what is found in it by both dialects.
#[test]
fn names_that_the_policy_does_not_have() {
    let rules = r#""app": {"specht-labs.de/cap/tka": [{"role": "view", "period": "1h"}]}"#;
    for (src, dst, kinds) in [
        ("group:gone", "tag:tka", vec![Kind::Unreachable, Kind::UnknownName]),
        ("tag:gone", "tag:tka", vec![Kind::Unreachable, Kind::UnknownName]),
        ("gone", "tag:tka", vec![Kind::Unreachable, Kind::UnknownName]),
        ("group:none", "tag:tka", vec![Kind::Unreachable]),
        ("10.0.0.0/8", "tag:tka", vec![Kind::Unreachable]),
        ("autogroup:nonroot", "tag:tka", vec![Kind::UnknownName]),
        (
            "autogroup:internet",
            "tag:tka",
            vec![Kind::Unreachable, Kind::UnknownName],
        ),
        ("group:sre", "tag:web", vec![Kind::NotAServer]),
        ("group:sre", "0.0.0.0/0", vec![Kind::UnknownName]),
        (
            "group:sre",
            "autogroup:internet",
            vec![Kind::NotAServer, Kind::UnknownName],
        ),
        ("group:sre", "tag:tka", vec![]),
        ("alice@example.com", "*", vec![]),
    ] {
        for dialect in [Dialect::Tailscale, Dialect::Headscale] {
            let text = format!(
                r#"{{"groups": {{"group:sre": ["alice@example.com"], "group:none": []}}, "tagOwners": {{"tag:tka": [], "tag:web": []}},
                    "grants": [{{"src": ["{src}"], "dst": ["{dst}"], {rules}}}]}}"#
            );
            let options = Options {
                server: Some(Node::tagged(["tag:tka"])),
                ..options()
            };
            let findings = checked_with(&text, dialect, &options);
            let mut found: Vec<_> = findings.items.iter().map(|finding| finding.kind).collect();
            found.sort();
            let mut expected = kinds.clone();
            expected.sort();
            assert_eq!(found, expected, "{src} to {dst} at {dialect}: {findings:?}");
        }
    }
}

/// Parts that one control server takes and the other does not.
#[test]
fn what_only_tailscale_has_is_refused_by_headscale() {
    for part in [
        r#""ipsets": {"ipset:a": ["10.0.0.0/8"]}"#,
        r#""postures": {"posture:a": ["node:os == 'linux'"]}"#,
        r#""defaultSrcPosture": ["posture:a"]"#,
        r#""grants": [{"src": ["*"], "dst": ["*"], "ip": ["*"], "srcPosture": ["posture:a"]}]"#,
        r#""grants": [{"src": ["autogroup:admin"], "dst": ["*"], "ip": ["*"]}]"#,
        r#""grants": [{"src": ["*"], "dst": ["svc:db"], "ip": ["*"]}]"#,
        r#""ipsets": {}, "grants": [{"src": ["*"], "dst": ["ipset:a"], "ip": ["*"]}]"#,
        r#""nodeAttrs": [{"target": ["*"], "app": {"example.com/a": [1]}}]"#,
        r#""groups": {"group:a": ["alice"]}"#,
        r#""tagOwners": {"tag:a": ["autogroup:admin"]}"#,
    ] {
        let text = format!("{{{part}}}");
        assert!(checked(&text, Dialect::Headscale).errors > 0, "{text}");
        let is_defined = !part.contains("\"dst\": [\"ipset");
        assert_eq!(checked(&text, Dialect::Tailscale).errors == 0, is_defined, "{text}");
    }
    let unknown = r#"{"grant": []}"#;
    assert_eq!(checked(unknown, Dialect::Headscale).errors, 1);
    assert_eq!(checked(unknown, Dialect::Tailscale).warnings, 1);
}

#[test]
fn a_value_in_node_attributes_gives_nothing() {
    let text = r#"{"nodeAttrs": [{"target": ["*"], "app": {"specht-labs.de/cap/tka": [{"role": "view"}]}}]}"#;
    let kinds: Vec<_> = checked(text, Dialect::Tailscale)
        .items
        .iter()
        .map(|finding| finding.kind)
        .collect();
    assert_eq!(kinds, [Kind::MalformedRule, Kind::NoEffect]);
}

#[test]
fn parts_of_another_shape_are_found_and_passed_over() {
    for (text, line_1) in [
        ("[]", "the policy is a list"),
        (r#"{"groups": []}"#, "`groups` is a list, and must be an object"),
        (r#"{"groups": {"group:a": "alice"}}"#, "must be a list of strings"),
        (r#"{"groups": {"group:a": [1]}}"#, "must be a string"),
        (r#"{"hosts": {"a": "b"}}"#, "no address and no prefix"),
        (r#"{"hosts": {"a": 1}}"#, "must be a string"),
        (r#"{"grants": {}}"#, "must be a list of objects"),
        (r#"{"grants": [1]}"#, "must be an object"),
        (
            r#"{"grants": [{"src": "*", "dst": ["*"], "ip": ["*"]}]}"#,
            "`src` is a string",
        ),
        (r#"{"grants": [{"src": ["*"], "dst": ["*"]}]}"#, "can not both be empty"),
        (
            r#"{"grants": [{"src": ["*"], "dst": ["*"], "app": {"specht-labs.de/cap/tka": {}}}]}"#,
            "must be a list of values",
        ),
    ] {
        let findings = checked(text, Dialect::Headscale);
        assert!(
            findings.items.iter().any(|finding| finding.message.contains(line_1)),
            "{text}: {findings:?}"
        );
    }
}

#[test]
fn cycles_are_found_once_and_end() {
    for (section, text) in [
        (
            "group",
            r#"{"groups": {"group:a": ["group:b"], "group:b": ["group:c"], "group:c": ["group:a"]}}"#,
        ),
        ("group", r#"{"groups": {"group:a": ["group:a"]}}"#),
        (
            "IP set",
            r#"{"ipsets": {"ipset:a": ["ipset:b"], "ipset:b": ["remove ipset:a"]}}"#,
        ),
    ] {
        let findings = checked(text, Dialect::Tailscale);
        let cycles: Vec<_> = findings
            .items
            .iter()
            .filter(|finding| finding.kind == Kind::Cycle)
            .collect();
        assert_eq!(cycles.len(), 1, "{findings:?}");
        assert!(cycles[0].message.starts_with(&format!("the {section} ")), "{cycles:?}");
    }
}

fn grants(grants: &[(&str, &str, i64)]) -> String {
    let grants = grants.iter().map(|(src, role, priority)| {
        format!(
            r#"{{"src": ["{src}"], "dst": ["tag:tka"], "app": {{"specht-labs.de/cap/tka": [{{"role": "{role}", "period": "1h", "priority": {priority}}}]}}}}"#
        )
    });
    let grants: Vec<_> = grants.collect();
    format!(
        "{{\"groups\": {{\"group:sre\": [\"alice@example.com\"], \"group:dev\": [\"alice@example.com\", \"bob@example.com\"]}},\n\
         \"tagOwners\": {{\"tag:tka\": [], \"tag:ci\": []}}, \"grants\": [\n{}]}}",
        grants.join(",\n")
    )
}

fn equal_priority(text: &str) -> Vec<(Level, usize, String)> {
    let options = Options {
        roles: None,
        ..options()
    };
    let findings = checked_with(text, Dialect::Tailscale, &options);
    let equal_priority = findings
        .items
        .into_iter()
        .filter(|finding| finding.kind == Kind::EqualPriorities);
    equal_priority
        .map(|finding| (finding.level, finding.position.line, finding.message))
        .collect()
}

#[test]
fn equal_priorities_are_found_where_a_caller_meets_them() {
    let text = grants(&[
        ("group:sre", "edit", 5),
        ("group:dev", "view", 5),
        ("tag:ci", "admin", 5),
    ]);
    let found = equal_priority(&text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, found[0].1), (Level::Error, 3));
    let words = "alice@example.com would be refused: several rules of the tailnet policy reach you with the same priority 5: edit, view";
    assert_eq!(found[0].2, words);
    // A higher one decides, and below it a tie is none.
    let text = grants(&[
        ("group:sre", "edit", 5),
        ("group:dev", "view", 5),
        ("alice@example.com", "admin", 6),
    ]);
    assert_eq!(equal_priority(&text), []);
    // The same rule twice is one.
    assert_eq!(
        equal_priority(&grants(&[("group:sre", "view", 5), ("group:dev", "view", 5)])),
        []
    );
    // No caller is in both.
    assert_eq!(
        equal_priority(&grants(&[("bob@example.com", "edit", 5), ("group:sre", "view", 5)])),
        []
    );
    // A user that the policy does not name, and a device with a tag.
    let all = equal_priority(&grants(&[("autogroup:member", "edit", 5), ("*", "view", 5)]));
    assert!(all.len() == 1 && all[0].0 == Level::Error, "{all:?}");
    let tagged = equal_priority(&grants(&[("tag:ci", "edit", 5), ("autogroup:tagged", "view", 5)]));
    assert!(
        tagged[0].2.starts_with("a device with tag:ci would be refused"),
        "{tagged:?}"
    );
    // Who is an administrator is not in the policy.
    let perhaps = equal_priority(&grants(&[("autogroup:admin", "edit", 5), ("group:sre", "view", 5)]));
    assert!(
        perhaps.len() == 1 && perhaps[0].0 == Level::Warning && perhaps[0].2.contains("may be refused"),
        "{perhaps:?}"
    );
}

#[test]
fn ties_are_looked_for_towards_one_server() {
    let text = grants(&[("group:sre", "edit", 5), ("group:dev", "view", 5)]).replacen(
        "\"tag:tka\"], \"app\"",
        "\"tag:web\"], \"app\"",
        1,
    );
    assert_eq!(equal_priority(&text), []);
}

/// What a policy of many megabytes is made of.
fn large() -> String {
    let mut text = String::from("{\"tagOwners\": {\"tag:tka\": []},\n\"groups\": {\n");
    for group in 0..2000 {
        let _ = write!(text, "\"group:g{group}\": [");
        for user in 0..100 {
            let _ = write!(text, "\"user-{}@example.com\",", group * 37 + user);
        }
        text.push_str("],\n");
    }
    text.push_str("},\n\"grants\": [\n");
    for grant in 0..40_000 {
        let (group, priority) = (grant % 2000, grant % 7);
        let _ = writeln!(
            text,
            "{{\"src\": [\"group:g{group}\"], \"dst\": [\"tag:tka\"], \"app\": {{\"specht-labs.de/cap/tka\": [{{\"role\": \"view\", \"period\": \"1h\", \"priority\": {priority}}}]}}}}, // {grant}"
        );
    }
    text + "]}"
}

#[test]
fn ten_megabytes_are_answered() {
    let text = large();
    assert!(text.len() > 10_000_000, "{}", text.len());
    let begun = Instant::now();
    let policy = Policy::parse(&text, Dialect::Headscale, &Capabilities::default()).unwrap();
    let findings = policy.check(&text, &options());
    let answer = policy.who(
        &Node::of_user("user-40@example.com"),
        &Node::tagged(["tag:tka"]),
        "1m".parse().unwrap(),
    );
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert_eq!((answer.rules.len(), answer.taken.unwrap().priority), (7, 6));
    assert_eq!(listed(&findings), [], "all callers were compared");
}

#[test]
fn repeated_findings_are_told_a_thousand_times() {
    let mut text = String::from("{\"grants\": [");
    for _ in 0..100_000 {
        text.push_str(r#"{"src": ["group:gone"], "dst": ["tag:gone"], "app": {"specht-labs.de/cap/tka": [1]}},"#);
    }
    text.push_str("]}");
    let begun = Instant::now();
    let findings = checked(&text, Dialect::Tailscale);
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert_eq!(findings.items.len(), 1000);
    assert_eq!((findings.errors, findings.warnings), (300_000, 100_000));
    assert_eq!(findings.left_out, 399_000);
}

#[test]
fn long_chains_of_groups_end() {
    let mut text = String::from("{\"groups\": {");
    for group in 0..100_000 {
        let _ = write!(text, "\"group:g{group}\": [\"group:g{}\"],", (group + 1) % 100_000);
    }
    text.push_str("\"group:x\": [\"group:g0\", \"alice@example.com\"]}, \"ipsets\": {");
    for set in 0..100_000 {
        let _ = write!(
            text,
            "\"ipset:s{set}\": [\"ipset:s{0}\", \"remove ipset:s{0}\"],",
            (set + 1) % 100_000
        );
    }
    text.push_str(r#"}, "tagOwners": {"tag:tka": []}, "grants": [{"src": ["group:g5", "ipset:s7"], "dst": ["tag:tka"], "app": {"specht-labs.de/cap/tka": [{"role": "view", "period": "1h"}]}}]}"#);
    let begun = Instant::now();
    let policy = Policy::parse(&text, Dialect::Tailscale, &Capabilities::default()).unwrap();
    let findings = policy.check(&text, &options());
    let mut alice = Node::of_user("alice@example.com");
    alice.addresses.push("100.64.0.1".parse().unwrap());
    let answer = policy.who(&alice, &Node::tagged(["tag:tka"]), "1m".parse().unwrap());
    assert!(begun.elapsed() < LIMIT, "{:?}", begun.elapsed());
    assert!(findings.errors > 0 && answer.rules.is_empty());
}
