//! Renders a diagnosis as text.

use std::iter;

use anstyle::Style;
use console::{Alignment, measure_text_width, pad_str};

use crate::doctor::Diagnosis;
use crate::doctor::check::{Check, Verdict};
use crate::terminal::messages::{clean, hanging};
use crate::terminal::output::{self, RenderOptions, Report};
use crate::terminal::theme::paint;

// === impl Diagnosis ===

impl Report for Diagnosis {
    fn human(&self, options: &RenderOptions<'_>) -> String {
        let signs = options.palette.signs;
        let sign_width = [signs.ok, signs.error, signs.skipped].map(measure_text_width);
        let sign_width = sign_width.into_iter().max().unwrap_or(0);
        let name_width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let indent = " ".repeat(sign_width + name_width + 2);
        let text = |check: &Check| {
            let (sign, style) = sign(check.finding.result, options);
            let sign = paint(style, pad_str(sign, sign_width, Alignment::Left, None));
            let name = paint(options.palette.label, format_args!("{:name_width$}", check.name));
            let found = hanging(&clean(&check.finding.found), &format!("{indent} "), options.width);
            let first = format!("{sign} {name}  {found}");
            let arrow = paint(options.palette.strong, signs.arrow);
            let below = format!("{indent} {} ", " ".repeat(measure_text_width(signs.arrow)));
            let fix = |fix: &String| format!("{indent} {arrow} {}", hanging(&clean(fix), &below, options.width));
            let fixes = check.finding.fix.iter().map(fix);
            output::lines(iter::once(first).chain(fixes))
        };
        self.checks.iter().map(text).collect()
    }

    /// The failed checks.
    fn names(&self) -> Vec<String> {
        self.failed().map(|check| check.name.to_owned()).collect()
    }
}

fn sign(verdict: Verdict, options: &RenderOptions<'_>) -> (&'static str, Style) {
    let palette = options.palette;
    match verdict {
        Verdict::Ok => (palette.signs.ok, palette.ok),
        Verdict::Failed => (palette.signs.error, palette.error),
        Verdict::Skipped => (palette.signs.skipped, palette.label),
    }
}
