//! All rules that reach a caller, and choosing among them.

use std::collections::BTreeSet;

use crate::rule::{Rule, RuleError, RuleKey};
use crate::{Choice, Refusal, RoleName};

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
                .then_with(|| a.key().cmp(&b.key()))
                .then(a.period.cmp(&b.period))
        });
        Ok(Self { rules })
    }

    /// Of the rules that `choice` means the one of the highest priority.
    ///
    /// Two different rules that share the highest priority are refused: picking one would be a guess, and a wrong guess
    /// either widens access or denies it. A caller who names one has not left it to us.
    pub fn choose(&self, choice: &Choice) -> Result<&Rule, Refusal> {
        if self.rules.is_empty() {
            return Err(Refusal::NoRule);
        }
        let mut meant = self.rules.iter().filter(|rule| choice.means(rule));
        let first = meant
            .next()
            .ok_or_else(|| Refusal::NoSuchRule { rules: self.names() })?;
        let rivals: Vec<&Rule> = meant.take_while(|rule| rule.priority == first.priority).collect();
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

    /// The rules, those of higher priority first.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What a caller could name: a rule's name where it has one, else its role.
    fn names(&self) -> Vec<String> {
        let name = |rule: &Rule| {
            rule.name
                .as_ref()
                .map_or_else(|| rule.role.to_string(), ToString::to_string)
        };
        self.rules.iter().map(name).collect()
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
        assert_eq!(grant.choose(&Choice::default()).unwrap().role.as_str(), "cluster-admin");
    }

    #[test]
    fn equal_priorities_are_ambiguous() {
        let grant = grant(&[rule("view", "8h", 5), rule("edit", "1h", 5), rule("admin", "1h", 1)]);
        let Err(Refusal::Ambiguous { priority, roles }) = grant.choose(&Choice::default()) else {
            panic!("not ambiguous")
        };
        assert_eq!(priority, 5);
        assert_eq!(roles.iter().map(RoleName::as_str).collect::<Vec<_>>(), ["edit", "view"]);
    }

    #[test]
    fn equal_priorities_below_the_highest_do_not_matter() {
        let grant = grant(&[rule("view", "8h", 5), rule("edit", "1h", 5), rule("admin", "1h", 9)]);
        assert_eq!(grant.choose(&Choice::default()).unwrap().role.as_str(), "admin");
    }

    #[test]
    fn same_rule_from_two_grants_is_one() {
        let grant = grant(&[rule("view", "60m", 5), rule("view", "1h", 5)]);
        assert_eq!(grant.choose(&Choice::default()).unwrap().role.as_str(), "view");
    }

    #[test]
    fn same_role_for_two_periods_is_ambiguous() {
        let grant = grant(&[rule("view", "2h", 5), rule("view", "1h", 5)]);
        assert!(matches!(
            grant.choose(&Choice::default()),
            Err(Refusal::Ambiguous { .. })
        ));
    }

    #[test]
    fn caller_may_name_a_rule() {
        let oncall = r#"{"role": "edit", "period": "1h", "priority": 5, "name": "oncall"}"#.to_owned();
        let grant = grant(&[
            rule("view", "8h", 5),
            rule("edit", "1h", 5),
            rule("cluster-admin", "1h", 9),
            oncall,
        ]);
        let choose = |name: Option<&str>, role: Option<&str>| {
            let name = name.map(|name| name.to_owned().try_into().unwrap());
            let role = role.map(|role| role.to_owned().try_into().unwrap());
            grant.choose(&Choice { name, role })
        };
        assert_eq!(choose(Some("oncall"), None).unwrap().role.as_str(), "edit");
        assert_eq!(choose(None, Some("view")).unwrap().role.as_str(), "view");
        assert!(matches!(choose(None, Some("edit")), Err(Refusal::Ambiguous { .. })));
        let Err(Refusal::NoSuchRule { rules }) = choose(None, Some("admin")) else {
            panic!("there is no such rule")
        };
        assert_eq!(rules, ["cluster-admin", "edit", "oncall", "view"]);
        assert!(matches!(
            choose(Some("oncall"), Some("view")),
            Err(Refusal::NoSuchRule { .. })
        ));
    }

    #[test]
    fn no_rule_is_refused() {
        assert_eq!(grant(&[]).choose(&Choice::default()), Err(Refusal::NoRule));
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
            prop_assert_eq!(grant(&listed).choose(&Choice::default()).cloned(), grant(&shuffled).choose(&Choice::default()).cloned());
        }

        #[test]
        fn chosen_rule_has_the_highest_priority_alone(
            rules in prop::collection::vec(("(view|edit|admin)", "[1-3]h", 0..4_i64), 0..8),
        ) {
            let texts: Vec<String> = rules.iter().map(|(role, period, priority)| rule(role, period, *priority)).collect();
            let grant = grant(&texts);
            if let Ok(chosen) = grant.choose(&Choice::default()) {
                let rivals = grant.rules.iter().filter(|rule| rule.priority >= chosen.priority).count();
                prop_assert_eq!(rivals, 1);
            }
        }
    }
}
