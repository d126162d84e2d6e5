//! Why somebody gets nothing, and what they can do about it.

use thiserror::Error;

use crate::rule::RuleError;
use crate::{Period, RoleName};

/// Why a caller is refused, in the order in which the reasons are looked for.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum Refusal {
    /// The request came from the public internet, through Tailscale Funnel.
    #[error("requests through Tailscale Funnel are refused")]
    Funnel,
    /// The caller is a tagged node, and machines may not sign in here.
    #[error("the device {device} is a tagged node ({}), and tagged nodes may not sign in", tags.join(", "))]
    Machine {
        /// The device's name.
        device: String,
        /// Its tags.
        tags: Vec<String>,
    },
    /// A value of the capability is no rule.
    #[error("a rule of the tailnet policy that reaches you is malformed")]
    MalformedRule(#[source] RuleError),
    /// No rule reaches the caller.
    #[error("no rule of the tailnet policy reaches you")]
    NoRule,
    /// Several rules share the highest priority.
    #[error(
        "several rules of the tailnet policy reach you with the same priority {priority}: {}",
        list(roles)
    )]
    Ambiguous {
        /// The priority they share.
        priority: i64,
        /// The roles they give.
        roles: Vec<RoleName>,
    },
    /// The rule's period is below what this server is configured to give.
    #[error("the rule for the role {role} gives {period}, less than the {min_period} that this server gives at least")]
    PeriodTooShort {
        /// The rule's role.
        role: RoleName,
        /// The rule's period.
        period: Period,
        /// The server's shortest period.
        min_period: Period,
    },
}

fn list(roles: &[RoleName]) -> String {
    roles.iter().map(RoleName::as_str).collect::<Vec<_>>().join(", ")
}

// === impl Refusal ===

impl From<RuleError> for Refusal {
    fn from(error: RuleError) -> Self {
        Self::MalformedRule(error)
    }
}

impl Refusal {
    /// What the caller can do about it, a sentence each.
    #[must_use]
    pub fn advice(&self) -> Vec<String> {
        match self {
            Self::Funnel => vec!["connect over the tailnet: this server is not for the public internet".into()],
            Self::Machine { .. } => vec![
                "sign in from a device that belongs to a person".into(),
                "or ask an administrator whether this server may serve tagged nodes".into(),
            ],
            Self::MalformedRule(_) => {
                vec!["ask whoever keeps the tailnet policy to correct the rule: a rule is {\"role\", \"period\", \"priority\"}".into()]
            }
            Self::NoRule => vec![
                "ask whoever keeps the tailnet policy for a grant with this server's capability that reaches you"
                    .into(),
                "check with `tailscale status` that you are signed in to the tailnet as the account you mean".into(),
            ],
            Self::Ambiguous { .. } => {
                vec!["ask whoever keeps the tailnet policy to give these rules different priorities".into()]
            }
            Self::PeriodTooShort { min_period, .. } => vec![
                format!("ask whoever keeps the tailnet policy for a period of at least {min_period}"),
                "or ask an administrator to lower the server's operator.minPeriod".into(),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_and_what_to_do() {
        let refusal = Refusal::Ambiguous {
            priority: 5,
            roles: vec![
                RoleName::try_from("edit".to_owned()).unwrap(),
                RoleName::try_from("view".to_owned()).unwrap(),
            ],
        };
        assert_eq!(
            refusal.to_string(),
            "several rules of the tailnet policy reach you with the same priority 5: edit, view"
        );
        assert!(!refusal.advice().is_empty());
    }
}
