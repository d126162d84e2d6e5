//! All rules that reach a caller, and choosing among them.

use std::collections::BTreeSet;

use crate::rule::{RecordingMode, Rule, RuleError, RuleKey, SignInMode};
use crate::{Approval, Refusal, RuleSelector, shorten};

/// All rules that reach a caller. The order in which the policy lists them decides nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ApplicableRules {
    rules: Vec<Rule>,
}

// === impl ApplicableRules ===

impl ApplicableRules {
    /// Reads the values of the capability. One that is no rule refuses all of them, from whatever grant: guessing what it
    /// was meant to restrict could widen access. The same rule from two grants is one.
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
    /// Two different rules that share the highest priority are refused. Picking one would be a guess, and a wrong guess either widens access or
    /// denies it. A caller who names one has not left it to us.
    pub fn choose(&self, choice: &RuleSelector) -> Result<&Rule, Refusal> {
        if self.rules.is_empty() {
            return Err(Refusal::NoRule);
        }
        match self.meant(choice).as_slice() {
            [] => Err(Refusal::NoSuchRule { rules: self.names() }),
            [rule] => Ok(rule),
            tied => Err(self.ambiguous(tied)),
        }
    }

    /// The rules of the highest priority among those that `choice` means.
    fn meant(&self, choice: &RuleSelector) -> Vec<&Rule> {
        let mut meant = self.rules.iter().filter(|rule| choice.means(rule)).peekable();
        let highest = meant.peek().map(|rule| rule.priority);
        meant.take_while(|rule| Some(rule.priority) == highest).collect()
    }

    fn ambiguous(&self, tied: &[&Rule]) -> Refusal {
        let (priority, mut options, mut alike) = (tied.first().map_or(0, |rule| rule.priority), Vec::new(), Vec::new());
        for rule in tied {
            match self.choice_of(rule) {
                Some(choice) => options.push(choice),
                None => alike.push(described(rule)),
            }
        }
        let given: BTreeSet<_> = tied.iter().map(|rule| &rule.role).collect();
        let in_words = |rule: &&Rule| {
            // Roles alone where they tell the rules apart.
            if given.len() == tied.len() {
                rule.role.to_string()
            } else {
                described(rule)
            }
        };
        let rules = tied.iter().map(in_words).collect();
        Refusal::Ambiguous {
            priority,
            rules,
            options,
            alike,
        }
    }

    /// What a caller says to get just this rule; none if nothing does that a caller can say.
    fn choice_of(&self, wanted: &Rule) -> Option<RuleSelector> {
        let role = Some(wanted.role.clone());
        let by_role = RuleSelector {
            name: None,
            role: role.clone(),
        };
        let by_name = wanted.name.clone().map(|name| RuleSelector {
            name: Some(name),
            role: None,
        });
        let by_both = wanted.name.clone().map(|name| RuleSelector { name: Some(name), role });
        let choices = by_name.into_iter().chain([by_role]).chain(by_both);
        choices.into_iter().find(|choice| self.meant(choice) == [wanted])
    }

    /// The rules, those of higher priority first.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What a caller could name: a rule's name where it has one, else its role.
    fn names(&self) -> Vec<String> {
        let name = |rule: &Rule| {
            let name = rule.name.as_ref();
            name.map_or_else(|| rule.role.to_string(), ToString::to_string)
        };
        self.rules.iter().map(name).collect()
    }

    /// Whether the policy still has the rule that a session was given through.
    #[must_use]
    pub fn contains(&self, key: &RuleKey) -> bool {
        self.rules.iter().any(|rule| rule.key() == *key)
    }

    /// Whether a token of a session may be handed out that was given through `key`. Where the policy has that rule twice, both must allow it.
    #[must_use]
    pub fn has_tokens(&self, key: &RuleKey) -> bool {
        self.contains(key) && self.with_key(key).all(|rule| rule.access.has_tokens())
    }

    /// Whether the gateway carries requests of such a session. Where the policy has the rule twice, both must allow it.
    #[must_use]
    pub fn has_gateway(&self, key: &RuleKey) -> bool {
        self.contains(key) && self.with_key(key).all(|rule| rule.access.has_gateway())
    }

    /// Whether exec and attach of such a session are recorded, as the strictest of these rules has it. Without such a rule, they must be recorded.
    #[must_use]
    pub fn recording(&self, key: &RuleKey) -> RecordingMode {
        let strictest = self.with_key(key).map(|rule| rule.recording).max();
        strictest.unwrap_or(RecordingMode::Required)
    }

    /// Whether use begins such a session. Where the policy has the rule twice, both must say so.
    #[must_use]
    pub fn begins_on_use(&self, key: &RuleKey) -> bool {
        self.contains(key) && self.with_key(key).all(|rule| rule.sign_in == SignInMode::OnUse)
    }

    /// Whether others must approve a sign-in that gives such a session: the strictest of what these rules ask for.
    #[must_use]
    pub fn approval(&self, key: &RuleKey) -> Option<Approval> {
        let asked = self.with_key(key).filter_map(|rule| rule.approval.clone());
        asked.reduce(|one, other| one.and(&other))
    }

    /// Whether a sign-in that gives such a session alarms others: as soon as one of these rules wants that. Where one asks for approval that comes first, and
    /// there is no alarm about what others let in.
    #[must_use]
    pub fn break_glass(&self, key: &RuleKey) -> bool {
        self.approval(key).is_none() && self.with_key(key).any(|rule| rule.break_glass)
    }

    /// The rules among which an address of the gateway means one that names none. What others must approve, and what is for emergencies, is asked for
    /// by name. Where there is nothing else, all rules stay. Rules of the same key are all in or all out, so that the strictest of them still
    /// decides.
    #[must_use]
    pub fn prefer_ordinary_rules(self) -> Self {
        let is_ordinary = |rule: &Rule| {
            let key = rule.key();
            self.approval(&key).is_none() && !self.break_glass(&key)
        };
        if self.rules.iter().all(is_ordinary) {
            return self;
        }
        let ordinary: Vec<Rule> = self.rules.iter().filter(|rule| is_ordinary(rule)).cloned().collect();
        if ordinary.is_empty() {
            return self;
        }
        Self { rules: ordinary }
    }

    fn with_key<'a>(&'a self, key: &'a RuleKey) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.key() == *key)
    }

    /// What the rules give access to, each once.
    pub fn keys(&self) -> impl Iterator<Item = RuleKey> {
        self.rules.iter().map(Rule::key).collect::<BTreeSet<_>>().into_iter()
    }
}

/// A rule in the words by which it is recognised in the tailnet policy: `edit in shop for 2h0m0s`.
fn described(rule: &Rule) -> String {
    let name = rule.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
    let names = rule.scope.to_names();
    let place = if names.is_empty() {
        String::new()
    } else {
        format!(" in {}", names.join(" and "))
    };
    shorten(&format!("{name}{}{place} for {}", rule.role, rule.period))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(role: &str, period: &str, priority: i64) -> String {
        format!(r#"{{"role": "{role}", "period": "{period}", "priority": {priority}}}"#)
    }

    fn applicable(rules: &[String]) -> ApplicableRules {
        ApplicableRules::parse(rules.iter().map(String::as_str)).unwrap()
    }

    #[test]
    fn approval_is_that_of_the_strictest_of_the_same_rules() {
        let rule = |fields: &str| format!(r#"{{"role": "edit", "period": "1h"{fields}}}"#);
        let key = Rule::parse(&rule("")).unwrap().key();
        let of = |rules: &[String]| applicable(rules).approval(&key);
        assert_eq!(of(&[rule("")]), None);
        let strict = of(&[rule(""), rule(r#", "priority": 9, "approval": {"count": 2}"#)]).unwrap();
        assert_eq!(strict.count.get(), 2);
        assert_eq!(of(&[rule(r#", "name": "oncall", "approval": {"count": 2}"#)]), None);
    }

    #[test]
    fn ordinary_rules_need_no_others() {
        let oncall = r#"{"role": "edit", "period": "1h", "priority": 9, "approval": {"count": 1}}"#.to_owned();
        let both = applicable(&[rule("view", "1h", 1), oncall.clone()]);
        let ordinary = both.clone().prefer_ordinary_rules();
        assert_eq!(ordinary.choose(&RuleSelector::default()).unwrap().role.as_str(), "view");
        assert_eq!(both.choose(&RuleSelector::default()).unwrap().role.as_str(), "edit");
        let alone = applicable(&[oncall]);
        assert_eq!(alone.clone().prefer_ordinary_rules(), alone);
        // The same rule twice needs others where one of the two does.
        let twice = applicable(&[
            rule("view", "1h", 1),
            rule("edit", "1h", 5),
            r#"{"role": "edit", "period": "2h", "approval": {"count": 1}}"#.to_owned(),
        ]);
        let roles: Vec<_> = twice
            .prefer_ordinary_rules()
            .keys()
            .map(|key| key.role.to_string())
            .collect();
        assert_eq!(roles, ["view"]);
    }

    #[test]
    fn emergency_is_one_where_any_of_the_same_rules_says_so() {
        let rule = |fields: &str| format!(r#"{{"role": "edit", "period": "1h"{fields}}}"#);
        let key = Rule::parse(&rule("")).unwrap().key();
        let of = |rules: &[String]| applicable(rules).break_glass(&key);
        let glass = rule(r#", "priority": 9, "break_glass": true"#);
        assert!(!of(&[rule("")]));
        assert!(of(&[rule(""), glass.clone()]));
        assert!(
            !of(&[rule(r#", "name": "glass", "break_glass": true"#)]),
            "of another key"
        );
        // Others come first where one of the two asks for them.
        let both = applicable(&[glass.clone(), rule(r#", "approval": {"count": 1}"#)]);
        assert!(!both.break_glass(&key) && both.approval(&key).is_some());
        assert!(!applicable(&[glass.clone(), rule(r#", "sign_in": "on_use""#)]).begins_on_use(&key));
        // What an address of the gateway without a rule means.
        let all = applicable(&[
            r#"{"role": "view", "period": "1h"}"#.to_owned(),
            rule(""),
            glass.clone(),
        ]);
        let roles: Vec<_> = all
            .prefer_ordinary_rules()
            .keys()
            .map(|key| key.role.to_string())
            .collect();
        assert_eq!(roles, ["view"]);
        assert_eq!(
            applicable(std::slice::from_ref(&glass)).prefer_ordinary_rules(),
            applicable(&[glass])
        );
    }

    #[test]
    fn highest_priority_wins() {
        let rules = [
            rule("view", "8h", 1),
            rule("cluster-admin", "1h", 100),
            rule("edit", "2h", 50),
        ];
        let rules = applicable(&rules);
        assert_eq!(
            rules.choose(&RuleSelector::default()).unwrap().role.as_str(),
            "cluster-admin"
        );
    }

    #[test]
    fn equal_priorities_are_ambiguous() {
        let rules = applicable(&[rule("view", "8h", 5), rule("edit", "1h", 5), rule("admin", "1h", 1)]);
        let Err(Refusal::Ambiguous { priority, rules, .. }) = rules.choose(&RuleSelector::default()) else {
            panic!("not ambiguous")
        };
        assert_eq!(priority, 5);
        assert_eq!(rules, ["edit", "view"]);
    }

    /// `cases.md 9`: the advice leads to the rule that the person means, or to who can make it one that can be chosen.
    #[test]
    fn advice_leads_to_the_rule_that_is_meant() {
        let shop = r#"{"role": "edit", "period": "2h", "namespaces": ["shop"]}"#;
        let web = r#"{"role": "edit", "period": "1h", "namespaces": ["web"]}"#;
        let named = r#"{"role": "edit", "period": "1h", "name": "web"}"#;
        let view = r#"{"role": "view", "period": "1h"}"#;
        let advice = |rules: &[&str]| {
            let refusal = ApplicableRules::parse(rules.iter().copied())
                .unwrap()
                .choose(&RuleSelector::default())
                .unwrap_err();
            (refusal.to_string(), refusal.advice().join("; "))
        };
        let (what, to_do) = advice(&[shop, web]);
        let both = "priority 0: edit in shop for 2h0m0s, edit in web for 1h0m0s";
        assert!(what.ends_with(both), "{what}");
        assert!(to_do.contains("to give each of these a `name`"), "{to_do}");
        assert!(!to_do.contains("--role"), "{to_do}");
        let (_, to_do) = advice(&[shop, web, view]);
        let both = ": edit in shop for 2h0m0s; edit in web for 1h0m0s";
        assert!(
            to_do.contains("`tka login --role view`") && to_do.ends_with(both),
            "{to_do}"
        );
        let (_, to_do) = advice(&[shop, named]);
        let other = ": edit in shop for 2h0m0s";
        assert!(
            to_do.contains("`tka login --rule web`") && to_do.ends_with(other),
            "{to_do}"
        );
        let (_, to_do) = advice(&[named, view]);
        assert!(
            to_do.contains("`tka login --rule web`, `tka login --role view`"),
            "{to_do}"
        );
        assert!(!to_do.contains("`name`"), "{to_do}");
    }

    #[test]
    fn equal_priorities_below_the_highest_do_not_matter() {
        let rules = applicable(&[rule("view", "8h", 5), rule("edit", "1h", 5), rule("admin", "1h", 9)]);
        assert_eq!(rules.choose(&RuleSelector::default()).unwrap().role.as_str(), "admin");
    }

    #[test]
    fn same_rule_from_two_grants_is_one() {
        let rules = applicable(&[rule("view", "60m", 5), rule("view", "1h", 5)]);
        assert_eq!(rules.choose(&RuleSelector::default()).unwrap().role.as_str(), "view");
    }

    #[test]
    fn same_role_for_two_periods_is_ambiguous() {
        let rules = applicable(&[rule("view", "2h", 5), rule("view", "1h", 5)]);
        let chosen = rules.choose(&RuleSelector::default());
        assert!(matches!(chosen, Err(Refusal::Ambiguous { .. })));
    }

    #[test]
    fn caller_may_name_a_rule() {
        let oncall = r#"{"role": "edit", "period": "1h", "priority": 5, "name": "oncall"}"#.to_owned();
        let rules = applicable(&[
            rule("view", "8h", 5),
            rule("edit", "1h", 5),
            rule("cluster-admin", "1h", 9),
            oncall,
        ]);
        let choose = |name: Option<&str>, role: Option<&str>| {
            let name = name.map(|name| name.to_owned().try_into().unwrap());
            let role = role.map(|role| role.to_owned().try_into().unwrap());
            rules.choose(&RuleSelector { name, role })
        };
        assert_eq!(choose(Some("oncall"), None).unwrap().role.as_str(), "edit");
        assert_eq!(choose(None, Some("view")).unwrap().role.as_str(), "view");
        assert!(matches!(choose(None, Some("edit")), Err(Refusal::Ambiguous { .. })));
        let Err(Refusal::NoSuchRule { rules }) = choose(None, Some("admin")) else {
            panic!("there is no such rule")
        };
        assert_eq!(rules, ["cluster-admin", "edit", "oncall", "view"]);
        let by_both = choose(Some("oncall"), Some("view"));
        assert!(matches!(by_both, Err(Refusal::NoSuchRule { .. })));
    }

    #[test]
    fn no_rule_is_refused() {
        assert_eq!(applicable(&[]).choose(&RuleSelector::default()), Err(Refusal::NoRule));
    }

    #[test]
    fn one_bad_value_refuses_all_rules() {
        assert!(ApplicableRules::parse([rule("view", "1h", 1).as_str(), "{}"]).is_err());
    }

    proptest! {
        #[test]
        fn order_decides_nothing(
            rules in prop::collection::vec(("(view|edit|admin)", "[1-3]h", 0..4_i64), 0..8)
                .prop_map(|rules| rules.into_iter().map(|(role, period, priority)| rule(&role, &period, priority)).collect::<Vec<_>>())
                .prop_flat_map(|rules| (Just(rules.clone()), Just(rules).prop_shuffle())),
        ) {
            let (listed, shuffled) = rules;
            prop_assert_eq!(applicable(&listed), applicable(&shuffled));
            prop_assert_eq!(applicable(&listed).choose(&RuleSelector::default()).cloned(), applicable(&shuffled).choose(&RuleSelector::default()).cloned());
        }

        #[test]
        fn chosen_rule_has_the_highest_priority_alone(
            rules in prop::collection::vec(("(view|edit|admin)", "[1-3]h", 0..4_i64), 0..8),
        ) {
            let texts: Vec<String> = rules.iter().map(|(role, period, priority)| rule(role, period, *priority)).collect();
            let rules = applicable(&texts);
            if let Ok(chosen) = rules.choose(&RuleSelector::default()) {
                let rivals = rules.rules.iter().filter(|rule| rule.priority >= chosen.priority).count();
                prop_assert_eq!(rivals, 1);
            }
        }
    }

    #[test]
    fn every_rule_of_a_key_must_allow_a_way() {
        let through = |access: &[&str]| {
            let rules = access
                .iter()
                .map(|access| format!(r#"{{"role": "view", "period": "1h", "access": "{access}"}}"#));
            let rules: Vec<String> = rules.collect();
            let rules = ApplicableRules::parse(rules.iter().map(String::as_str)).unwrap();
            let key = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap().key();
            (rules.has_tokens(&key), rules.has_gateway(&key))
        };
        assert_eq!(through(&["any"]), (true, true));
        assert_eq!(through(&["gateway"]), (false, true));
        assert_eq!(through(&["direct"]), (true, false));
        assert_eq!(through(&["any", "gateway"]), (false, true));
        assert_eq!(through(&["direct", "gateway"]), (false, false));
        assert_eq!(through(&[]), (false, false));
    }

    #[test]
    fn strictest_rule_of_a_key_says_what_is_recorded() {
        let of = |recordings: &[&str]| {
            let rules = recordings
                .iter()
                .map(|recording| format!(r#"{{"role": "view", "period": "1h", "recording": "{recording}"}}"#));
            let rules: Vec<String> = rules.collect();
            let rules = ApplicableRules::parse(rules.iter().map(String::as_str)).unwrap();
            let key = Rule::parse(r#"{"role": "view", "period": "1h"}"#).unwrap().key();
            rules.recording(&key)
        };
        assert_eq!(of(&["off"]), RecordingMode::Off);
        assert_eq!(of(&["off", "best_effort"]), RecordingMode::BestEffort);
        assert_eq!(of(&["required", "off"]), RecordingMode::Required);
        assert_eq!(of(&[]), RecordingMode::Required);
    }
}
