//! What is wrong with a policy, and where.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::source::{Lines, Position};

/// How many findings are told. The others are counted: a file of many megabytes may be wrong everywhere.
pub const MAX_FINDINGS: usize = 1000;

/// How bad it is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A caller would be refused, or the control server refuses the policy.
    Error,
    /// It does not do what it seems to.
    Warning,
}

/// What kind of thing is wrong. The names are stable.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The file is no `HuJSON`.
    Syntax,
    /// A part of it has another shape than it must have.
    Shape,
    /// An object has a field twice.
    DuplicateKey,
    /// There is no such section or field.
    UnknownField,
    /// A group, tag, host or IP set is named that the policy does not have.
    UnknownName,
    /// Groups, IP sets or tag owners lead back to themselves.
    Cycle,
    /// The server would refuse the value of the capability with rules.
    MalformedRule,
    /// The value of the capability of oversight gives nothing.
    MalformedOversight,
    /// The period is below the server's shortest.
    PeriodTooShort,
    /// The chart does not list the role.
    RoleNotListed,
    /// No caller can have the rule.
    Unreachable,
    /// A caller would be refused, because rules share the highest priority.
    EqualPriorities,
    /// The rule is given towards what is no TKA server.
    NotAServer,
    /// The value has no effect where it is.
    NoEffect,
    /// Not all callers were looked at.
    Incomplete,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: Kind,
    /// How bad it is.
    pub level: Level,
    /// Where.
    #[serde(flatten)]
    pub position: Position,
    /// What is wrong, and what to do.
    pub message: String,
}

/// All that is wrong with one file.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Findings {
    /// In the order of the file.
    pub items: Vec<Finding>,
    /// How many more there are.
    pub left_out: usize,
    /// How many of all are errors.
    pub errors: usize,
    /// How many of all are warnings.
    pub warnings: usize,
}

/// A finding at a byte of the text.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Found {
    pub(crate) at: usize,
    pub(crate) kind: Kind,
    pub(crate) level: Level,
    pub(crate) message: String,
}

// === impl Kind ===

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 15] = [
        Self::Syntax,
        Self::Shape,
        Self::DuplicateKey,
        Self::UnknownField,
        Self::UnknownName,
        Self::Cycle,
        Self::MalformedRule,
        Self::MalformedOversight,
        Self::PeriodTooShort,
        Self::RoleNotListed,
        Self::Unreachable,
        Self::EqualPriorities,
        Self::NotAServer,
        Self::NoEffect,
        Self::Incomplete,
    ];

    /// Its name in output for programs.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.words().0
    }

    /// What such a finding means, in a sentence.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.words().1
    }

    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Syntax => ("syntax", "The file is not HuJSON."),
            Self::Shape => ("shape", "A part of the policy has another shape than it must have."),
            Self::DuplicateKey => ("duplicate-key", "An object has the same field twice."),
            Self::UnknownField => (
                "unknown-field",
                "The control server does not know this section or field.",
            ),
            Self::UnknownName => (
                "unknown-name",
                "A group, tag, host or IP set is named that the policy does not have.",
            ),
            Self::Cycle => ("cycle", "Groups, IP sets or tag owners lead back to themselves."),
            Self::MalformedRule => (
                "malformed-rule",
                "The server refuses all callers that this value reaches.",
            ),
            Self::MalformedOversight => (
                "malformed-oversight",
                "This value of the oversight capability gives nothing.",
            ),
            Self::PeriodTooShort => ("period-too-short", "The server refuses sessions as short as this."),
            Self::RoleNotListed => (
                "role-not-listed",
                "The chart does not list the role, so that the server may not bind it.",
            ),
            Self::Unreachable => ("unreachable", "No caller can have this rule."),
            Self::EqualPriorities => (
                "equal-priorities",
                "Rules share the highest priority, so that a caller who does not choose is refused.",
            ),
            Self::NotAServer => (
                "not-a-server",
                "The rule is given towards a node that is no TKA server.",
            ),
            Self::NoEffect => ("no-effect", "The value has no effect where it is."),
            Self::Incomplete => ("incomplete", "The policy has more callers than are compared."),
        }
    }
}

// === impl Findings ===

impl Findings {
    /// Puts findings into the order of the text, each once.
    pub(crate) fn new(lines: &Lines<'_>, found: Vec<Found>) -> Self {
        let found: BTreeSet<Found> = found.into_iter().collect();
        let errors = found.iter().filter(|found| found.level == Level::Error).count();
        let all = found.len();
        let items = found.into_iter().take(MAX_FINDINGS).map(|found| Finding {
            kind: found.kind,
            level: found.level,
            position: lines.position(found.at),
            message: found.message,
        });
        Self {
            items: items.collect(),
            left_out: all.saturating_sub(MAX_FINDINGS),
            errors,
            warnings: all - errors,
        }
    }
}

// === impl Found ===

impl Found {
    pub(crate) fn error(at: usize, kind: Kind, message: impl Into<String>) -> Self {
        Self {
            at,
            kind,
            level: Level::Error,
            message: message.into(),
        }
    }

    pub(crate) fn warning(at: usize, kind: Kind, message: impl Into<String>) -> Self {
        Self {
            level: Level::Warning,
            ..Self::error(at, kind, message)
        }
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
        })
    }
}
