//! Fuzz targets: what the tailnet policy says and what people and devices are called, byte by byte. `cargo xtask fuzz` runs these and those of the other crates for long.

use std::collections::HashMap;

use bolero::check;

use crate::names::is_dns_label;
use crate::{
    ApplicableRules, Approval, Caller, Device, Identity, Period, Rule, RuleSelector, Scope, SessionLabel, SessionName,
};

/// Lines are values of the capability.
#[test]
fn rules() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let values: Vec<&str> = text.lines().collect();
        let Ok(rules) = ApplicableRules::parse(values.iter().copied()) else {
            return;
        };
        let reversed = ApplicableRules::parse(values.into_iter().rev());
        assert_eq!(reversed.as_ref(), Ok(&rules), "the order decides something");
        if let Ok(chosen) = rules.choose(&RuleSelector::default()) {
            assert!(rules.contains(&chosen.key()));
            assert!(rules.rules().iter().all(|rule| rule.priority <= chosen.priority));
        }
    });
}

/// A value of the capability: each of its fields can but restrict. `cases.md 4`.
#[test]
fn rule() {
    check!().for_each(|bytes: &[u8]| {
        if let Ok(text) = std::str::from_utf8(bytes) {
            restricts(text);
        }
    });
}

/// The same, of fields and values that a person might write, so that most of what is made up is nearly a rule.
#[test]
fn written_rule() {
    check!().with_type::<Vec<(u8, u8)>>().for_each(|parts: &Vec<(u8, u8)>| {
        let pick = |from: &[&'static str], at: u8| from[usize::from(at) % from.len()];
        let fields = parts.iter().map(|(key, value)| {
            let value = match value % 2 {
                0 => pick(&BLANK, value / 2),
                _ => pick(&VALUES, value / 2),
            };
            format!("\"{}\":{value}", pick(&KEYS, *key))
        });
        let fields: Vec<String> = fields.collect();
        for start in ["", r#""role":"edit","period":"8h""#] {
            let separator = if start.is_empty() || fields.is_empty() { "" } else { "," };
            restricts(&format!("{{{start}{separator}{}}}", fields.join(",")));
        }
    });
}

const KEYS: [&str; 20] = [
    "role",
    "period",
    "priority",
    "namespaces",
    "name",
    "require_reason",
    "max_sessions",
    "Namespaces",
    "NAMESPACES",
    "namespace",
    "n\\u0061mespaces",
    "access",
    "Access",
    "recording",
    "Recording",
    "sign_in",
    "idle",
    "approval",
    "Approval",
    "break_glass",
];
const BLANK: [&str; 6] = ["null", "[]", "{}", "\"\"", "[null]", "false"];
const VALUES: [&str; 21] = [
    r#""required""#,
    r#""best_effort""#,
    r#""gateway""#,
    r#""direct""#,
    r#""on_use""#,
    r#""edit""#,
    r#""8h""#,
    "1",
    "0",
    "true",
    r#"["dev"]"#,
    r#"["dev","ops"]"#,
    r#"["Dev"]"#,
    r#"{"dev":true}"#,
    r#""dev""#,
    r#"{"count":2}"#,
    r#"{"count":2,"within":"1h","machines":true}"#,
    r#"{"count":null}"#,
    r#"{"within":"1h"}"#,
    r#"{"Count":3}"#,
    r#"[2,"1h",true]"#,
];

/// A rule that is read gives no more than it would without any one of its fields. It gives the whole cluster only where no field looks like
/// `namespaces`.
fn restricts(text: &str) {
    let Ok(rule) = Rule::parse(text) else { return };
    let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).unwrap();
    assert!(fields.values().all(|value| !value.is_null()), "{text}");
    let mut keys = fields.keys();
    let named = keys.any(|key| key.trim().to_lowercase().starts_with("namespace"));
    assert_eq!(named, rule.scope != Scope::Cluster, "{text}");
    for field in fields.keys() {
        let mut fewer = fields.clone();
        fewer.remove(field);
        match Rule::parse(&serde_json::to_string(&fewer).unwrap()) {
            Ok(wider) => assert!(gives_no_more(&rule, &wider), "{text} without {field}"),
            Err(_) => assert!(["role", "period"].contains(&field.as_str()), "{text} without {field}"),
        }
    }
}

/// Whether `rule` asks for as many approvals as `wider`, in as little time, and from people where that does.
fn asks_as_much(rule: &Rule, wider: &Rule) -> bool {
    let Some(asked) = &wider.approval else { return true };
    let strict =
        |one: &Approval| one.count >= asked.count && one.within <= asked.within && one.machines <= asked.machines;
    rule.approval.as_ref().is_some_and(strict)
}

fn gives_no_more(rule: &Rule, wider: &Rule) -> bool {
    let limit = |rule: &Rule| rule.max_sessions.map_or(u32::MAX, std::num::NonZeroU32::get);
    let idle = |rule: &Rule| rule.idle.map_or(std::time::Duration::MAX, Period::duration);
    wider.scope.covers(&rule.scope)
        && (&rule.role, rule.period) == (&wider.role, wider.period)
        && rule.require_reason >= wider.require_reason
        && limit(rule) <= limit(wider)
        && idle(rule) <= idle(wider)
        && rule.access.has_tokens() <= wider.access.has_tokens()
        && rule.access.has_gateway() <= wider.access.has_gateway()
        && rule.recording >= wider.recording
        && rule.break_glass >= wider.break_glass
        && asks_as_much(rule, wider)
}

/// What an approval says restricts, field by field: nothing of it is read as less than it says.
#[test]
fn approval_restricts() {
    check!()
        .with_type::<(u8, u8, u8)>()
        .for_each(|(count, within, machines): &(u8, u8, u8)| {
            let fields = [
                ("count", ["2", "20", "1", "null", "0"][usize::from(count % 5)]),
                (
                    "within",
                    [r#""10m""#, r#""1h""#, "null", "\"\"", "0"][usize::from(within % 5)],
                ),
                (
                    "machines",
                    ["true", "false", "null", "[]", "1"][usize::from(machines % 5)],
                ),
            ];
            let text = |fields: &[(&str, &str)]| {
                let fields: Vec<_> = fields
                    .iter()
                    .map(|(name, value)| format!("\"{name}\":{value}"))
                    .collect();
                format!(r#"{{"role":"edit","period":"8h","approval":{{{}}}}}"#, fields.join(","))
            };
            let Ok(rule) = Rule::parse(&text(&fields)) else { return };
            let whole = rule.approval.as_ref().unwrap();
            assert!(fields.iter().all(|(_, value)| *value != "null"), "{fields:?}");
            for left_out in 0..fields.len() {
                let fewer: Vec<_> = fields
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| *at != left_out)
                    .map(|(_, field)| *field)
                    .collect();
                let Ok(wider) = Rule::parse(&text(&fewer)) else {
                    continue;
                };
                let approval = wider.approval.as_ref().unwrap();
                assert!(whole.count >= approval.count, "{fields:?}");
                assert!(whole.machines >= approval.machines, "{fields:?}");
            }
        });
}

#[test]
fn period() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(period) = text.parse::<Period>() {
            assert_eq!(period.to_string().parse(), Ok(period));
        }
    });
}

/// Lines are login names, and what else goes into a session's name. Every one is a name that Kubernetes takes, and no two are the same.
#[test]
fn names() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let mut named = HashMap::new();
        for line in text.lines() {
            let mut parts = line.splitn(3, '\t').map(ToOwned::to_owned);
            let (login_name, stable_id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let label = parts.next().and_then(|label| SessionLabel::try_from(label).ok());
            let key = (login_name.clone(), stable_id.clone(), label.clone());
            let name = name(login_name, stable_id, label.as_ref());
            assert!(is_dns_label(name.as_str()), "{name}");
            let other = named.insert(name, key.clone());
            assert!(other.is_none_or(|other| other == key));
        }
    });
}

fn name(login_name: String, stable_id: String, label: Option<&SessionLabel>) -> SessionName {
    let caller = Caller {
        identity: Identity::user(1, login_name),
        device: Device::new(stable_id, ""),
    };
    let rule = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
    SessionName::new(&caller, &rule.key(), label)
}
