//! Oversight: what a second capability gives. It is about what is others': to see their sessions, recordings and records, to end, to approve.
//!
//! No caller has any of it by default, and no rule gives any of it.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use thiserror::Error;

use crate::{Identity, RoleName, RuleKey, RuleName, fields, shorten};

/// What the name of the capability has behind the name of the one whose values are rules.
const SUFFIX: &str = "-oversight";
/// What stands before a role in `approve`.
const ROLE: &str = "role:";

/// What a caller may see, end and approve of what is others'.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Oversight {
    /// What they may do with sessions; nothing when absent.
    pub sessions: Option<SessionOversight>,
    /// Whether they may see recordings.
    pub recordings: bool,
    /// Whether they may see audit records.
    pub audit: bool,
    /// Sign-ins through which rules they may approve.
    pub approve: BTreeSet<ApprovableRules>,
}

/// What a caller may do with others' sessions. The later one gives more.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(rename_all = "lowercase")]
pub enum SessionOversight {
    /// See them.
    Read,
    /// See them, and end them.
    End,
}

/// The rules whose sign-ins a caller may approve.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub enum ApprovableRules {
    /// Those of this name.
    Rule(RuleName),
    /// Those that give this role.
    Role(RoleName),
}

/// A value as the policy writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOversight {
    sessions: Option<SessionOversight>,
    #[serde(default)]
    recordings: bool,
    #[serde(default)]
    audit: bool,
    #[serde(default)]
    approve: BTreeSet<ApprovableRules>,
}

/// Why a value of the capability gives nothing.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{value} is no oversight: {why}")]
pub struct OversightError {
    /// The value, shortened.
    pub value: String,
    /// What is wrong with it.
    pub why: String,
}

/// The name of the capability that gives oversight at a server whose rules are values of `rules`: `specht-labs.de/cap/tka-oversight` beside
/// `specht-labs.de/cap/tka`. So servers that are told apart by their capability are told apart here too.
#[must_use]
pub fn capability(rules: &str) -> String {
    format!("{rules}{SUFFIX}")
}

// === impl Oversight ===

impl Oversight {
    /// What `values` give to a caller with `identity`, and which of them give nothing. Values add up.
    ///
    /// One that cannot be read gives nothing, whatever else is in it: it may say less than was meant. The others stand, because none of them restricts
    /// another. A machine may be counted as an approver where a rule says so, and has no other oversight.
    pub fn parse<'a>(identity: &Identity, values: impl IntoIterator<Item = &'a str>) -> (Self, Vec<OversightError>) {
        let (mut all, mut refused) = (Self::default(), Vec::new());
        for value in values {
            match Self::read(value) {
                Ok(one) => all.add(one),
                Err(error) => refused.push(error),
            }
        }
        match identity {
            Identity::User { .. } => (all, refused),
            Identity::Machine { .. } => (all.of_machine(), refused),
        }
    }

    fn read(value: &str) -> Result<Self, OversightError> {
        let written: RawOversight = fields::read(value).map_err(|error| OversightError {
            value: shorten(value),
            why: error.to_string(),
        })?;
        Ok(Self {
            sessions: written.sessions,
            recordings: written.recordings,
            audit: written.audit,
            approve: written.approve,
        })
    }

    fn add(&mut self, other: Self) {
        self.sessions = self.sessions.max(other.sessions);
        self.recordings |= other.recordings;
        self.audit |= other.audit;
        self.approve.extend(other.approve);
    }

    fn of_machine(self) -> Self {
        Self {
            approve: self.approve,
            ..Self::default()
        }
    }

    /// Whether sign-ins through the rule of that `key` may be approved.
    #[must_use]
    pub fn approves(&self, key: &RuleKey) -> bool {
        self.approve.iter().any(|approves| match approves {
            ApprovableRules::Rule(name) => key.name.as_ref() == Some(name),
            ApprovableRules::Role(name) => key.role == *name,
        })
    }
}

// === impl ApprovableRules ===

impl TryFrom<String> for ApprovableRules {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_prefix(ROLE) {
            Some(role) => RoleName::try_from(role.to_owned())
                .map(Self::Role)
                .map_err(|error| error.to_string()),
            None => RuleName::try_from(text)
                .map(Self::Rule)
                .map_err(|error| error.to_string()),
        }
    }
}

impl fmt::Display for ApprovableRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(name) => write!(f, "{name}"),
            Self::Role(role) => write!(f, "{ROLE}{role}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rule;
    use proptest::prelude::*;

    fn alice() -> Identity {
        Identity::user(1, "alice@example.com")
    }

    fn given(values: &[&str]) -> (Oversight, Vec<String>) {
        let (oversight, refused) = Oversight::parse(&alice(), values.iter().copied());
        (oversight, refused.into_iter().map(|error| error.why).collect())
    }

    #[test]
    fn no_caller_has_any_by_default() {
        assert_eq!(given(&[]), (Oversight::default(), vec![]));
        let nothing = Oversight::default();
        assert!(!nothing.recordings && !nothing.audit && nothing.sessions.is_none() && nothing.approve.is_empty());
    }

    #[test]
    fn rule_gives_none() {
        for rule in [
            r#"{"role": "cluster-admin", "period": "8h", "priority": 100}"#,
            r#"{"role": "cluster-admin", "period": "8h", "recordings": true}"#,
        ] {
            let (oversight, refused) = given(&[rule]);
            assert_eq!((oversight, refused.len()), (Oversight::default(), 1), "{rule}");
        }
    }

    #[test]
    fn values_add_up() {
        let (oversight, refused) = given(&[
            r#"{"sessions": "end", "approve": ["oncall", "role:edit"]}"#,
            r#"{"sessions": "read", "recordings": true}"#,
            r#"{"recordings": false, "approve": ["oncall", "deploy"]}"#,
        ]);
        assert_eq!(refused, Vec::<String>::new());
        assert_eq!(oversight.sessions, Some(SessionOversight::End));
        assert!(oversight.recordings && !oversight.audit);
        let approve: Vec<_> = oversight.approve.iter().map(ToString::to_string).collect();
        assert_eq!(approve, ["deploy", "oncall", "role:edit"]);
        assert!(given(&[r#"{"audit": true}"#]).0.audit);
    }

    #[test]
    fn value_that_cannot_be_read_gives_nothing_and_the_others_stand() {
        for (value, why) in [
            (
                r#"{"recordings": true, "recording": true}"#,
                "unknown field `recording`",
            ),
            (r#"{"Recordings": true}"#, "unknown field `Recordings`"),
            (r#"{"recordings": "true"}"#, "it takes true or false, and not \"true\""),
            (r#"{"recordings": 1}"#, "it takes true or false, and not 1"),
            (r#"{"recordings": true, "recordings": true}"#, "duplicate field"),
            (r#"{"recordings": null}"#, "is null"),
            (r#"{"recordings": true, "sessions": "all"}"#, "unknown variant"),
            (r#"{"sessions": true}"#, "expected value"),
            (r#"{"recordings": true, "approve": []}"#, "is empty"),
            (r#"{"approve": "oncall"}"#, "it takes a list, and not \"oncall\""),
            (r#"{"approve": ["on call"]}"#, "cannot be the name of a rule"),
            (r#"{"approve": ["role:"]}"#, "cannot be the name of a ClusterRole"),
            (r#"{"approve": ["*"]}"#, "cannot be the name of a rule"),
            (r#"["read", true]"#, "not an object"),
            ("true", "not an object"),
            ("{", "EOF"),
        ] {
            let (oversight, refused) = given(&[value, r#"{"audit": true}"#]);
            let audit_alone = Oversight {
                audit: true,
                ..Oversight::default()
            };
            assert_eq!(oversight, audit_alone, "{value}");
            assert!(refused.len() == 1 && refused[0].contains(why), "{value}: {refused:?}");
        }
    }

    #[test]
    fn machine_may_be_counted_as_an_approver_and_no_more() {
        let all = r#"{"sessions": "end", "recordings": true, "audit": true, "approve": ["oncall"]}"#;
        let (oversight, _) = Oversight::parse(&Identity::machine(["tag:ci"]), [all]);
        assert_eq!(oversight.approve.len(), 1);
        assert_eq!(
            (oversight.sessions, oversight.recordings, oversight.audit),
            (None, false, false)
        );
    }

    #[test]
    fn approver_is_of_a_rule_by_name_or_of_a_role() {
        let (oversight, _) = given(&[r#"{"approve": ["oncall", "role:edit"]}"#]);
        let rule = |text: &str| Rule::parse(text).unwrap().key();
        assert!(oversight.approves(&rule(r#"{"role": "admin", "period": "1h", "name": "oncall"}"#)));
        assert!(oversight.approves(&rule(r#"{"role": "edit", "period": "1h"}"#)));
        assert!(!oversight.approves(&rule(r#"{"role": "admin", "period": "1h"}"#)));
        assert!(!oversight.approves(&rule(r#"{"role": "oncall", "period": "1h"}"#)));
    }

    #[test]
    fn capability_is_beside_that_of_the_rules() {
        assert_eq!(capability("specht-labs.de/cap/tka"), "specht-labs.de/cap/tka-oversight");
    }

    proptest! {
        #[test]
        fn any_text_is_oversight_or_gives_nothing(text in "\\PC{0,60}|\\{\"(sessions|recordings|audit)\":(true|\"read\"|1|null)\\}") {
            let (oversight, refused) = Oversight::parse(&alice(), [text.as_str()]);
            prop_assert!(refused.len() == 1 && oversight == Oversight::default() || refused.is_empty());
        }
    }
}
