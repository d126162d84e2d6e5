//! What a policy must give, as a file beside it says: `policy.tka.yaml` beside `policy.hujson`.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_saphyr::Spanned;
use thiserror::Error;
use tka_core::{Namespaces, Oversight, Period, Rule, Scope, SessionOversight};

use crate::node::{Node, NodeError};
use crate::policy::Policy;
use crate::source::Position;
use crate::who::Answer;

/// The expectations of one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectations {
    /// What the server's node is: tags, a user, addresses, hosts.
    #[serde(default)]
    to: Vec<String>,
    tests: Vec<Spanned<Test>>,
}

/// What one caller must have, and must not have.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    name: Option<String>,
    r#as: Option<String>,
    #[serde(default)]
    tags: Vec<String>,
    #[serde(default)]
    device: Vec<String>,
    #[serde(default)]
    r#in: Vec<String>,
    #[serde(default)]
    to: Vec<String>,
    #[serde(default)]
    may: Vec<Expected>,
    #[serde(default)]
    may_not: Vec<Expected>,
    takes: Option<Expected>,
    #[serde(default)]
    nothing: bool,
    oversight: Option<ExpectedOversight>,
}

/// A rule, as far as it matters.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    role: Option<String>,
    name: Option<String>,
    namespaces: Option<Namespaces>,
    #[serde(default)]
    whole_cluster: bool,
    r#for: Option<Period>,
}

/// Oversight, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpectedOversight {
    recordings: Option<bool>,
    audit: Option<bool>,
    sessions: Option<ExpectedSessions>,
    approve: Option<BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
enum ExpectedSessions {
    None,
    Read,
    End,
}

/// How one test came out.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Outcome {
    /// What the file calls it, or what it is about.
    pub name: String,
    /// Where it is in the file.
    #[serde(flatten)]
    pub position: Position,
    /// What is not as expected; nothing where all is.
    pub failures: Vec<String>,
}

/// Why a file holds no expectations.
#[derive(Debug, Error)]
pub enum ExpectError {
    /// It has another form.
    #[error("the file with expectations cannot be read")]
    Form(#[source] Box<serde_saphyr::Error>),
    /// A test says nothing of what is expected, or of whom.
    #[error("line {line}: {why}")]
    Test {
        /// Its line.
        line: usize,
        /// What it lacks.
        why: String,
    },
}

// === impl Expectations ===

impl Expectations {
    /// Reads the text of a file.
    pub fn parse(text: &str) -> Result<Self, ExpectError> {
        let read: Self = serde_saphyr::from_str(text).map_err(|error| ExpectError::Form(Box::new(error)))?;
        for test in &read.tests {
            test.value.complaint().map_or(Ok(()), |why| {
                let line = position(test).line;
                Err(ExpectError::Test { line, why: why.into() })
            })?;
        }
        if read.tests.is_empty() {
            let why = "`tests` is empty: a policy of which nothing is expected passes whatever it says".into();
            return Err(ExpectError::Test { line: 1, why });
        }
        Ok(read)
    }

    /// Holds a policy against them. `server` is what the server's node is where the file does not say.
    pub fn test(
        &self,
        policy: &Policy,
        server: Option<&Node>,
        min_period: Period,
    ) -> Result<Vec<Outcome>, ExpectError> {
        self.tests
            .iter()
            .map(|test| self.outcome(test, policy, server, min_period))
            .collect()
    }

    fn outcome(
        &self,
        test: &Spanned<Test>,
        policy: &Policy,
        server: Option<&Node>,
        min_period: Period,
    ) -> Result<Outcome, ExpectError> {
        let position = position(test);
        let wrong = |why: String| ExpectError::Test {
            line: position.line,
            why,
        };
        let unsaid = || wrong("it is not said what the server's node is: give `to: [tag:tka]`".into());
        let said = if test.value.to.is_empty() {
            &self.to
        } else {
            &test.value.to
        };
        let server = if said.is_empty() {
            server.cloned().ok_or_else(unsaid)?
        } else {
            node(said, policy).map_err(|error| wrong(error.to_string()))?
        };
        let caller = test.value.caller(policy).map_err(|error| wrong(error.to_string()))?;
        let answer = policy.who(&caller, &server, min_period);
        let name = test.value.name.clone().unwrap_or_else(|| test.value.subject());
        Ok(Outcome {
            name,
            position,
            failures: test.value.failures(&answer),
        })
    }
}

fn position<T>(spanned: &Spanned<T>) -> Position {
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Position {
        line: number(spanned.referenced.line()),
        column: number(spanned.referenced.column()),
    }
}

fn node(said: &[String], policy: &Policy) -> Result<Node, NodeError> {
    let mut node = Node::default();
    said.iter().try_for_each(|text| node.say(text, policy))?;
    Ok(node)
}

// === impl Test ===

impl Test {
    fn complaint(&self) -> Option<&'static str> {
        let expects = !self.may.is_empty()
            || !self.may_not.is_empty()
            || self.takes.is_some()
            || self.nothing
            || self.oversight.is_some();
        if !expects {
            return Some("it expects nothing: give `may`, `may_not`, `takes`, `oversight`, or `nothing: true`");
        }
        if self.r#as.is_none() && self.tags.is_empty() && self.device.is_empty() {
            return Some("it is not said whose access it is about: give `as`, `tags` or `device`");
        }
        let all = self.may.iter().chain(&self.may_not).chain(&self.takes);
        let is_empty = |expected: &Expected| expected.role.is_none() && expected.name.is_none();
        all.clone()
            .any(is_empty)
            .then_some("a rule is expected without `role` and without `name`")
    }

    fn caller(&self, policy: &Policy) -> Result<Node, NodeError> {
        let mut caller = Node {
            user: self.r#as.clone(),
            tags: self.tags.iter().cloned().collect(),
            member_of: self.r#in.iter().cloned().collect(),
            ..Node::default()
        };
        self.device.iter().try_for_each(|text| caller.say(text, policy))?;
        caller.check()?;
        Ok(caller)
    }

    fn subject(&self) -> String {
        let parts = self.r#as.iter().chain(&self.tags).chain(&self.device);
        parts.map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    fn failures(&self, answer: &Answer) -> Vec<String> {
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
    if let Err(refusal @ tka_core::Refusal::MalformedRule(error)) = &answer.taken {
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

fn listed(why: &BTreeSet<crate::Why>) -> String {
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
        if let Err(refusal @ tka_core::Refusal::MalformedRule(error)) = &answer.taken {
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
