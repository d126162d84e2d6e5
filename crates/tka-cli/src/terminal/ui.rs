//! The terminal: what is read by people goes to standard error, what is read by programs to standard output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::messages;
use crate::terminal::output::PrintError;
use crate::terminal::theme::Palette;

/// Writes to the terminal, or to whatever stands in its place.
#[derive(Debug)]
pub(crate) struct Ui {
    pub(crate) palette: Palette,
    quiet: bool,
    debug: bool,
}

/// A sign of life while the server works; gone when dropped.
#[derive(Debug)]
pub(crate) struct Spinner(Option<ProgressBar>);

/// Tells people what they must know. Where nobody can be told, nobody is.
pub(crate) fn write_stderr(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Prints a line for a program: never coloured, never left out.
pub(crate) fn print(line: &str) -> Result<(), PrintError> {
    let mut out = io::stdout();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(PrintError::Write)
}

/// Whether somebody sits before a terminal who can answer. Standard output may be what a shell evaluates.
pub(crate) fn is_interactive_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether standard output goes to `eval`, as the original's shell function has it with `--quiet`, and a person sits before the
/// terminal.
#[cfg(unix)]
pub(crate) fn is_captured(quiet: bool) -> bool {
    quiet && !io::stdout().is_terminal() && is_interactive_terminal()
}

// === impl Ui ===

impl Ui {
    pub(crate) fn new(palette: Palette, quiet: bool, debug: bool) -> Self {
        Self { palette, quiet, debug }
    }

    /// Tells people something beside the result. Colours go only to a terminal, and not with `NO_COLOR`.
    pub(crate) fn notify(&self, text: &str) {
        if !self.quiet {
            write_stderr(text);
        }
    }

    /// Asks for a line; none when nothing is answered.
    pub(crate) fn prompt(&self, question: &str) -> Option<String> {
        write_stderr(&messages::question(question, &self.palette));
        let mut line = String::new();
        io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned()).filter(|answer| !answer.is_empty())
    }

    /// Says how something came to be, with `--debug`.
    pub(crate) fn debug(&self, text: &str) {
        if self.debug {
            write_stderr(&format!("debug: {}\n", messages::clean(text)));
        }
    }

    /// Shows that something is going on, where someone can see it.
    pub(crate) fn spinner(&self, text: &'static str) -> Spinner {
        if self.quiet || self.debug || !io::stderr().is_terminal() {
            return Spinner(None);
        }
        let bar = ProgressBar::new_spinner().with_message(text);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner(Some(bar))
    }
}

// === impl Spinner ===

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
