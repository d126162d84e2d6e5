//! A check and its finding.

use std::time::Duration;

use serde::Serialize;

use crate::exit::Exit;

/// How long tailscaled, the API server and kubectl may take each. They respond soon or not at all.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// One check and its finding. Scripts rely on the names.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) finding: Finding,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) result: Verdict,
    /// The finding as a sentence.
    pub(crate) found: String,
    /// What to do, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fix: Vec<String>,
    #[serde(skip)]
    pub(super) exit: Exit,
}

/// The result of a check.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    Failed,
    /// A check that this one needs failed.
    Skipped,
}

// === impl Finding ===

impl Finding {
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self {
            result: Verdict::Ok,
            found: found.into(),
            fix: vec![],
            exit: Exit::Ok,
        }
    }

    pub(super) fn failed(exit: Exit, found: impl Into<String>, fix: Vec<String>) -> Self {
        Self {
            result: Verdict::Failed,
            found: found.into(),
            fix,
            exit,
        }
    }

    pub(super) fn skipped(found: impl Into<String>) -> Self {
        Self {
            result: Verdict::Skipped,
            found: found.into(),
            fix: vec![],
            exit: Exit::Ok,
        }
    }

    pub(super) fn named(self, name: &'static str) -> Check {
        Check { name, finding: self }
    }
}
