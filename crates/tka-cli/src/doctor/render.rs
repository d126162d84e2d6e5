//! What is wrong and what is not, in words.

use std::iter;

use anstyle::Style;
use console::{Alignment, measure_text_width, pad_str};

use crate::doctor::{Check, Diagnosis, Verdict};
use crate::terminal::messages::{clean, hanging};
use crate::terminal::output::{self, Look, Report};
use crate::terminal::theme::paint;

// === impl Diagnosis ===

impl Report for Diagnosis {
    fn human(&self, look: &Look<'_>) -> String {
        let signs = look.palette.signs;
        let sign_width = [signs.ok, signs.error, signs.skipped].map(measure_text_width);
        let sign_width = sign_width.into_iter().max().unwrap_or(0);
        let name_width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let indent = " ".repeat(sign_width + name_width + 2);
        let text = |check: &Check| {
            let (sign, style) = sign(check.finding.result, look);
            let sign = paint(style, pad_str(sign, sign_width, Alignment::Left, None));
            let name = paint(look.palette.label, format_args!("{:name_width$}", check.name));
            let found = hanging(&clean(&check.finding.found), &format!("{indent} "), look.width);
            let first = format!("{sign} {name}  {found}");
            let arrow = paint(look.palette.strong, signs.arrow);
            let below = format!("{indent} {} ", " ".repeat(measure_text_width(signs.arrow)));
            let fix = |fix: &String| format!("{indent} {arrow} {}", hanging(&clean(fix), &below, look.width));
            let fixes = check.finding.fix.iter().map(fix);
            output::lines(iter::once(first).chain(fixes))
        };
        self.checks.iter().map(text).collect()
    }

    /// What is wrong.
    fn names(&self) -> Vec<String> {
        let failed = self
            .checks
            .iter()
            .filter(|check| check.finding.result == Verdict::Failed);
        failed.map(|check| check.name.to_owned()).collect()
    }
}

fn sign(verdict: Verdict, look: &Look<'_>) -> (&'static str, Style) {
    let palette = look.palette;
    match verdict {
        Verdict::Ok => (palette.signs.ok, palette.ok),
        Verdict::Failed => (palette.signs.error, palette.error),
        Verdict::Skipped => (palette.signs.skipped, palette.label),
    }
}
