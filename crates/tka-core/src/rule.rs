//! One value of the capability: a role, for how long, with what priority.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;

use serde::Deserialize;
use thiserror::Error;

use crate::Period;
use crate::session::Digest;

/// The name of a ClusterRole.
///
/// RBAC names are [path segment names](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names):
/// colons and capitals are fine, slashes are not.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct RoleName(String);

/// A namespace: a DNS label
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct Namespace(String);

/// The name by which a caller chooses a rule: a DNS label, such as `oncall`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct RuleName(String);

/// What a rule of the tailnet policy gives: a role for a time, and on what conditions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The ClusterRole.
    pub role: RoleName,
    /// How long a session lasts at the most.
    pub period: Period,
    /// Of several rules the one with the highest priority is taken. 0 when the policy does not say.
    pub priority: i64,
    /// Where the role holds; the whole cluster when empty.
    pub namespaces: BTreeSet<Namespace>,
    /// What a caller chooses it by.
    pub name: Option<RuleName>,
    /// Whether a caller must say what the access is for.
    pub require_reason: bool,
    /// How many sessions a caller may have through it at a time.
    pub max_sessions: Option<NonZeroU32>,
}

/// What makes a rule the same rule although its period, priority or conditions changed: its name, and what it gives access to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleKey {
    /// The ClusterRole.
    pub role: RoleName,
    /// Where it holds; the whole cluster when empty.
    pub namespaces: BTreeSet<Namespace>,
    /// The rule's name.
    pub name: Option<RuleName>,
}

/// A rule as the policy writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    role: RoleName,
    period: Period,
    #[serde(default)]
    priority: i64,
    namespaces: Option<BTreeSet<Namespace>>,
    name: Option<RuleName>,
    #[serde(default)]
    require_reason: bool,
    max_sessions: Option<NonZeroU32>,
}

/// Why a value of the capability is no rule.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{value} is not a rule: {why}")]
pub struct RuleError {
    /// The value, shortened.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}

/// Why a text is no name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} cannot be the name of a {kind}")]
pub struct NameError {
    /// What it should have named.
    pub kind: &'static str,
    /// The text, shortened.
    pub text: String,
}

/// How many namespaces a rule may name. A `TkaSignin` holds no more, and each is a binding to make before anybody is in.
pub const MAX_NAMESPACES: usize = 100;
/// How much of a bad value an error shows.
const SHOWN_CHARACTERS: usize = 120;
/// The API server's limit for the name of an RBAC object.
const ROLE_NAME_BYTES: usize = 253;

// === impl Rule ===

impl Rule {
    /// Reads one value of the capability.
    ///
    /// A field that is not known refuses the rule: a misspelt restriction must not widen access.
    pub fn parse(value: &str) -> Result<Self, RuleError> {
        let refuse = |why: String| RuleError {
            value: shorten(value),
            why,
        };
        // serde takes an array for an object whose fields it lists in their order, which no rule was meant to be.
        if !value.trim_ascii_start().starts_with('{') {
            return Err(refuse("it is not an object of fields".into()));
        }
        let written: Written =
            serde_json::from_str(value).map_err(|error| refuse(without_position(&error.to_string())))?;
        // Without the field a role holds everywhere; an empty list was meant to say something else.
        if written.namespaces.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(refuse(
                "`namespaces` is empty: leave it out for the whole cluster, or name at least one".into(),
            ));
        }
        if written
            .namespaces
            .as_ref()
            .is_some_and(|all| all.len() > MAX_NAMESPACES)
        {
            return Err(refuse(format!("`namespaces` names more than {MAX_NAMESPACES}")));
        }
        Ok(Self {
            role: written.role,
            period: written.period,
            priority: written.priority,
            namespaces: written.namespaces.unwrap_or_default(),
            name: written.name,
            require_reason: written.require_reason,
            max_sessions: written.max_sessions,
        })
    }

    /// What identifies this rule among the rules of the policy.
    #[must_use]
    pub fn key(&self) -> RuleKey {
        RuleKey {
            role: self.role.clone(),
            namespaces: self.namespaces.clone(),
            name: self.name.clone(),
        }
    }
}

/// The beginning of a text from outside, for people to recognise it by: somebody may send a very long one.
#[must_use]
pub fn shorten(value: &str) -> String {
    shorten_to(value, SHOWN_CHARACTERS)
}

/// The same, so many characters of it.
#[must_use]
pub fn shorten_to(value: &str, characters: usize) -> String {
    match value.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.into(),
    }
}

/// The value reaches us as compact JSON on one line: a line and column say nothing to whoever wrote the policy.
fn without_position(error: &str) -> String {
    match error.rfind(" at line ") {
        Some(end) => error[..end].into(),
        None => error.into(),
    }
}

// === impl RuleKey ===

impl RuleKey {
    pub(crate) fn write_to(&self, digest: &mut Digest) {
        digest.field(self.role.as_str());
        digest.field(&self.namespaces.len().to_string());
        for namespace in &self.namespaces {
            digest.field(namespace.as_str());
        }
        digest.field(self.name.as_ref().map_or("", RuleName::as_str));
    }
}

// === impl RoleName ===

impl RoleName {
    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoleName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let refused = text.is_empty()
            || text.len() > ROLE_NAME_BYTES
            || text == "."
            || text == ".."
            || text.contains(['/', '%'])
            || text.chars().any(char::is_control);
        if refused {
            return Err(NameError {
                kind: "ClusterRole",
                text: shorten(&text),
            });
        }
        Ok(Self(text))
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Namespace, RuleName ===

/// A type whose values are DNS labels.
macro_rules! dns_label {
    ($type:ident, $kind:literal) => {
        impl $type {
            /// The name's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                if is_dns_label(&text) {
                    return Ok(Self(text));
                }
                Err(NameError {
                    kind: $kind,
                    text: shorten(&text),
                })
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

dns_label!(Namespace, "namespace");
dns_label!(RuleName, "rule");

/// RFC 1123, as Kubernetes checks it.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn why(value: &str) -> String {
        Rule::parse(value).unwrap_err().why
    }

    #[test]
    fn reads_the_contracts_rule() {
        let rule = Rule::parse(r#"{"role": "cluster-admin", "period": "8h", "priority": 100}"#).unwrap();
        assert_eq!(
            (rule.role.as_str(), rule.period.to_string().as_str(), rule.priority),
            ("cluster-admin", "8h0m0s", 100)
        );
    }

    #[test]
    fn priority_may_be_absent() {
        assert_eq!(Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap().priority, 0);
    }

    #[test]
    fn unknown_field_refuses() {
        assert!(why(r#"["view", "1h"]"#).contains("not an object"));
        assert!(why(r#"{"role": "view", "role": "edit", "period": "1h"}"#).contains("duplicate field"));
        assert!(why(r#"{"role": "view", "period": "1h", "namspaces": ["dev"]}"#).contains("unknown field `namspaces`"));
    }

    #[test]
    fn says_what_is_wrong() {
        assert!(why(r#"{"period": "1h"}"#).contains("missing field `role`"));
        assert!(why(r#"{"role": "view"}"#).contains("missing field `period`"));
        assert!(why(r#"{"role": "view", "period": "soon"}"#).contains("\"soon\" is not a duration"));
        assert!(why(r#"{"role": "", "period": "1h"}"#).contains("cannot be the name of a ClusterRole"));
        assert!(why(r#"{"role": "a/b", "period": "1h"}"#).contains("cannot be the name of a ClusterRole"));
        assert!(why(r#"{"role": "view", "period": "1h", "priority": 1e400}"#).contains("number out of range"));
        assert!(why(r#"{"role": "view", "role": "edit", "period": "1h"}"#).contains("duplicate field `role`"));
        assert!(why("\"view\"").contains("not an object"));
        assert!(!why("\"view\"").contains("line 1"));
        let with = |field: &str| why(&format!(r#"{{"role": "view", "period": "1h", {field}}}"#));
        assert!(with(r#""namespaces": []"#).contains("`namespaces` is empty"));
        assert!(with(r#""namespaces": ["Dev"]"#).contains("\"Dev\" cannot be the name of a namespace"));
        assert!(with(r#""namespaces": "dev""#).contains("invalid type"));
        let many = |count: usize| {
            let names: Vec<_> = (0..count).map(|n| format!("\"ns-{n}\"")).collect();
            format!(
                r#"{{"role": "view", "period": "1h", "namespaces": [{}]}}"#,
                names.join(",")
            )
        };
        assert!(Rule::parse(&many(MAX_NAMESPACES)).is_ok());
        assert!(why(&many(MAX_NAMESPACES + 1)).contains("more than 100"));
        assert!(with(r#""name": "on call""#).contains("cannot be the name of a rule"));
        assert!(with(r#""max_sessions": 0"#).contains("nonzero"));
        assert!(with(r#""require_reason": "yes""#).contains("expected a boolean"));
    }

    #[test]
    fn key_stays_when_period_and_priority_change() {
        let a = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
        let b = Rule::parse(r#"{"role": "view", "period": "2h", "priority": 7}"#).unwrap();
        let c = Rule::parse(r#"{"role": "edit", "period": "1h"}"#).unwrap();
        assert_eq!(a.key(), b.key());
        assert_ne!(a.key(), c.key());
    }

    #[test]
    fn name_and_namespaces_make_another_rule() {
        let key = |fields: &str| {
            Rule::parse(&format!(r#"{{"role": "view", "period": "1h"{fields}}}"#))
                .unwrap()
                .key()
        };
        assert_ne!(key(""), key(r#", "namespaces": ["dev"]"#));
        assert_ne!(key(""), key(r#", "name": "oncall""#));
        assert_eq!(
            key(r#", "namespaces": ["dev", "ops"]"#),
            key(r#", "namespaces": ["ops", "dev"]"#)
        );
        assert_eq!(key(""), key(r#", "require_reason": true, "max_sessions": 2"#));
    }

    #[test]
    fn rules_of_the_documentation_are_rules() {
        let document = include_str!("../../../docs/rules.md");
        let policy = document.split("```json").nth(1).unwrap().split("```").next().unwrap();
        let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
        let rules = policy["app"]["specht-labs.de/cap/tka"].as_array().unwrap();
        let rules: Vec<Rule> = rules
            .iter()
            .map(|rule| Rule::parse(&rule.to_string()).unwrap())
            .collect();
        assert!(
            rules
                .iter()
                .any(|rule| rule.max_sessions.is_some() && rule.require_reason)
        );
        assert!(rules.iter().any(|rule| rule.namespaces.len() == 2));
    }

    proptest! {
        #[test]
        fn any_text_is_a_rule_or_refused(value in ".*") {
            if let Err(error) = Rule::parse(&value) {
                prop_assert!(error.value.chars().count() <= SHOWN_CHARACTERS + 1);
            }
        }
    }
}
