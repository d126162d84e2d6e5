//! Which rule a caller means.

use crate::{RoleName, Rule, RuleName};

/// Which of the rules that reach them a caller means; the one of the highest priority when they do not say.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RuleSelector {
    /// The rule of this name.
    pub name: Option<RuleName>,
    /// A rule that gives this role.
    pub role: Option<RoleName>,
}

// === impl RuleSelector ===

impl RuleSelector {
    /// Whether `rule` is one that the caller means.
    #[must_use]
    pub fn means(&self, rule: &Rule) -> bool {
        self.name.as_ref().is_none_or(|name| rule.name.as_ref() == Some(name))
            && self.role.as_ref().is_none_or(|role| rule.role == *role)
    }
}
