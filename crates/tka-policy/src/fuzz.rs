//! Fuzz targets: policies and expectations, byte by byte. `cargo xtask fuzz` runs them for long.

use bolero::check;

use crate::{Capabilities, Dialect, Expectations, Node, Options, Policy, hujson};

/// A policy is read or refused, and what is said of it is within its text.
#[test]
fn policy() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        for dialect in [Dialect::Tailscale, Dialect::Headscale] {
            let policy = match Policy::parse(text, dialect, &Capabilities::of("c")) {
                Ok(policy) => policy,
                Err(error) => {
                    assert!(error.at <= text.len());
                    continue;
                }
            };
            let lines = text.lines().count().max(1) + 1;
            let findings = policy.check(text, &Options::default());
            assert!(findings.items.iter().all(|finding| finding.position.line <= lines));
            let answer = policy.who(&Node::of_user("a@b"), &Node::tagged(["tag:t"]), "1m".parse().unwrap());
            assert!(answer.rules.len() <= policy.values());
        }
    });
}

/// What is read as `HuJSON` is the same once its comments and last commas are gone, and is JSON.
#[test]
fn json() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let Ok(value) = hujson::parse(text) else { return };
        let compact = hujson::compact(text, &value);
        assert!(
            serde_json::from_str::<serde::de::IgnoredAny>(&compact).is_ok() || compact.len() > 128,
            "{compact}"
        );
        let again = hujson::parse(&compact).map(|value| hujson::compact(&compact, &value));
        assert_eq!(again.as_ref(), Ok(&compact));
    });
}

/// The file beside a policy.
#[test]
fn expectations() {
    let policy = Policy::parse("{}", Dialect::Tailscale, &Capabilities::default()).unwrap();
    check!().for_each(move |bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(expectations) = Expectations::parse(text) {
            let outcomes = expectations.test(&policy, Some(&Node::tagged(["tag:t"])), "1m".parse().unwrap());
            assert!(outcomes.is_err() || outcomes.is_ok_and(|outcomes| !outcomes.is_empty()));
        }
    });
}
