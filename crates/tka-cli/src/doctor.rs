//! Checks everything between the user and the cluster, in the order of dependencies.

mod dependencies;
mod machine;
mod network;
mod render;

use std::time::Duration;

use serde::Serialize;

use crate::context::CommandContext;
use crate::exit::Exit;

/// How long tailscaled, the API server and kubectl may take each. They respond soon or not at all.
const LIMIT: Duration = Duration::from_secs(5);

/// All checks, in their order.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// Whether nothing is wrong.
    ok: bool,
    pub(crate) checks: Vec<Check>,
}

/// One check and its finding. Scripts rely on the names.
#[derive(Debug, Serialize)]
pub(crate) struct Check {
    pub(crate) name: &'static str,
    #[serde(flatten)]
    pub(crate) finding: Finding,
}

/// The finding of a check.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) result: Verdict,
    /// The finding as a sentence.
    pub(crate) found: String,
    /// What to do, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fix: Vec<String>,
    #[serde(skip)]
    exit: Exit,
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

/// Runs all checks. Changes nothing.
pub(crate) fn diagnose(ctx: &CommandContext) -> Diagnosis {
    let mut checks = network::checks(ctx);
    checks.extend(machine::checks(ctx));
    Diagnosis {
        ok: checks.iter().all(|check| check.finding.result != Verdict::Failed),
        checks,
    }
}

// === impl Diagnosis ===

impl Diagnosis {
    /// The exit status of the first failed check.
    pub(crate) fn exit(&self) -> Exit {
        let mut failed = self
            .checks
            .iter()
            .filter(|check| check.finding.result == Verdict::Failed);
        failed.next().map_or(Exit::Ok, |check| check.finding.exit)
    }
}

// === impl Finding ===

impl Finding {
    fn ok(found: impl Into<String>) -> Self {
        Self {
            result: Verdict::Ok,
            found: found.into(),
            fix: vec![],
            exit: Exit::Ok,
        }
    }

    fn failed(exit: Exit, found: impl Into<String>, fix: Vec<String>) -> Self {
        Self {
            result: Verdict::Failed,
            found: found.into(),
            fix,
            exit,
        }
    }

    fn skipped(found: impl Into<String>) -> Self {
        Self {
            result: Verdict::Skipped,
            found: found.into(),
            fix: vec![],
            exit: Exit::Ok,
        }
    }

    fn named(self, name: &'static str) -> Check {
        Check { name, finding: self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::messages::tests::options;
    use crate::terminal::output::{RenderOptions, Report};
    use crate::terminal::theme::Theme;

    #[test]
    fn narrow_terminals_get_wrapped_lines() {
        let fix = "start tailscaled, or say with `tka config tailscale.socket PATH` where its socket is";
        let checks = vec![
            Finding::failed(
                Exit::Unreachable,
                "no tailscaled listens at /nowhere/sock",
                vec![fix.into()],
            )
            .named("tailscale"),
            Finding::skipped("needs `tailscale`").named("name"),
        ];
        let (palette, diagnosis) = (Theme::Notty.palette(), Diagnosis { ok: false, checks });
        let narrow = RenderOptions {
            width: Some(40),
            ..options(&palette)
        };
        insta::assert_snapshot!(diagnosis.human(&narrow), @"
        ✗ tailscale  no tailscaled listens at
                     /nowhere/sock
                     → start tailscaled, or say
                       with `tka config
                       tailscale.socket PATH`
                       where its socket is
        – name       needs `tailscale`
        ");
    }
}
