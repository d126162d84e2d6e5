//! What a caller asks for at a sign-in, and the limits of what they get.

use crate::rule::RuleName;
use crate::session::{Reason, SessionLabel};
use crate::{Period, Refusal, RoleName, Rule};

/// Which of the rules that reach them a caller means; the one of the highest priority when they do not say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Choice {
    /// The rule of this name.
    pub name: Option<RuleName>,
    /// A rule that gives this role.
    pub role: Option<RoleName>,
}

/// What a caller asks for at a sign-in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// Through which rule.
    pub choice: Choice,
    /// For how long; as long as the rule gives when they do not say.
    pub period: Option<Period>,
    /// What for.
    pub reason: Option<Reason>,
    /// Apart from their other sessions.
    pub label: Option<SessionLabel>,
}

/// What a server gives, whatever a rule says.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    min_period: Option<Period>,
}

// === impl Choice ===

impl Choice {
    /// Whether `rule` is one that the caller means.
    #[must_use]
    pub fn means(&self, rule: &Rule) -> bool {
        self.name.as_ref().is_none_or(|name| rule.name.as_ref() == Some(name))
            && self.role.as_ref().is_none_or(|role| rule.role == *role)
    }
}

// === impl Limits ===

impl Limits {
    /// Whatever a rule says.
    #[must_use]
    pub const fn none() -> Self {
        Self { min_period: None }
    }

    /// No session shorter than `min_period`.
    #[must_use]
    pub const fn at_least(min_period: Period) -> Self {
        Self {
            min_period: Some(min_period),
        }
    }

    /// How long a session through `rule` lasts when the caller asks for `asked`: never longer than the rule says.
    pub fn period(self, rule: &Rule, asked: Option<Period>) -> Result<Period, Refusal> {
        let period = asked.unwrap_or(rule.period);
        if period > rule.period {
            return Err(Refusal::PeriodTooLong {
                role: rule.role.clone(),
                asked: period,
                period: rule.period,
            });
        }
        match self.min_period {
            Some(min_period) if period < min_period => Err(Refusal::PeriodTooShort {
                role: rule.role.clone(),
                period,
                min_period,
            }),
            _ => Ok(period),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(text: &str) -> Period {
        text.parse().unwrap()
    }

    fn given(asked: Option<&str>) -> Result<Period, Refusal> {
        let rule = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
        Limits::at_least(period("1m")).period(&rule, asked.map(period))
    }

    #[test]
    fn caller_may_ask_for_less_and_not_for_more() {
        assert_eq!(given(None), Ok(period("1h")));
        assert_eq!(given(Some("30m")), Ok(period("30m")));
        assert!(matches!(given(Some("61m")), Err(Refusal::PeriodTooLong { .. })));
    }

    #[test]
    fn too_short_a_period_is_refused() {
        assert!(matches!(given(Some("59s")), Err(Refusal::PeriodTooShort { .. })));
        let rule = Rule::parse(r#"{"role": "view", "period": "5s"}"#).unwrap();
        assert!(Limits::at_least(period("1m")).period(&rule, None).is_err());
        assert_eq!(Limits::none().period(&rule, None), Ok(period("5s")));
    }
}
