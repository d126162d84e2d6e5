//! All rules that reach a caller, and choosing among them.

use std::collections::BTreeSet;

use crate::rule::{Rule, RuleError, RuleKey};
use crate::{Refusal, RoleName};

/// All rules that reach a caller. The order in which the policy lists them decides nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    rules: Vec<Rule>,
}

// === impl Grant ===

impl Grant {
    /// Reads the values of the capability. One that is no rule refuses the whole grant: guessing what it was meant to
    /// restrict could widen access. The same rule from two grants is one.
    pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, RuleError> {
        let mut rules: Vec<Rule> = Vec::new();
        for value in values {
            let rule = Rule::parse(value)?;
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules.sort_by(|a, b| {
            b.priority
                .cmp(&a.priority)
                .then_with(|| a.role.cmp(&b.role))
                .then(a.period.cmp(&b.period))
        });
        Ok(Self { rules })
    }

    /// The rule of the highest priority.
    ///
    /// Two different rules that share the highest priority are refused: picking one would be a guess, and a wrong guess
    /// either widens access or denies it.
    pub fn choose(&self) -> Result<&Rule, Refusal> {
        let mut rules = self.rules.iter();
        let first = rules.next().ok_or(Refusal::NoRule)?;
        let rivals: Vec<&Rule> = rules.take_while(|rule| rule.priority == first.priority).collect();
        if rivals.is_empty() {
            return Ok(first);
        }
        let mut tied: Vec<RoleName> = std::iter::once(first)
            .chain(rivals)
            .map(|rule| rule.role.clone())
            .collect();
        tied.dedup();
        Err(Refusal::Ambiguous {
            priority: first.priority,
            roles: tied,
        })
    }

    /// Whether the policy still has the rule that a session was given through.
    #[must_use]
    pub fn carries(&self, key: &RuleKey) -> bool {
        self.rules.iter().any(|rule| rule.key() == *key)
    }

    /// What the rules give access to, each once.
    pub fn keys(&self) -> impl Iterator<Item = RuleKey> {
        self.rules.iter().map(Rule::key).collect::<BTreeSet<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(role: &str, period: &str, priority: i64) -> String {
        format!(r#"{{"role": "{role}", "period": "{period}", "priority": {priority}}}"#)
    }

    fn grant(rules: &[String]) -> Grant {
        Grant::parse(rules.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn highest_priority_wins() {
        let grant = grant(&[
            rule("view", "8h", 1),
            rule("cluster-admin", "1h", 100),
            rule("edit", "2h", 50),
        ]);
        assert_eq!(grant.choose().unwrap().role.as_str(), "cluster-admin");
    }

    #[test]
    fn equal_priorities_are_ambiguous() {
        let grant = grant(&[rule("view", "8h", 5), rule("edit", "1h", 5), rule("admin", "1h", 1)]);
        let Err(Refusal::Ambiguous { priority, roles }) = grant.choose() else {
            panic!("not ambiguous")
        };
        assert_eq!(priority, 5);
        assert_eq!(roles.iter().map(RoleName::as_str).collect::<Vec<_>>(), ["edit", "view"]);
    }

    #[test]
    fn equal_priorities_below_the_highest_do_not_matter() {
        let grant = grant(&[rule("view", "8h", 5), rule("edit", "1h", 5), rule("admin", "1h", 9)]);
        assert_eq!(grant.choose().unwrap().role.as_str(), "admin");
    }

    #[test]
    fn same_rule_from_two_grants_is_one() {
        let grant = grant(&[rule("view", "60m", 5), rule("view", "1h", 5)]);
        assert_eq!(grant.choose().unwrap().role.as_str(), "view");
    }

    #[test]
    fn same_role_for_two_periods_is_ambiguous() {
        let grant = grant(&[rule("view", "2h", 5), rule("view", "1h", 5)]);
        assert!(matches!(grant.choose(), Err(Refusal::Ambiguous { .. })));
    }

    #[test]
    fn no_rule_is_refused() {
        assert_eq!(grant(&[]).choose(), Err(Refusal::NoRule));
    }

    #[test]
    fn one_bad_value_refuses_the_grant() {
        assert!(Grant::parse([rule("view", "1h", 1).as_str(), "{}"]).is_err());
    }

    proptest! {
        #[test]
        fn order_decides_nothing(
            rules in prop::collection::vec(("(view|edit|admin)", "[1-3]h", 0..4_i64), 0..8)
                .prop_map(|rules| rules.into_iter().map(|(role, period, priority)| rule(&role, &period, priority)).collect::<Vec<_>>())
                .prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        ) {
            let (listed, shuffled) = rules;
            prop_assert_eq!(grant(&listed), grant(&shuffled));
            prop_assert_eq!(grant(&listed).choose().cloned(), grant(&shuffled).choose().cloned());
        }

        #[test]
        fn chosen_rule_has_the_highest_priority_alone(
            rules in prop::collection::vec(("(view|edit|admin)", "[1-3]h", 0..4_i64), 0..8),
        ) {
            let texts: Vec<String> = rules.iter().map(|(role, period, priority)| rule(role, period, *priority)).collect();
            let grant = grant(&texts);
            if let Ok(chosen) = grant.choose() {
                let rivals = grant.rules.iter().filter(|rule| rule.priority >= chosen.priority).count();
                prop_assert_eq!(rivals, 1);
            }
        }
    }
}
