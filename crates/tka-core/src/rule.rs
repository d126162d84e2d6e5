//! One value of the capability: a role, for how long, with what priority.

use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use crate::Period;

/// The name of a ClusterRole.
///
/// RBAC names are [path segment names](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names):
/// colons and capitals are fine, slashes are not.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct RoleName(String);

/// What a rule of the tailnet policy gives: a role for a time.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The ClusterRole.
    pub role: RoleName,
    /// How long a session lasts.
    pub period: Period,
    /// Of several rules the one with the highest priority is taken. 0 when the policy does not say.
    #[serde(default)]
    pub priority: i64,
}

/// What makes a rule the same rule although its period or priority changed: what it gives access to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleKey(String);

/// Why a value of the capability is no rule.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{value} is not a rule: {why}")]
pub struct RuleError {
    /// The value, shortened.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}

/// Why a text is no [`RoleName`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{0:?} cannot be the name of a ClusterRole")]
pub struct RoleNameError(String);

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
        serde_json::from_str(value).map_err(|error| RuleError {
            value: shorten(value),
            why: without_position(&error.to_string()),
        })
    }

    /// What identifies this rule among the rules of the policy.
    #[must_use]
    pub fn key(&self) -> RuleKey {
        RuleKey::of_role(&self.role)
    }
}

fn shorten(value: &str) -> String {
    if value.chars().count() <= SHOWN_CHARACTERS {
        return value.into();
    }
    let start: String = value.chars().take(SHOWN_CHARACTERS).collect();
    format!("{start}…")
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
    /// The key of the rule that gives `role` on the whole cluster.
    #[must_use]
    pub fn of_role(role: &RoleName) -> Self {
        Self(format!("role={role}"))
    }

    /// The key's text. It is written into session names by digest only.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
    type Error = RoleNameError;

    fn try_from(text: String) -> Result<Self, RoleNameError> {
        let refused = text.is_empty()
            || text.len() > ROLE_NAME_BYTES
            || text == "."
            || text == ".."
            || text.contains(['/', '%'])
            || text.chars().any(char::is_control);
        if refused {
            return Err(RoleNameError(shorten(&text)));
        }
        Ok(Self(text))
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
        assert!(why("\"view\"").contains("invalid type"));
        assert!(!why("\"view\"").contains("line 1"));
    }

    #[test]
    fn key_stays_when_period_and_priority_change() {
        let a = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
        let b = Rule::parse(r#"{"role": "view", "period": "2h", "priority": 7}"#).unwrap();
        let c = Rule::parse(r#"{"role": "edit", "period": "1h"}"#).unwrap();
        assert_eq!(a.key(), b.key());
        assert_ne!(a.key(), c.key());
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
