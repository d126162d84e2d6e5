//! The terminal: messages for users go to standard error, output for programs to standard output.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::terminal::messages;
use crate::terminal::output::PrintError;
use crate::terminal::theme::Palette;

/// Writes to the terminal, or to the stream in its place.
#[derive(Debug)]
pub(crate) struct Ui {
    pub(crate) palette: Palette,
    quiet: bool,
    debug: bool,
}

/// A progress spinner, removed on drop.
#[derive(Debug)]
pub(crate) struct Spinner(Option<ProgressBar>);

/// Writes to standard error. Errors are ignored, since there is nowhere to report them.
pub(crate) fn write_stderr(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// Prints a line for a program: never coloured, never left out.
pub(crate) fn print(line: &str) -> Result<(), PrintError> {
    let mut out = io::stdout();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(PrintError::Write)
}

/// Whether a user at a terminal can answer. Standard output may be evaluated by a shell.
pub(crate) fn is_interactive_terminal() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Whether `eval` reads standard output and a user is at the terminal. The original's shell function calls with `--quiet` so.
#[cfg(unix)]
pub(crate) fn is_captured(quiet: bool) -> bool {
    quiet && !io::stdout().is_terminal() && is_interactive_terminal()
}

// === impl Ui ===

impl Ui {
    pub(crate) fn new(palette: Palette, quiet: bool, debug: bool) -> Self {
        Self { palette, quiet, debug }
    }

    /// Shows a message to the user. Colours go only to a terminal, and not with `NO_COLOR`.
    pub(crate) fn notify(&self, text: &str) {
        if !self.quiet {
            write_stderr(text);
        }
    }

    /// Reads a line. None if it is empty.
    pub(crate) fn prompt(&self, question: &str) -> Option<String> {
        write_stderr(&messages::question(question, &self.palette));
        let mut line = String::new();
        io::stdin().read_line(&mut line).ok()?;
        Some(line.trim().to_owned()).filter(|answer| !answer.is_empty())
    }

    /// Shows a debug message with `--debug`.
    pub(crate) fn debug(&self, text: &str) {
        if self.debug {
            write_stderr(&format!("debug: {}\n", messages::clean(text)));
        }
    }

    /// Shows a spinner on a terminal.
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
