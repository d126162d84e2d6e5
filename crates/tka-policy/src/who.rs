//! What a policy gives one caller at one server: the same reading and the same choice as the server's.

use std::collections::BTreeSet;

use tka_core::oversight::OversightError;
use tka_core::{ApplicableRules, Identity, Limits, Oversight, Period, Refusal, Rule, RuleSelector};

use crate::certainty::{Certainty, UnknownReason};
use crate::finding::{Kind, Level};
use crate::grants::ServerView;
use crate::node::Node;
use crate::policy::{Policy, Raw};

/// What a policy gives one caller at one server.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The rules that apply for sure, the highest first. Empty where one value is no rule: then the server refuses all.
    pub rules: Vec<Located<Rule>>,
    /// The rule that a sign-in takes which chooses none.
    pub taken: Result<Rule, Refusal>,
    /// Rules of which it cannot be known whether they apply, and why not.
    pub perhaps: Vec<(Located<Rule>, BTreeSet<UnknownReason>)>,
    /// What the caller has of oversight for sure.
    pub oversight: Oversight,
    /// Values of oversight that give nothing.
    pub refused: Vec<OversightError>,
    /// Oversight of which it cannot be known whether the caller has it.
    pub perhaps_oversight: Vec<(Located<Oversight>, BTreeSet<UnknownReason>)>,
    /// Whether the control server would refuse the policy, so that it gives nothing at all.
    pub policy_is_refused: bool,
}

/// Something that a policy gives, and the byte of its text where it does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Located<T> {
    /// Where.
    pub at: usize,
    /// What.
    pub what: T,
}

impl Policy {
    /// What it gives `caller` at `server`, which has no session shorter than `min_period`.
    #[must_use]
    pub fn who(&self, caller: &Node, server: &Node, min_period: Period) -> Answer {
        let towards = ServerView::new(self, server);
        let seen = towards.selection.see(caller);
        let mut sure: Vec<&Raw> = Vec::new();
        let mut overseen: Vec<&Raw> = Vec::new();
        let (mut perhaps, mut perhaps_oversight) = (Vec::new(), Vec::new());
        let identity = identity(caller);
        for grant in &self.grants {
            match towards.gives(grant, &seen) {
                Certainty::No => {}
                Certainty::Yes => {
                    sure.extend(grant.rules.iter().map(|value| &value.raw));
                    overseen.extend(grant.oversight.iter().map(|value| &value.raw));
                }
                Certainty::Unknown(why) => {
                    let rules = grant.rules.iter().filter_map(|value| {
                        let what = value.rule.clone().ok()?;
                        let at = value.raw.at;
                        Some((Located { at, what }, why.clone()))
                    });
                    perhaps.extend(rules);
                    let oversight = grant.oversight.iter().map(|value| {
                        let (what, _) = Oversight::parse(&identity, [value.raw.text.as_str()]);
                        let at = value.raw.at;
                        (Located { at, what }, why.clone())
                    });
                    perhaps_oversight.extend(oversight);
                }
            }
        }
        let (rules, taken) = decide(&sure, min_period);
        let (oversight, refused) = Oversight::parse(&identity, overseen.iter().map(|raw| raw.text.as_str()));
        Answer {
            rules,
            taken,
            perhaps,
            oversight,
            refused,
            perhaps_oversight,
            policy_is_refused: self.is_refused(),
        }
    }

    /// Whether the control server refuses it, as far as it is looked at here.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.found
            .iter()
            .any(|found| found.level == Level::Error && found.kind != Kind::Incomplete)
    }
}

/// As the server decides: one value that is no rule refuses all.
fn decide(values: &[&Raw], min_period: Period) -> (Vec<Located<Rule>>, Result<Rule, Refusal>) {
    let rules = match ApplicableRules::parse(values.iter().map(|raw| raw.text.as_str())) {
        Ok(rules) => rules,
        Err(error) => return (Vec::new(), Err(error.into())),
    };
    let place = |rule: &Rule| {
        let found = values.iter().find(|raw| Rule::parse(&raw.text).as_ref() == Ok(rule));
        found.map_or(0, |raw| raw.at)
    };
    let given = rules.rules().iter().map(|rule| Located {
        at: place(rule),
        what: rule.clone(),
    });
    let taken = rules.choose(&RuleSelector::default()).and_then(|rule| {
        Limits::at_least(min_period).period(rule, None)?;
        Ok(rule.clone())
    });
    (given.collect(), taken)
}

/// Whether it is a user or a machine: what oversight gives depends on it. The ID is not asked for.
fn identity(caller: &Node) -> Identity {
    match &caller.user {
        Some(user) => Identity::user(0, user.as_str()),
        None => Identity::machine(caller.tags.iter().cloned()),
    }
}
