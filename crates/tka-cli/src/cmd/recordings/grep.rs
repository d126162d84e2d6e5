//! `tka recordings grep`

use std::io::Write as _;
use std::process::ExitCode;

use super::content::{Keys, content};
use super::list::Filter;
use crate::api::client::ClientErrorKind;
use crate::context::CommandContext;
use crate::error::Error;
use crate::exit::Exit;
use crate::recordings::RecordingError;
use crate::recordings::grep::{Match, Matches, Pattern, search};
use crate::recordings::identities::IdentityFiles;
use crate::terminal::messages;
use crate::terminal::output::{Format, Output, RenderOptions};
use crate::terminal::ui;

/// How many recordings are asked for at once.
const PAGE: usize = 1000;

/// Search in what recordings show
///
/// A line is printed as RECORDING TIME USER LINE, without escape sequences. `tka recordings play RECORDING --from TIME` shows it. A carriage
/// return ends a line too. The exit status is 0 where a line is found, 1 where none is, and another where the search failed or is not whole.
#[derive(clap::Args, Debug)]
pub(super) struct Grep {
    /// A regular expression, as the Rust crate `regex` reads it
    #[arg(allow_hyphen_values = true)]
    pattern: String,

    /// IDs of recordings; all that the options choose if left out
    #[arg(value_name = "ID", conflicts_with_all = ["user", "session", "rule", "pod", "since", "until"])]
    ids: Vec<String>,

    /// The pattern is a text, and no regular expression
    #[arg(short = 'F', long)]
    fixed_strings: bool,

    /// Small and capital letters are the same, of those in ASCII
    #[arg(short, long)]
    ignore_case: bool,

    /// Search what was typed too, where the server records it
    #[arg(long)]
    input: bool,

    #[command(flatten)]
    filter: Filter,

    #[command(flatten)]
    keys: Keys,

    #[command(flatten)]
    output: Output,
}

/// A search over several recordings.
struct Search<'a> {
    ctx: &'a CommandContext,
    pattern: Pattern,
    files: IdentityFiles,
    format: Option<Format>,
    /// What is printed at the end, where it is not printed at once.
    matches: Matches,
    is_found: bool,
    /// Whether a recording could not be searched to its end. That is told already.
    has_failed: bool,
}

// === impl Grep ===

impl Grep {
    pub(super) fn run(&self, ctx: &CommandContext) -> Result<ExitCode, Error> {
        let searched = self.search(ctx);
        searched.map_err(|error| Error::Search(Box::new(error)))
    }

    fn search(&self, ctx: &CommandContext) -> Result<ExitCode, Error> {
        let pattern = Pattern::new(&self.pattern, self.fixed_strings, self.ignore_case, self.input);
        let mut search = Search {
            ctx,
            pattern: pattern.map_err(|error| Error::Pattern(error.to_string()))?,
            files: self.keys.files(ctx),
            format: self.output.format(ctx.config.quiet),
            matches: Matches::default(),
            is_found: false,
            has_failed: false,
        };
        if self.ids.is_empty() {
            self.search_all(ctx, &mut search)?;
        } else {
            self.ids.iter().try_for_each(|id| search.one(id))?;
        }
        if matches!(search.format, Some(Format::Json | Format::Yaml)) {
            self.output.print(ctx.config.output_mode(), &search.matches)?;
        }
        Ok(match (search.has_failed, search.is_found) {
            (true, _) => Exit::SearchFailed.into(),
            (false, true) => Exit::Ok.into(),
            (false, false) => Exit::Failure.into(),
        })
    }

    /// Page by page, newest first.
    fn search_all(&self, ctx: &CommandContext, search: &mut Search<'_>) -> Result<(), Error> {
        let (mut before, mut sealed) = (None, 0_u32);
        loop {
            let page = self.filter.page(&ctx.client_with_own_limit()?, PAGE, before)?;
            sealed = sealed.saturating_add(page.sealed_left_out);
            page.items.iter().try_for_each(|one| search.one(&one.id))?;
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        if sealed > 0 {
            let text = format!("sealed recordings are not searched ({sealed}): whose they are is inside, so name them");
            ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
        }
        Ok(())
    }
}

// === impl Search ===

impl Search<'_> {
    /// Searches a recording. One that cannot be searched is told, and others are searched all the same.
    fn one(&mut self, id: &str) -> Result<(), Error> {
        match self.search(id) {
            Err(error) if is_of_one(&error) => {
                ui::write_stderr(&error.render(&RenderOptions::for_stderr(&self.ctx.ui.palette)));
                self.has_failed = true;
                Ok(())
            }
            searched => searched,
        }
    }

    fn search(&mut self, id: &str) -> Result<(), Error> {
        let content = content(self.ctx, id, &self.files)?;
        let (format, matches, is_found) = (self.format, &mut self.matches, &mut self.is_found);
        let mut found = |one: Match| {
            *is_found = true;
            match format {
                None => line(&one.text()),
                // One match is enough.
                Some(Format::Name) => line(&messages::clean(&one.recording)).map(|_| false),
                Some(Format::Json | Format::Yaml) => {
                    matches.items.push(one);
                    Ok(true)
                }
            }
        };
        Ok(search(id, content, &self.pattern, &mut found)?)
    }
}

/// Whether an error says nothing of other recordings: one is damaged, sealed to others, or gone.
fn is_of_one(error: &Error) -> bool {
    match error {
        Error::Recording(error) => !matches!(error, RecordingError::Identity(_)),
        Error::Client(error) => matches!(*error.kind, ClientErrorKind::Rejected { status: 404, .. }),
        _ => false,
    }
}

/// Prints a line. Says that there may be more.
fn line(text: &str) -> Result<bool, RecordingError> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    written.map(|()| true).map_err(RecordingError::Print)
}
