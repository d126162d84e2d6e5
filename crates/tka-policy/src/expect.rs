//! What a policy must give, as a file beside it says: `policy.tka.yaml` beside `policy.hujson`.

mod held;

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_saphyr::Spanned;
use thiserror::Error;
use tka_core::{Namespaces, Period};

use crate::node::{Node, NodeError};
use crate::policy::Policy;
use crate::source::Position;

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
    /// A test says nothing of what is expected, or of which caller.
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
}
