//! Holds what a policy gives against what is expected.

use std::collections::BTreeSet;

use tka_core::{Oversight, Refusal, Rule, Scope, SessionOversight};

use super::{Expected, ExpectedOversight, ExpectedSessions, Test};
use crate::certainty::UnknownReason;
use crate::who::Answer;

// === impl Test ===

impl Test {
    pub(super) fn failures(&self, answer: &Answer) -> Vec<String> {
        let mut failures = Vec::new();
        if answer.policy_is_refused {
            failures.push("the control server would refuse the policy: `tka policy check` says why".into());
        }
        failures.extend(self.may.iter().filter_map(|expected| expected.is_given(answer)));
        failures.extend(self.may_not.iter().filter_map(|expected| expected.is_not_given(answer)));
        failures.extend(self.takes.iter().filter_map(|expected| expected.is_taken(answer)));
        failures.extend(self.nothing.then(|| has_nothing(answer)).flatten());
        failures.extend(self.oversight.iter().flat_map(|expected| expected.failures(answer)));
        failures
    }
}

fn has_nothing(answer: &Answer) -> Option<String> {
    if let Some(rule) = answer.rules.first() {
        return Some(format!("has a rule: {}", in_words(&rule.what)));
    }
    if let Err(refusal @ Refusal::MalformedRule(error)) = &answer.taken {
        return Some(format!("{refusal}: {error}"));
    }
    if let Some((rule, why)) = answer.perhaps.first() {
        return Some(format!(
            "may have {}: that depends on {}",
            in_words(&rule.what),
            listed(why)
        ));
    }
    if answer.oversight != Oversight::default() {
        return Some("has oversight".into());
    }
    let (_, why) = answer.perhaps_oversight.first()?;
    Some(format!("may have oversight: that depends on {}", listed(why)))
}

fn listed(why: &BTreeSet<UnknownReason>) -> String {
    why.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A rule, for people to recognise it by.
fn in_words(rule: &Rule) -> String {
    let names = rule.scope.to_names();
    let place = if names.is_empty() {
        "the whole cluster".into()
    } else {
        tka_core::shorten(&names.join(" and "))
    };
    format!("{} in {place} for {}", rule.role, rule.period)
}

// === impl Expected ===

impl Expected {
    fn is_named(&self, rule: &Rule) -> bool {
        self.role.as_deref().is_none_or(|role| role == rule.role.as_str())
            && self
                .name
                .as_deref()
                .is_none_or(|name| rule.name.as_ref().is_some_and(|own| own.as_str() == name))
            && self.r#for.is_none_or(|period| rule.period >= period)
    }

    /// Whether the rule gives at least what is expected.
    fn is_covered_by(&self, rule: &Rule) -> bool {
        let place = match &self.namespaces {
            Some(namespaces) => rule.scope.covers(&Scope::Namespaces(namespaces.clone())),
            None => !self.whole_cluster || rule.scope == Scope::Cluster,
        };
        self.is_named(rule) && place
    }

    /// Whether the rule gives anything of what is not expected.
    fn touches(&self, rule: &Rule) -> bool {
        let place = match &self.namespaces {
            Some(namespaces) => {
                let not_wanted = Scope::Namespaces(namespaces.clone());
                rule.scope == Scope::Cluster
                    || not_wanted
                        .namespaces()
                        .any(|one| rule.scope.namespaces().any(|own| own == one))
            }
            None => !self.whole_cluster || rule.scope == Scope::Cluster,
        };
        self.is_named(rule) && place
    }

    fn is_given(&self, answer: &Answer) -> Option<String> {
        if answer.rules.iter().any(|rule| self.is_covered_by(&rule.what)) {
            return None;
        }
        if let Err(refusal @ Refusal::MalformedRule(error)) = &answer.taken {
            return Some(format!("may not have {self}: {refusal}: {error}"));
        }
        let perhaps = answer.perhaps.iter().find(|(rule, _)| self.is_covered_by(&rule.what));
        Some(match perhaps {
            Some((_, why)) => format!("may have {self} or not: that depends on {}", listed(why)),
            None => format!("may not have {self}"),
        })
    }

    fn is_not_given(&self, answer: &Answer) -> Option<String> {
        if let Some(rule) = answer.rules.iter().find(|rule| self.touches(&rule.what)) {
            return Some(format!("may have {self}: {}", in_words(&rule.what)));
        }
        let (rule, why) = answer.perhaps.iter().find(|(rule, _)| self.touches(&rule.what))?;
        Some(format!(
            "may have {}: that depends on {}",
            in_words(&rule.what),
            listed(why)
        ))
    }

    fn is_taken(&self, answer: &Answer) -> Option<String> {
        let taken = match &answer.taken {
            Ok(taken) if self.is_covered_by(taken) => taken,
            Ok(taken) => return Some(format!("a sign-in takes {}, and not {self}", in_words(taken))),
            Err(refusal) => return Some(format!("a sign-in is refused: {refusal}")),
        };
        let rival = answer
            .perhaps
            .iter()
            .find(|(rule, _)| rule.what.priority >= taken.priority && rule.what != *taken);
        rival.map(|(rule, why)| {
            format!(
                "a sign-in may take {} instead: that depends on {}",
                in_words(&rule.what),
                listed(why)
            )
        })
    }
}

impl std::fmt::Display for Expected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [
            self.role.clone(),
            self.name.as_ref().map(|name| format!("by the rule {name}")),
            self.namespaces.as_ref().map(|names| {
                let names: Vec<_> = Scope::Namespaces(names.clone()).to_names();
                format!("in {}", names.join(" and "))
            }),
            self.whole_cluster.then(|| "in the whole cluster".to_owned()),
            self.r#for.map(|period| format!("for {period}")),
        ];
        f.write_str(&tka_core::shorten(
            &parts.into_iter().flatten().collect::<Vec<_>>().join(" "),
        ))
    }
}

// === impl ExpectedOversight ===

impl ExpectedOversight {
    fn failures(&self, answer: &Answer) -> Vec<String> {
        let mut failures = Vec::new();
        let given = &answer.oversight;
        for (name, expected, has) in [
            ("recordings", self.recordings, given.recordings),
            ("audit", self.audit, given.audit),
        ] {
            if expected.is_some_and(|expected| expected != has) {
                failures.push(format!("oversight of {name} is {has}"));
            }
        }
        let sessions = match given.sessions {
            None => ExpectedSessions::None,
            Some(SessionOversight::Read) => ExpectedSessions::Read,
            Some(SessionOversight::End) => ExpectedSessions::End,
        };
        if self.sessions.is_some_and(|expected| expected != sessions) {
            failures.push(format!(
                "oversight of sessions is {}",
                format!("{sessions:?}").to_lowercase()
            ));
        }
        let approve: BTreeSet<String> = given.approve.iter().map(ToString::to_string).collect();
        if self.approve.as_ref().is_some_and(|expected| *expected != approve) {
            let list: Vec<_> = approve.into_iter().collect();
            failures.push(format!("may approve [{}]", tka_core::shorten(&list.join(", "))));
        }
        let unsure = answer.perhaps_oversight.first();
        failures.extend(unsure.map(|(_, why)| format!("may have more oversight: that depends on {}", listed(why))));
        failures
    }
}
