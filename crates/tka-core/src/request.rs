//! What a caller asks for at a sign-in, and the limits of what they get.

use thiserror::Error;

use crate::names::{NameError, dns_label, is_dns_label};
use crate::text::text_type;
use crate::{Period, Refusal, Rule, RuleSelector, shorten};

/// The longest reason.
const REASON_CHARACTERS: usize = 500;
/// What keeps an elevation apart from the other sessions of its device.
const ELEVATION: &str = "elevation";

/// What a caller asks for at a sign-in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Request {
    /// Through which rule.
    pub choice: RuleSelector,
    /// For how long; as long as the rule gives when they do not say.
    pub period: Option<Period>,
    /// What for.
    pub reason: Option<Reason>,
    /// Apart from their other sessions.
    pub label: Option<SessionLabel>,
    /// Whether nothing is asked for: a request through the gateway stands for it.
    pub on_use: bool,
}

/// A text by which a caller keeps one session apart from their others, say that of one shell: a DNS label.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SessionLabel(String);

/// What the caller says the access is for: one line, not empty, at most 500 characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reason(String);

/// What a server gives, whatever a rule says.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    min_period: Option<Period>,
}

// === impl SessionLabel ===

dns_label!(SessionLabel, "session");

impl SessionLabel {
    /// The label of elevations, which act for their device wherever no rule is named. It is reserved: no caller chooses it as a text.
    #[must_use]
    pub fn elevation() -> Self {
        Self(ELEVATION.to_owned())
    }

    /// Whether it is that of elevations.
    #[must_use]
    pub fn is_elevation(&self) -> bool {
        self.0 == ELEVATION
    }
}

// === impl Request ===

impl Request {
    /// Whether an elevation is asked for.
    #[must_use]
    pub fn is_elevation(&self) -> bool {
        self.label.as_ref().is_some_and(SessionLabel::is_elevation)
    }
}

// === impl Reason ===

text_type!(Reason);

/// Why a text is no [`Reason`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("a reason is one line of 1 to {REASON_CHARACTERS} characters")]
pub struct ReasonError;

impl TryFrom<String> for Reason {
    type Error = ReasonError;

    fn try_from(text: String) -> Result<Self, ReasonError> {
        let text = text.trim();
        let length = text.chars().count();
        if length == 0 || length > REASON_CHARACTERS || text.chars().any(char::is_control) {
            return Err(ReasonError);
        }
        Ok(Self(text.into()))
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
        let min_period = Some(min_period);
        Self { min_period }
    }

    /// How long a session through `rule` lasts when the caller asks for `requested`: never longer than the rule says.
    pub fn period(self, rule: &Rule, requested: Option<Period>) -> Result<Period, Refusal> {
        let period = requested.unwrap_or(rule.period);
        if period > rule.period {
            return Err(Refusal::PeriodTooLong {
                role: rule.role.clone(),
                requested: period,
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

    fn given(requested: Option<&str>) -> Result<Period, Refusal> {
        let rule = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap();
        Limits::at_least(period("1m")).period(&rule, requested.map(period))
    }

    #[test]
    fn caller_may_ask_for_less_and_not_for_more() {
        assert_eq!(given(None), Ok(period("1h")));
        assert_eq!(given(Some("30m")), Ok(period("30m")));
        assert!(matches!(given(Some("61m")), Err(Refusal::PeriodTooLong { .. })));
    }

    #[test]
    fn reason_is_one_line() {
        for text in ["", "  ", "a\nb", &"x".repeat(501)] {
            assert_eq!(Reason::try_from(text.to_owned()), Err(ReasonError), "{text:?}");
        }
    }

    #[test]
    fn label_of_elevations_is_a_label() {
        let label = SessionLabel::elevation();
        assert_eq!(SessionLabel::try_from(label.to_string()), Ok(label.clone()));
        assert!(label.is_elevation());
        assert!(!SessionLabel::try_from("elevation-1".to_owned()).unwrap().is_elevation());
        let request = |label| Request {
            label,
            ..Request::default()
        };
        assert!(request(Some(label)).is_elevation() && !request(None).is_elevation());
    }

    #[test]
    fn too_short_a_period_is_refused() {
        assert!(matches!(given(Some("59s")), Err(Refusal::PeriodTooShort { .. })));
        let rule = Rule::parse(r#"{"role": "view", "period": "5s"}"#).unwrap();
        assert!(Limits::at_least(period("1m")).period(&rule, None).is_err());
        assert_eq!(Limits::none().period(&rule, None), Ok(period("5s")));
    }
}
