//! `tka recordings …`

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use tka_api::http::RecordingList;

use crate::api::client::Client;
use crate::context::CommandContext;
use crate::error::Error;
use crate::recordings::RecordingError;
use crate::recordings::cast::Events;
use crate::recordings::export::{Target, export};
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
    List(List),
    Show(Show),
    Cat(Cat),
    Export(Export),
}

/// List recordings, newest first
///
/// A sealed recording shows no more than when it began: all else is inside.
#[derive(clap::Args, Debug)]
struct List {
    /// Only of this user, by login name
    #[arg(long, value_name = "LOGIN")]
    user: Option<String>,

    /// Only of this session
    #[arg(long, value_name = "NAME")]
    session: Option<String>,

    /// Only of this rule, or of this role: `role:edit`
    #[arg(long, value_name = "RULE")]
    rule: Option<String>,

    /// Only of this pod
    #[arg(long, value_name = "[NAMESPACE/]NAME")]
    pod: Option<String>,

    /// Only what began since then: a time, or how long ago (`2h`)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,

    /// Only what began before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,

    /// How many at the most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    #[command(flatten)]
    output: Output,
}

/// Show whose recording it is, and of what
#[derive(clap::Args, Debug)]
struct Show {
    /// Its ID, as `tka recordings list` shows it
    id: String,

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
}

/// Write a recording to a file, as it is
///
/// `asciinema play` plays the file. A sealed one is opened with age: docs/recording.md has the lines. It holds what a pod has written, escape
/// sequences too.
#[derive(clap::Args, Debug)]
struct Export {
    /// Its ID, as `tka recordings list` shows it
    id: String,

    /// The file; `-` for standard output. ID.cast, or ID.cast.age where it is sealed, if left out
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,

    /// Replace the file if there is one
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    let client = ctx.client_without_replicas()?;
    match &arguments.action {
        Action::List(list) => list.run(ctx, &client),
        Action::Show(show) => {
            show.output
                .print_one(ctx.config.output_mode(), &client.recording(&show.id)?)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Cat(cat) => Ok(print(&client, &cat.id)?),
        Action::Export(export) => Ok(export.run(ctx, &client)?),
    }
}

// === impl List ===

impl List {
    fn run(&self, ctx: &CommandContext, client: &Client) -> Result<ExitCode, Error> {
        let list = self.fetch(client)?;
        if self.output.print(ctx.config.output_mode(), &list)? {
            for text in notes(&list) {
                ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
            }
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Page by page, until there are as many as wanted.
    fn fetch(&self, client: &Client) -> Result<RecordingList, Error> {
        let wanted = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let mut all = RecordingList::default();
        loop {
            let left = wanted.saturating_sub(all.items.len());
            let mut query = self.query();
            query.push(("limit", left.min(1000).to_string()));
            query.extend(all.next.take().map(|next| ("before", next)));
            let before = query.last().cloned();
            let page = client.recordings(&query)?;
            all.items.extend(page.items);
            all.sealed_left_out = all.sealed_left_out.saturating_add(page.sealed_left_out);
            // A server that does not go on must not be asked for ever.
            let goes_on = page.next.is_some() && page.next != before.map(|(_, before)| before);
            all.next = page.next;
            if !goes_on || all.items.len() >= wanted {
                return Ok(all);
            }
        }
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let of = |name, value: Option<String>| value.map(|value| (name, value));
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let all = [
            of("user", self.user.clone()),
            of("session", self.session.clone()),
            of("rule", self.rule.clone()),
            of("pod", self.pod.clone()),
            of("since", time(self.since)),
            of("until", time(self.until)),
        ];
        all.into_iter().flatten().collect()
    }
}

fn notes(list: &RecordingList) -> Vec<String> {
    let mut notes = Vec::new();
    if list.items.is_empty() {
        notes.push("there is no such recording at this server".to_owned());
    }
    if list.sealed_left_out > 0 {
        let count = list.sealed_left_out;
        notes.push(format!(
            "sealed recordings are left out ({count}): whose they are is inside"
        ));
    }
    if list.next.is_some() {
        notes.push("there may be more: see them with --limit".to_owned());
    }
    notes
}

// === impl Export ===

impl Export {
    fn run(&self, ctx: &CommandContext, client: &Client) -> Result<ExitCode, RecordingError> {
        let named = Target::named(self.file.as_deref());
        if let Some(target) = &named {
            target.check(self.force)?;
        }
        let download = client.cast(&self.id)?;
        let extension = if download.sealed { "cast.age" } else { "cast" };
        // The server knows the recording by this name, so that it is one.
        let target = named.unwrap_or_else(|| Target::File(format!("{}.{extension}", self.id).into()));
        export(&self.id, download, &target, self.force)?;
        if let Target::File(path) = &target {
            let text = format!("wrote {}", path.display());
            ctx.ui.notify(&messages::done(&text, &ctx.ui.palette));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints the output of a recording as text.
fn print(client: &Client, id: &str) -> Result<ExitCode, RecordingError> {
    let download = client.cast(id)?;
    if download.sealed {
        return Err(RecordingError::Sealed { id: id.to_owned() });
    }
    let (mut plain, mut out) = (Plain::default(), std::io::stdout().lock());
    for event in Events::new(id, download.reader) {
        let event = event?;
        if event.1 == "o" {
            out.write_all(plain.text(&event.2).as_bytes())
                .map_err(RecordingError::Print)?;
        }
    }
    out.flush().map_err(RecordingError::Print)?;
    Ok(ExitCode::SUCCESS)
}

/// A time, or how long ago.
fn time(text: &str) -> Result<Timestamp, String> {
    parse_time(text, Timestamp::now())
}

fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || "give a time such as 2026-01-02T15:04:05Z, or how long ago: 2h, 30m".to_owned();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: SignedDuration = text.parse().map_err(|_| wrong())?;
    now.checked_sub(ago).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_ways() {
        let now: Timestamp = "2026-01-02T15:04:05Z".parse().unwrap();
        let read = |text| parse_time(text, now).map(|time| time.to_string());
        assert_eq!(read("2026-01-01T00:00:00+01:00").as_deref(), Ok("2025-12-31T23:00:00Z"));
        assert_eq!(read("1h4m").as_deref(), Ok("2026-01-02T14:00:05Z"));
        for wrong in ["", "yesterday", "2h extra", "99999999999999h"] {
            assert!(read(wrong).unwrap_err().contains("how long ago"), "{wrong}");
        }
    }
}
