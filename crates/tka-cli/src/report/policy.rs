//! Renders what a policy gives, and what roles can really do.

use std::collections::BTreeSet;

use serde::Serialize;
use tka_core::{Oversight, Rule, SessionOversight, escalation};
use tka_policy::{Answer, Lines, Located, Position, UnknownReason};

use super::sessions::scope;
use crate::policy::roles::RoleRisks;
use crate::terminal::messages::clean;
use crate::terminal::output::{RenderOptions, Report, lines};
use crate::terminal::table::table;
use crate::terminal::time_format;

/// What a policy gives one caller.
#[derive(Debug, Serialize)]
pub(crate) struct Who {
    /// The caller.
    caller: String,
    /// The server.
    server: String,
    /// Rules that apply, and those that may, each in the order of their priorities.
    rules: Vec<WhoRule>,
    /// Why a sign-in that chooses no rule is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// Oversight that applies.
    oversight: WhoOversight,
    /// What it depends on whether there is more oversight.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    oversight_depends_on: BTreeSet<String>,
    /// Values of oversight that give nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    oversight_refused: Vec<String>,
}

#[derive(Debug, Serialize)]
struct WhoRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    role: String,
    namespaces: Vec<String>,
    period: String,
    priority: i64,
    require_reason: bool,
    /// How many others must approve a sign-in.
    #[serde(skip_serializing_if = "Option::is_none")]
    approvals: Option<u32>,
    /// Whether a sign-in alarms others.
    break_glass: bool,
    /// Whether a sign-in takes it that chooses none.
    taken: bool,
    /// What it depends on whether it applies; it does if nothing.
    depends_on: Vec<String>,
    #[serde(flatten)]
    position: Position,
}

#[derive(Debug, Default, Serialize)]
struct WhoOversight {
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<&'static str>,
    recordings: bool,
    audit: bool,
    approve: Vec<String>,
}

// === impl Who ===

impl Who {
    pub(crate) fn new(caller: &str, server: &str, text: &str, answer: &Answer) -> Self {
        let places = Lines::new(text);
        let taken = answer.taken.as_ref().ok();
        let sure = answer
            .rules
            .iter()
            .map(|given| WhoRule::new(given, &[], taken, &places));
        let mut perhaps: Vec<_> = answer.perhaps.iter().collect();
        perhaps.sort_by_key(|(given, _)| std::cmp::Reverse(given.what.priority));
        let perhaps = perhaps
            .into_iter()
            .map(|(given, why)| WhoRule::new(given, &words(why), None, &places));
        let depends = answer.perhaps_oversight.iter().flat_map(|(_, why)| words(why));
        Self {
            caller: caller.to_owned(),
            server: server.to_owned(),
            rules: sure.chain(perhaps).collect(),
            refused: answer.taken.as_ref().err().map(|refusal| {
                let cause = std::error::Error::source(refusal).map(|cause| format!(": {cause}"));
                format!("{refusal}{}", cause.unwrap_or_default())
            }),
            oversight: WhoOversight::new(&answer.oversight),
            oversight_depends_on: depends.collect(),
            oversight_refused: answer.refused.iter().map(ToString::to_string).collect(),
        }
    }

    fn oversight_line(&self) -> Option<String> {
        let WhoOversight {
            sessions,
            recordings,
            audit,
            approve,
        } = &self.oversight;
        let sessions = sessions.map(|sessions| format!("sessions ({sessions})"));
        let recordings = recordings.then(|| "recordings".to_owned());
        let audit = audit.then(|| "audit".to_owned());
        let approve = (!approve.is_empty()).then(|| format!("approve {}", approve.join(", ")));
        let all: Vec<_> = [sessions, recordings, audit, approve].into_iter().flatten().collect();
        (!all.is_empty()).then(|| format!("oversight: {}", clean(&all.join("; "))))
    }
}

fn words(why: &BTreeSet<UnknownReason>) -> Vec<String> {
    why.iter().map(ToString::to_string).collect()
}

impl Report for Who {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let rows: Vec<_> = self.rules.iter().map(WhoRule::row).collect();
        let heading = ["RULE", "ROLE", "WHERE", "AT MOST", "PRIORITY", "LINE", "NOTES"];
        let rules = if rows.is_empty() {
            String::new()
        } else {
            table(heading, &rows, options)
        };
        let refused = self
            .refused
            .as_ref()
            .map(|why| format!("a sign-in is refused: {}", clean(why)));
        let depends = self.oversight_depends_on.iter();
        let depends = depends.map(|why| format!("oversight cannot be known: it depends on {}", clean(why)));
        let more = refused.into_iter().chain(self.oversight_line()).chain(depends);
        let none = self.oversight_refused.iter().map(|why| clean(why));
        rules + &lines(more.chain(none))
    }

    /// Names of rules that apply for sure, or their roles.
    fn names(&self) -> Vec<String> {
        let sure = self.rules.iter().filter(|rule| rule.depends_on.is_empty());
        sure.map(|rule| rule.name.clone().unwrap_or_else(|| rule.role.clone()))
            .collect()
    }
}

// === impl WhoRule ===

impl WhoRule {
    fn new(given: &Located<Rule>, depends_on: &[String], taken: Option<&Rule>, places: &Lines<'_>) -> Self {
        let rule = &given.what;
        Self {
            name: rule.name.as_ref().map(ToString::to_string),
            role: rule.role.to_string(),
            namespaces: rule.scope.to_names(),
            period: rule.period.to_string(),
            priority: rule.priority,
            require_reason: rule.require_reason,
            approvals: rule.approval.as_ref().map(|approval| approval.count.get()),
            break_glass: rule.break_glass,
            taken: taken == Some(rule),
            depends_on: depends_on.to_vec(),
            position: places.position(given.at),
        }
    }

    fn row(&self) -> [String; 7] {
        let taken = self.taken.then(|| "taken by a plain sign-in".to_owned());
        let depends = self
            .depends_on
            .iter()
            .map(|why| format!("cannot be known: it depends on {}", clean(why)));
        let reason = self.require_reason.then(|| "requires a reason".to_owned());
        let approvals = self
            .approvals
            .map(|count| format!("must be approved by others ({count})"));
        let glass = self.break_glass.then(|| "alarms others".to_owned());
        let notes = taken
            .into_iter()
            .chain(reason)
            .chain(glass)
            .chain(approvals)
            .chain(depends);
        let Position { line, column } = self.position;
        [
            self.name.as_deref().map(clean).unwrap_or_default(),
            clean(&self.role),
            scope(&self.namespaces),
            time_format::period(&self.period),
            self.priority.to_string(),
            format!("{line}:{column}"),
            notes.collect::<Vec<_>>().join("; "),
        ]
    }
}

// === impl WhoOversight ===

impl WhoOversight {
    fn new(oversight: &Oversight) -> Self {
        let sessions = |sessions| match sessions {
            SessionOversight::Read => "read",
            SessionOversight::End => "end",
        };
        Self {
            sessions: oversight.sessions.map(sessions),
            recordings: oversight.recordings,
            audit: oversight.audit,
            approve: oversight.approve.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Roles, and what follows from them.
#[derive(Debug, Serialize)]
pub(crate) struct Roles {
    pub(crate) items: Vec<RoleRisks>,
}

impl Report for Roles {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let texts = self.items.iter().map(|role| {
            let name = clean(&role.name);
            let found = role.escalations.iter().map(|found| paragraph(found, options));
            let found: Vec<_> = found.collect();
            if found.is_empty() {
                format!("{name}\n  no more than it says\n")
            } else {
                format!("{name}\n{}", found.concat())
            }
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The roles from which more follows than they say.
    fn names(&self) -> Vec<String> {
        let risky = self.items.iter().filter(|role| !role.escalations.is_empty());
        risky.map(|role| role.name.clone()).collect()
    }
}

fn paragraph(found: &escalation::Escalation, options: &RenderOptions<'_>) -> String {
    let names: Vec<_> = found.names.iter().map(|name| clean(name)).collect();
    let only = if names.is_empty() {
        String::new()
    } else {
        format!(" Only of these names: {}.", names.join(", "))
    };
    let text = format!("{}{only}", found.sentence);
    let text = crate::terminal::messages::hanging(&text, "    ", options.width);
    format!("  {}\n    {text}\n    {}\n", found.id, found.source)
}
