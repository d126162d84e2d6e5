//! `tka recordings list`

use std::process::ExitCode;

use jiff::Timestamp;
use tka_api::http::RecordingList;

use crate::api::client::Client;
use crate::cmd::time_argument::time;
use crate::context::CommandContext;
use crate::error::Error;
use crate::terminal::messages;
use crate::terminal::output::Output;

/// The most recordings that a page has.
const PAGE: usize = 1000;

/// List recordings, newest first
///
/// A sealed recording shows no more than when it began: all else is inside.
#[derive(clap::Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    filter: Filter,

    /// How many at the most
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    #[command(flatten)]
    output: Output,
}

/// Which recordings.
#[derive(clap::Args, Debug)]
pub(super) struct Filter {
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
}

// === impl List ===

impl List {
    pub(super) fn run(&self, ctx: &CommandContext) -> Result<ExitCode, Error> {
        let list = self.fetch(&ctx.client_without_replicas()?)?;
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
            let page = self.filter.page(client, left, all.next.take())?;
            all.items.extend(page.items);
            all.sealed_left_out = all.sealed_left_out.saturating_add(page.sealed_left_out);
            all.next = page.next;
            if all.next.is_none() || all.items.len() >= wanted {
                return Ok(all);
            }
        }
    }
}

// === impl Filter ===

impl Filter {
    /// A page of at most `limit` recordings, older than the one that is named `before`. Its `next` leads on.
    pub(super) fn page(&self, client: &Client, limit: usize, before: Option<String>) -> Result<RecordingList, Error> {
        let mut query = self.query();
        query.push(("limit", limit.min(PAGE).to_string()));
        query.extend(before.clone().map(|before| ("before", before)));
        let mut page = client.recordings(&query)?;
        // A server that does not go on must not be asked for ever: each page is of older ones.
        page.next = page.next.filter(|next| before.is_none_or(|before| *next < before));
        Ok(page)
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
