//! One value of the capability: a role, for how long, with what priority.

use std::num::NonZeroU32;

use serde::Deserialize;
use thiserror::Error;

use crate::approval::{self, Approval};
use crate::digest::Digest;
use crate::scope::Namespaces;
use crate::{Period, RoleName, RuleName, Scope, fields, shorten};

/// What a rule of the tailnet policy gives: a role for a time, and on what conditions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// The ClusterRole.
    pub role: RoleName,
    /// How long a session lasts at the most.
    pub period: Period,
    /// Of several rules the one with the highest priority is taken. 0 when the policy does not say.
    pub priority: i64,
    /// Where the role holds.
    pub scope: Scope,
    /// What a caller chooses it by.
    pub name: Option<RuleName>,
    /// Whether a caller must say what the access is for.
    pub require_reason: bool,
    /// How many sessions a caller may have through it at a time.
    pub max_sessions: Option<NonZeroU32>,
    /// By which ways its sessions reach the cluster.
    pub access: Access,
    /// Whether exec and attach through the gateway are recorded.
    pub recording: RecordingMode,
    /// What begins its sessions.
    pub sign_in: SignInMode,
    /// After how long without use its sessions end.
    pub idle: Option<Period>,
    /// Whether others must let a caller in, and how many.
    pub approval: Option<Approval>,
    /// Whether it is for emergencies: a sign-in waits for none, alarms others, and is to be acknowledged by one of them.
    pub break_glass: bool,
}

/// What begins the sessions of a rule.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum SignInMode {
    /// Their caller signs in.
    #[default]
    Asked,
    /// The first request through the gateway does, too.
    OnUse,
}

/// By which ways the sessions of a rule reach the cluster.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Access {
    /// With a token, and through the gateway.
    #[default]
    Any,
    /// Through the gateway alone: no token is ever handed out.
    Gateway,
    /// With a token alone.
    Direct,
}

/// Whether exec and attach through the gateway are recorded. The later ones restrict more.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "snake_case")]
pub enum RecordingMode {
    /// They are not.
    #[default]
    Off,
    /// They are, where that is possible.
    BestEffort,
    /// Nothing is seen that is not in the recording, and what cannot be recorded is refused. Sessions reach the cluster through the gateway alone.
    Required,
}

/// What makes a rule the same rule although its period, priority or conditions changed: its name, and what it gives access to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RuleKey {
    /// The ClusterRole.
    pub role: RoleName,
    /// Where it holds.
    pub scope: Scope,
    /// The rule's name.
    pub name: Option<RuleName>,
}

/// A rule as the policy writes it. [`fields::read`] lets no field through that is there and says nothing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    role: RoleName,
    period: Period,
    #[serde(default)]
    priority: i64,
    namespaces: Option<Namespaces>,
    name: Option<RuleName>,
    #[serde(default)]
    require_reason: bool,
    max_sessions: Option<NonZeroU32>,
    access: Option<Access>,
    #[serde(default)]
    recording: RecordingMode,
    #[serde(default)]
    sign_in: SignInMode,
    idle: Option<Period>,
    approval: Option<approval::RawApproval>,
    #[serde(default)]
    break_glass: bool,
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

// === impl Rule ===

impl Rule {
    /// Reads one value of the capability.
    ///
    /// A field that is not known refuses the rule, and so does one that says nothing, such as `"namespaces": null`. A restriction that is misspelt
    /// or left open must not widen access.
    pub fn parse(value: &str) -> Result<Self, RuleError> {
        let refused = |why| RuleError {
            value: shorten(value),
            why,
        };
        let written: RawRule = fields::read(value).map_err(|error| refused(error.to_string()))?;
        if let Some(why) = written.contradiction() {
            return Err(refused(why.into()));
        }
        let access = written.access();
        let approval = written.approval.map(Approval::try_from).transpose().map_err(refused)?;
        Ok(Self {
            access,
            role: written.role,
            period: written.period,
            priority: written.priority,
            scope: written.namespaces.map_or(Scope::Cluster, Scope::Namespaces),
            name: written.name,
            // An alarm without a reason tells others nothing.
            require_reason: written.require_reason || written.break_glass,
            max_sessions: written.max_sessions,
            recording: written.recording,
            sign_in: written.sign_in,
            idle: written.idle,
            approval,
            break_glass: written.break_glass,
        })
    }

    /// What identifies this rule among the rules of the policy.
    #[must_use]
    pub fn key(&self) -> RuleKey {
        RuleKey {
            role: self.role.clone(),
            scope: self.scope.clone(),
            name: self.name.clone(),
        }
    }

    /// Adds all that it says.
    pub(crate) fn write_to(&self, digest: &mut Digest) {
        self.key().write_to(digest);
        digest.field(&self.period.to_string());
        digest.field(&self.priority.to_string());
        digest.field(&self.max_sessions.map(|max| max.to_string()).unwrap_or_default());
        digest.field(&self.access.to_string());
        digest.field(&self.recording.to_string());
        digest.field(&self.idle.map(|idle| idle.to_string()).unwrap_or_default());
        for flag in [self.require_reason, self.sign_in == SignInMode::OnUse] {
            digest.field(if flag { "true" } else { "" });
        }
        if let Some(approval) = &self.approval {
            approval.write_to(digest);
        }
        // Of other rules nothing is added, so that what was approved through them stays so.
        if self.break_glass {
            digest.field("break_glass");
        }
    }
}

// === impl RawRule ===

impl RawRule {
    /// What of it cannot hold together.
    fn contradiction(&self) -> Option<&'static str> {
        let on_use = self.sign_in == SignInMode::OnUse;
        let direct = self.access == Some(Access::Direct);
        if on_use && self.require_reason {
            return Some("`sign_in: on_use` and `require_reason` contradict each other: a request gives no reason");
        }
        if on_use && self.approval.is_some() {
            return Some("`sign_in: on_use` and `approval` contradict each other: a request cannot wait for others");
        }
        if on_use && self.break_glass {
            return Some("`sign_in: on_use` and `break_glass` contradict each other: a request gives no reason");
        }
        if self.break_glass && self.approval.is_some() {
            return Some("`break_glass` and `approval` contradict each other: an emergency waits for no others");
        }
        if on_use && direct {
            return Some(
                "`sign_in: on_use` and `access: direct` contradict each other: use is a request through the gateway",
            );
        }
        if self.idle.is_some() && direct {
            return Some("`idle` and `access: direct` contradict each other: use is seen by the gateway alone");
        }
        if self.recording == RecordingMode::Required && direct {
            return Some(
                "`recording: required` and `access: direct` contradict each other: what goes directly cannot be recorded",
            );
        }
        None
    }

    /// Use is seen by the gateway alone, and recorded there alone, so that a limit of idleness and required recording leave no other way.
    fn access(&self) -> Access {
        if self.idle.is_some() || self.recording == RecordingMode::Required {
            return Access::Gateway;
        }
        self.access.unwrap_or_default()
    }
}

// === impl Access ===

impl std::fmt::Display for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Any => "any",
            Self::Gateway => "gateway",
            Self::Direct => "direct",
        })
    }
}

impl Access {
    /// Whether a token may be handed out.
    #[must_use]
    pub fn has_tokens(self) -> bool {
        self != Self::Gateway
    }

    /// Whether the gateway carries requests.
    #[must_use]
    pub fn has_gateway(self) -> bool {
        self != Self::Direct
    }
}

// === impl RecordingMode ===

impl std::fmt::Display for RecordingMode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::BestEffort => "best_effort",
            Self::Required => "required",
        })
    }
}

// === impl RuleKey ===

impl RuleKey {
    pub(crate) fn write_to(&self, digest: &mut Digest) {
        digest.field(self.role.as_str());
        self.scope.write_to(digest);
        digest.field(self.name.as_ref().map_or("", RuleName::as_str));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MAX_NAMESPACES;
    use crate::text::SHOWN_CHARACTERS;
    use proptest::prelude::*;
    use serde_json::json;

    fn why(value: &str) -> String {
        Rule::parse(value).unwrap_err().why
    }

    #[test]
    fn reads_the_contracts_rule() {
        let rule = Rule::parse(r#"{"role": "cluster-admin", "period": "8h", "priority": 100}"#).unwrap();
        let texts = [rule.role.to_string(), rule.period.to_string()];
        assert_eq!(texts, ["cluster-admin", "8h0m0s"]);
        assert_eq!(rule.priority, 100);
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
        assert!(with(r#""namespaces": "dev""#).contains("`namespaces`: it takes a list, and not \"dev\""));
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
        assert!(
            with(r#""max_sessions": 0"#)
                .contains("`max_sessions`: it takes a whole number from 1 to 4294967295, and not 0")
        );
        assert!(with(r#""access": ["gateway"]"#).contains("`access`: the expected value is a text"));
        assert!(with(r#""recording": true"#).contains("`recording`: the expected value is a text"));
        assert!(with(r#""idle": 900"#).contains("`idle`: it takes a text, and not 900"));
        assert!(with(r#""approval": {"within": 15}"#).contains("`approval.within`: it takes a text, and not 15"));
        assert!(with(r#""approval": [1]"#).contains("`approval`: it takes an object with"));
        for role in [" ", "view ", "\u{a0}view"] {
            let why = why(&format!(r#"{{"role": "{role}", "period": "1h"}}"#));
            assert!(
                why.contains("`role`: ") && why.contains("cannot be the name of a ClusterRole"),
                "{why}"
            );
        }
        assert!(with(r#""require_reason": "yes""#).contains("it takes true or false"));
    }

    /// `cases.md 4`: what is there and says nothing is refused, whatever field it is, and so is a name in another case.
    #[test]
    fn field_that_says_nothing_is_refused() {
        let full = r#"{"role": "edit", "period": "8h", "priority": 1, "namespaces": ["dev"], "name": "oncall",
            "require_reason": true, "max_sessions": 1, "access": "gateway", "sign_in": "asked", "idle": "15m", "recording": "required",
            "approval": {"count": 2, "within": "10m", "machines": true}}"#;
        assert!(Rule::parse(full).is_ok());
        let full: serde_json::Value = serde_json::from_str(full).unwrap();
        for field in full.as_object().unwrap().keys() {
            for (blank, expected) in [
                (json!(null), "is null"),
                (json!([]), "is empty"),
                (json!({}), "is empty"),
            ] {
                let mut changed = full.clone();
                changed[field] = blank;
                let why = why(&changed.to_string());
                assert!(why.contains(&format!("`{field}` {expected}")), "{changed}");
            }
            for wrong in [
                json!(""),
                json!([""]),
                json!([null]),
                json!({"a": 1}),
                json!(-1.5),
                json!("null"),
            ] {
                let mut changed = full.clone();
                changed[field] = wrong;
                let is_name = field == "name" && changed[field] == "null";
                let is_role = field == "role" && changed[field] == "null";
                let is_read = Rule::parse(&changed.to_string()).is_ok();
                assert_eq!(is_read, is_name || is_role, "{changed}");
            }
            for other in [field.to_uppercase(), format!("{field} "), format!("\u{200b}{field}")] {
                let mut changed = full.clone();
                let value = changed.as_object_mut().unwrap().remove(field).unwrap();
                changed[&other] = value;
                assert!(Rule::parse(&changed.to_string()).is_err(), "{changed}");
            }
        }
    }

    #[test]
    fn required_recording_means_the_gateway() {
        let rule = |fields: &str| Rule::parse(&format!(r#"{{"role": "view", "period": "1h"{fields}}}"#));
        let read = |fields: &str| rule(fields).map(|rule| (rule.access, rule.recording));
        assert_eq!(read(""), Ok((Access::Any, RecordingMode::Off)));
        assert_eq!(read(r#", "recording": "off""#), Ok((Access::Any, RecordingMode::Off)));
        assert_eq!(
            read(r#", "recording": "best_effort", "access": "direct""#),
            Ok((Access::Direct, RecordingMode::BestEffort))
        );
        for access in ["", r#", "access": "any""#, r#", "access": "gateway""#] {
            let read = read(&format!(r#", "recording": "required"{access}"#));
            assert_eq!(read, Ok((Access::Gateway, RecordingMode::Required)), "{access}");
        }
        let direct = rule(r#", "recording": "required", "access": "direct""#).unwrap_err();
        assert!(direct.why.contains("`access: direct`"), "{direct}");
        for wrong in [
            "true",
            "1",
            r#""Required""#,
            r#""required ""#,
            r#""best-effort""#,
            r#""on""#,
            "null",
            "{}",
            "[]",
            r#"["required"]"#,
        ] {
            assert!(rule(&format!(r#", "recording": {wrong}"#)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_that_contradict_each_other_are_refused() {
        let with = |fields: &str| Rule::parse(&format!(r#"{{"role": "view", "period": "1h", {fields}}}"#));
        let on_use = with(r#""sign_in": "on_use""#).unwrap();
        assert_eq!((on_use.sign_in, on_use.access), (SignInMode::OnUse, Access::Any));
        assert_eq!(with(r#""idle": "15m""#).unwrap().access, Access::Gateway);
        assert_eq!(
            with(r#""idle": "15m", "access": "any""#).unwrap().access,
            Access::Gateway
        );
        for (fields, other) in [
            (r#""sign_in": "on_use", "require_reason": true"#, "`require_reason`"),
            (r#""sign_in": "on_use", "access": "direct""#, "`access: direct`"),
            (r#""idle": "15m", "access": "direct""#, "`access: direct`"),
            (r#""sign_in": "on_use", "approval": {"count": 1}"#, "`approval`"),
            (r#""sign_in": "on_use", "break_glass": true"#, "`break_glass`"),
            (r#""break_glass": true, "approval": {"count": 1}"#, "`approval`"),
        ] {
            let why = with(fields).unwrap_err().why;
            assert!(why.contains(other) && why.contains("contradict"), "{why}");
        }
        for fields in [
            r#""sign_in": "on-use""#,
            r#""sign_in": "ON_USE""#,
            r#""idle": "soon""#,
            r#""idle": 900"#,
        ] {
            assert!(with(fields).is_err(), "{fields}");
        }
    }

    #[test]
    fn emergency_asks_for_a_reason() {
        let with = |fields: &str| Rule::parse(&format!(r#"{{"role": "view", "period": "1h"{fields}}}"#));
        let rule = with(r#", "break_glass": true"#).unwrap();
        assert!(rule.break_glass && rule.require_reason);
        let off = with(r#", "break_glass": false"#).unwrap();
        assert_eq!(off, with("").unwrap());
        assert!(!off.break_glass && !off.require_reason);
        assert_eq!(rule.key(), off.key());
        for wrong in ["1", "\"true\"", "null", "[]", "{}", "[true]"] {
            assert!(with(&format!(r#", "break_glass": {wrong}"#)).is_err(), "{wrong}");
        }
        assert!(
            with(r#", "break-glass": true"#)
                .unwrap_err()
                .why
                .contains("unknown field")
        );
    }

    #[test]
    fn approval_is_one_other_within_a_quarter_of_an_hour() {
        let with = |value: &str| Rule::parse(&format!(r#"{{"role": "view", "period": "1h", "approval": {value}}}"#));
        let default = with(r#"{"count": 1}"#).unwrap().approval.unwrap();
        assert_eq!(
            (default.count.get(), default.within.to_string()),
            (1, "15m0s".to_owned())
        );
        assert!(!default.machines);
        assert_eq!(with(r#"{"within": "15m"}"#).unwrap().approval.unwrap(), default);
        for wrong in [
            "true",
            "1",
            "{}",
            "[1]",
            r#"[1, "15m"]"#,
            r#"{"count": 0}"#,
            r#"{"count": -1}"#,
            r#"{"count": 1.5}"#,
            r#"{"count": "1"}"#,
            r#"{"count": 21}"#,
            r#"{"count": null}"#,
            r#"{"Count": 1}"#,
            r#"{"count": 1, "by": "alice"}"#,
            r#"{"within": "0s"}"#,
            r#"{"within": "soon"}"#,
            r#"{"machines": "yes"}"#,
        ] {
            assert!(with(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn key_stays_when_period_and_priority_change() {
        let key = |rule: &str| Rule::parse(rule).unwrap().key();
        let first = key(r#"{"role": "view", "period": "1h"}"#);
        assert_eq!(first, key(r#"{"role": "view", "period": "2h", "priority": 7}"#));
        assert_ne!(first, key(r#"{"role": "edit", "period": "1h"}"#));
    }

    #[test]
    fn name_and_namespaces_make_another_rule() {
        let key = |fields: &str| {
            let rule = Rule::parse(&format!(r#"{{"role": "view", "period": "1h"{fields}}}"#));
            rule.unwrap().key()
        };
        assert_ne!(key(""), key(r#", "namespaces": ["dev"]"#));
        assert_ne!(key(""), key(r#", "name": "oncall""#));
        let both = key(r#", "namespaces": ["dev", "ops"]"#);
        assert_eq!(both, key(r#", "namespaces": ["ops", "dev"]"#));
        assert_eq!(key(""), key(r#", "require_reason": true, "max_sessions": 2"#));
    }

    #[test]
    fn rules_of_the_documentation_are_rules() {
        let document = include_str!("../../../docs/rules.md");
        let policy = document.split("```json").nth(1).unwrap().split("```").next().unwrap();
        let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
        let rules = policy["app"]["specht-labs.de/cap/tka"].as_array().unwrap();
        let read = |rule: &serde_json::Value| Rule::parse(&rule.to_string()).unwrap();
        let rules: Vec<Rule> = rules.iter().map(read).collect();
        let has_both = |rule: &Rule| rule.max_sessions.is_some() && rule.require_reason;
        assert!(rules.iter().any(has_both));
        assert!(rules.iter().any(|rule| rule.scope.namespaces().count() == 2));
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
