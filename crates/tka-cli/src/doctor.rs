//! Checks everything between the user and the cluster, in the order of dependencies.

mod check;
mod dependencies;
mod gateway;
mod machine;
mod network;
mod render;

use serde::Serialize;

use crate::context::CommandContext;
use crate::exit::Exit;
use check::{Check, Verdict};

/// All checks, in their order.
#[derive(Debug, Serialize)]
pub(crate) struct Diagnosis {
    /// Whether nothing is wrong.
    ok: bool,
    pub(crate) checks: Vec<Check>,
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
        self.failed().next().map_or(Exit::Ok, |check| check.finding.exit)
    }

    fn failed(&self) -> impl Iterator<Item = &Check> {
        let checks = self.checks.iter();
        checks.filter(|check| check.finding.result == Verdict::Failed)
    }
}

#[cfg(test)]
mod tests {
    use super::check::Finding;
    use super::*;
    use crate::terminal::messages::tests::options;
    use crate::terminal::output::{RenderOptions, Report};
    use crate::terminal::theme::Theme;

    #[test]
    fn narrow_terminals_get_wrapped_lines() {
        let fix = "start tailscaled, or set the path of its socket with `tka config tailscale.socket PATH`";
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
                     → start tailscaled, or set
                       the path of its socket
                       with `tka config
                       tailscale.socket PATH`
        – name       needs `tailscale`
        ");
    }
}
