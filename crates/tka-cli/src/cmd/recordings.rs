//! `tka recordings …`

mod content;
mod grep;
mod list;
mod play;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use self::content::{Keys, content, tell_cut};
use crate::context::CommandContext;
use crate::error::Error;
use crate::recordings::RecordingError;
use crate::recordings::cast::Events;
use crate::recordings::export::{Target, export};
use crate::recordings::opened::opened;
use crate::recordings::text::Plain;
use crate::terminal::messages;
use crate::terminal::output::Output;

/// See what was recorded of others' sessions
///
/// For callers to whom the tailnet policy gives oversight of recordings. Each look is recorded in the server's audit log. Just the server
/// that is named is asked: replicas without a common folder have recordings of their own.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    List(list::List),
    Show(Show),
    Cat(Cat),
    Play(play::Play),
    Grep(grep::Grep),
    Export(Export),
}

/// Show whose recording it is, and of what
#[derive(clap::Args, Debug)]
struct Show {
    /// Its ID, as `tka recordings list` shows it
    id: String,

    #[command(flatten)]
    keys: Keys,

    #[command(flatten)]
    output: Output,
}

/// Print the output in a recording as text
///
/// Escape sequences are left out: a pod could have written the clipboard, or typed into the shell, with them. What was no text is left out
/// too.
#[derive(clap::Args, Debug)]
struct Cat {
    /// Its ID, as `tka recordings list` shows it
    id: String,

    #[command(flatten)]
    keys: Keys,
}

/// Write a recording to a file, as it is
///
/// `asciinema play` plays the file. A sealed one is opened with --identity, or later with age: docs/recording.md has the lines. It holds what
/// a pod has written, escape sequences too.
#[derive(clap::Args, Debug)]
struct Export {
    /// Its ID, as `tka recordings list` shows it
    id: String,

    /// The file; `-` for standard output. ID.cast, or ID.cast.age where it stays sealed, if left out
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Replace the file if there is one
    #[arg(long)]
    force: bool,

    #[command(flatten)]
    keys: Keys,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    match &arguments.action {
        Action::List(list) => list.run(ctx),
        Action::Show(show) => show.run(ctx),
        Action::Cat(cat) => cat.run(ctx),
        Action::Play(play) => play.run(ctx),
        Action::Grep(grep) => grep.run(ctx),
        Action::Export(export) => export.run(ctx),
    }
}

// === impl Show ===

impl Show {
    fn run(&self, ctx: &CommandContext) -> Result<ExitCode, Error> {
        let mut info = ctx.client_without_replicas()?.recording(&self.id)?;
        let files = self.keys.files(ctx);
        if info.sealed && !files.is_empty() {
            let mut events = Events::new(&self.id, content(ctx, &self.id, &files)?);
            info.about = events.first_line()?.and_then(|line| line.about);
        }
        self.output.print_one(ctx.config.output_mode(), &info)?;
        Ok(ExitCode::SUCCESS)
    }
}

// === impl Cat ===

impl Cat {
    /// Prints the output of a recording as text.
    fn run(&self, ctx: &CommandContext) -> Result<ExitCode, Error> {
        let events = Events::new(&self.id, content(ctx, &self.id, &self.keys.files(ctx))?);
        let (mut plain, mut out, mut is_whole) = (Plain::default(), std::io::stdout().lock(), false);
        for event in events {
            let event = event?;
            is_whole = event.is_marker();
            if event.1 == "o" {
                let text = plain.text(&event.2);
                out.write_all(text.as_bytes()).map_err(RecordingError::Print)?;
            }
        }
        out.flush().map_err(RecordingError::Print)?;
        if !is_whole {
            tell_cut(ctx, &self.id);
        }
        Ok(ExitCode::SUCCESS)
    }
}

// === impl Export ===

impl Export {
    fn run(&self, ctx: &CommandContext) -> Result<ExitCode, Error> {
        let named = Target::named(self.file.as_deref());
        if let Some(target) = &named {
            target.check(self.force)?;
        }
        let download = ctx.client_without_replicas()?.cast(&self.id)?;
        let files = self.keys.files(ctx);
        let stays_sealed = download.sealed && files.is_empty();
        let content = if stays_sealed {
            download.reader
        } else {
            opened(&self.id, download, &files)?
        };
        let extension = if stays_sealed { "cast.age" } else { "cast" };
        // The server knows the recording by this name, so that it is one.
        let target = named.unwrap_or_else(|| Target::File(format!("{}.{extension}", self.id).into()));
        export(&self.id, content, &target, self.force)?;
        if let Target::File(path) = &target {
            let text = format!("wrote {}", path.display());
            ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
        }
        Ok(ExitCode::SUCCESS)
    }
}
