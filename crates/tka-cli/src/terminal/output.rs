//! Prints results, for users or for programs.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use console::Term;
use serde::Serialize;

use crate::terminal::messages::Clock;
use crate::terminal::theme::{Palette, Theme};

/// The form of a result.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Format {
    /// JSON, with the fields of the HTTP API
    Json,
    /// The same fields as YAML
    Yaml,
    /// Names only, one per line
    Name,
}

/// The flag for the format of a result.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub(crate) struct Output {
    /// Output format for programs: complete, with stable fields; --quiet alone means `name`
    #[arg(short = 'o', long = "output", value_name = "FORMAT", value_enum)]
    format: Option<Format>,
}

/// The settings for results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OutputMode {
    /// Whether to print names only.
    pub(crate) quiet: bool,
    /// Whether to show more.
    pub(crate) long: bool,
    pub(crate) theme: Theme,
}

/// Why a result cannot be printed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PrintError {
    #[error("cannot write to standard output")]
    Write(#[source] io::Error),
    #[error("the result cannot be printed in that format")]
    Form(#[source] io::Error),
}

/// A result. Programs read its [`Serialize`] form.
pub(crate) trait Report: Serialize {
    /// The text for users.
    fn human(&self, options: &RenderOptions<'_>) -> String;

    /// The names in the result.
    fn names(&self) -> Vec<String>;
}

/// How to render text for users.
#[derive(Clone, Debug)]
pub(crate) struct RenderOptions<'a> {
    pub(crate) palette: &'a Palette,
    pub(crate) clock: Clock,
    /// Columns of the terminal. None without a terminal.
    pub(crate) width: Option<u16>,
    /// Whether to show more.
    pub(crate) long: bool,
}

// === impl Output ===

impl Output {
    /// The format to print in. None means text for users.
    pub(crate) fn format(self, quiet: bool) -> Option<Format> {
        self.format.or(quiet.then_some(Format::Name))
    }

    /// Prints `report`. Returns whether it was text for users.
    pub(crate) fn print(self, mode: OutputMode, report: &impl Report) -> Result<bool, PrintError> {
        let format = self.format(mode.quiet);
        let palette = mode.theme.palette();
        let text = match format {
            Some(format) => format.render(report)?,
            None => report.human(&RenderOptions::new(&palette, mode.long)),
        };
        // Output for programs has no colours, and must not lose a byte.
        match format {
            Some(_) => write(&mut io::stdout(), &text)?,
            None => write(&mut anstream::stdout(), &text)?,
        }
        Ok(format.is_none())
    }

    /// Prints a single thing. --quiet prints nothing and leaves the exit status.
    pub(crate) fn print_one(self, mode: OutputMode, report: &impl Report) -> Result<(), PrintError> {
        if mode.quiet && self.format.is_none() {
            return Ok(());
        }
        self.print(mode, report).map(drop)
    }

    /// Prints without settings. `human` is the text for users.
    pub(crate) fn print_or_default(self, report: &impl Report, human: &str) -> Result<(), PrintError> {
        let text = self.format.map(|format| format.render(report)).transpose()?;
        write(&mut io::stdout(), text.as_deref().unwrap_or(human))
    }
}

fn write(out: &mut impl Write, text: &str) -> Result<(), PrintError> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(PrintError::Write)
}

// === impl Format ===

impl Format {
    fn render(self, report: &impl Report) -> Result<String, PrintError> {
        match self {
            Self::Json => {
                let text = serde_json::to_string_pretty(report).map_err(|error| PrintError::Form(error.into()))?;
                Ok(text + "\n")
            }
            Self::Yaml => serde_saphyr::to_string(report).map_err(|error| PrintError::Form(io::Error::other(error))),
            Self::Name => Ok(lines(report.names())),
        }
    }
}

/// Joins `lines`, each with its line end.
pub(crate) fn lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> String {
    let lines = lines.into_iter();
    lines.fold(String::new(), |text, line| text + line.as_ref() + "\n")
}

// === impl RenderOptions ===

impl<'a> RenderOptions<'a> {
    fn new(palette: &'a Palette, long: bool) -> Self {
        Self {
            palette,
            clock: Clock::system(),
            width: stdout_width(),
            long,
        }
    }

    /// The options for standard error.
    pub(crate) fn for_stderr(palette: &'a Palette) -> Self {
        Self {
            width: stderr_width(),
            ..Self::new(palette, false)
        }
    }
}

/// Columns of the terminal on standard output. None if it is not a terminal.
pub(crate) fn stdout_width() -> Option<u16> {
    width(&io::stdout(), &Term::stdout())
}

/// Columns and rows of the terminal on standard output. None if it is not a terminal.
pub(crate) fn stdout_size() -> Option<(u16, u16)> {
    let size = Term::stdout().size_checked().filter(|_| io::stdout().is_terminal());
    size.map(|(rows, columns)| (columns, rows))
}

/// Columns of the terminal on standard error. None if it is not a terminal.
pub(crate) fn stderr_width() -> Option<u16> {
    width(&io::stderr(), &Term::stderr())
}

/// Columns of the terminal that `stream` writes to.
fn width(stream: &impl IsTerminal, terminal: &Term) -> Option<u16> {
    let size = terminal.size_checked().filter(|_| stream.is_terminal());
    size.map(|(_, columns)| columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Pets {
        items: Vec<&'static str>,
    }

    impl Report for Pets {
        fn human(&self, _: &RenderOptions<'_>) -> String {
            String::new()
        }

        fn names(&self) -> Vec<String> {
            self.items.iter().map(ToString::to_string).collect()
        }
    }

    #[test]
    fn forms_for_programs() {
        let items = vec!["cat", "on"];
        let pets = Pets { items };
        let render = |format: Format| format.render(&pets).unwrap();
        let json = "{\n  \"items\": [\n    \"cat\",\n    \"on\"\n  ]\n}\n";
        assert_eq!(render(Format::Json), json);
        assert_eq!(render(Format::Yaml), "items:\n- cat\n- \"on\"\n");
        assert_eq!(render(Format::Name), "cat\non\n");
    }

    #[test]
    fn quiet_means_names_unless_a_form_is_asked_for() {
        let output = |format| Output { format };
        assert_eq!(output(None).format(false), None);
        assert_eq!(output(None).format(true), Some(Format::Name));
        assert_eq!(output(Some(Format::Json)).format(true), Some(Format::Json));
    }
}
