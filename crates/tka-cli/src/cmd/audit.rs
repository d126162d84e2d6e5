//! `tka audit`

use std::process::ExitCode;

use jiff::Timestamp;
use tka_api::http::AuditPage;

use crate::api::client::{Client, ClientError};
use crate::cmd::time_argument::time;
use crate::context::{CommandContext, Replica};
use crate::error::Error;
use crate::exit::Exit;
use crate::report::audit::{AuditSearch, Item, ReplicaSearch};
use crate::session::replicas;
use crate::sys::parallel;
use crate::terminal::messages;
use crate::terminal::output::{Output, RenderOptions};
use crate::terminal::ui;

/// The most records that a page has.
const PAGE: usize = 1000;
/// The most pages that a replica is asked for. Each is of tens of megabytes of its files.
const PAGES: usize = 10_000;

/// Search the audit records of all replicas
///
/// For callers to whom the tailnet policy gives oversight of audit records. All replicas that this device can find are asked: each has records of its own. It
/// says whose were searched, and since when they reach. Each look is itself recorded. The exit status is 10 where not all was searched.
#[derive(clap::Args, Debug)]
pub(crate) struct Arguments {
    /// Only about this user, by login name
    #[arg(long, value_name = "LOGIN")]
    user: Option<String>,

    /// Only about this device: its name or its stable ID
    #[arg(long, value_name = "NAME")]
    device: Option<String>,

    /// Only about this session
    #[arg(long, value_name = "NAME")]
    session: Option<String>,

    /// Only of this decision, as docs/audit.md lists them: `signed_in`
    #[arg(long, value_name = "DECISION")]
    decision: Option<String>,

    /// Only since then: a time, or how long ago (`2h`)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,

    /// Only before then
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,

    /// How many at the most, the newest
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,

    #[command(flatten)]
    output: Output,
}

/// What one replica answered.
struct Answer {
    items: Vec<Item>,
    searched: ReplicaSearch,
    /// Whether it has more than was asked for.
    has_more: bool,
}

pub(crate) fn run(ctx: &CommandContext, arguments: &Arguments) -> Result<ExitCode, Error> {
    // A replica that was added since the last sign-in has records, too.
    replicas::learn(ctx);
    let replicas = ctx.all_replicas();
    let answers = parallel::map(&replicas, |replica| arguments.ask(ctx, replica));
    let (mut search, mut errors) = (AuditSearch::default(), Vec::new());
    for (replica, answer) in replicas.iter().zip(answers) {
        match answer.unwrap_or(Err(Error::WorkerPanicked)) {
            Ok(answer) => search.add(answer.items, answer.searched, answer.has_more),
            Err(error) => {
                search.failed(&replica.server, &error);
                errors.push(error);
            }
        }
    }
    if errors.len() == replicas.len() {
        // The server that the user named comes first.
        return Err(Error::Search(Box::new(errors.swap_remove(0))));
    }
    search.merge(usize::try_from(arguments.limit).unwrap_or(usize::MAX));
    arguments.output.print(ctx.config.output_mode(), &search)?;
    for error in &errors {
        ui::write_stderr(&error.render(&RenderOptions::for_stderr(&ctx.ui.palette)));
    }
    for text in search.notes() {
        ctx.ui.notify(&messages::note(&text, &ctx.ui.palette));
    }
    for text in search.warnings() {
        ui::write_stderr(&messages::warning(&text, &ctx.ui.palette));
    }
    Ok(if search.is_whole() {
        Exit::Ok
    } else {
        Exit::SearchFailed
    }
    .into())
}

// === impl Arguments ===

impl Arguments {
    /// Searches the records of one replica, page by page, until there are as many as wanted.
    fn ask(&self, ctx: &CommandContext, replica: &Replica) -> Result<Answer, Error> {
        let client = replica.client(ctx.config.route(), ctx.config.timeout, ctx.config.debug)?;
        let wanted = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let page = self.page(&client, ctx, wanted, None)?;
        let mut answer = Answer {
            items: Vec::new(),
            searched: ReplicaSearch::new(&replica.server, &page.searched),
            has_more: false,
        };
        let mut next = answer.add(page);
        for _ in 0..PAGES {
            let left = wanted.saturating_sub(answer.items.len());
            if next.is_none() || left == 0 {
                break;
            }
            let page = self.page(&client, ctx, left, next.clone())?;
            // A server that does not go on must not be asked for ever.
            if page.next.is_some() && page.next == next {
                break;
            }
            next = answer.add(page);
        }
        answer.items.truncate(wanted);
        answer.has_more = next.is_some();
        answer.searched.stopped = next.is_some() && answer.items.len() < wanted;
        Ok(answer)
    }

    /// A page, with a time limit of its own: a search may go through many.
    fn page(
        &self,
        client: &Client,
        ctx: &CommandContext,
        left: usize,
        before: Option<String>,
    ) -> Result<AuditPage, ClientError> {
        let mut query = self.query();
        query.push(("limit", left.min(PAGE).to_string()));
        query.extend(before.map(|before| ("before", before)));
        client.with_fresh_deadline(ctx.config.timeout).audit_records(&query)
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let of = |name, value: &Option<String>| value.clone().map(|value| (name, value));
        let at = |name, time: Option<Timestamp>| time.map(|time| (name, time.to_string()));
        let all = [
            of("user", &self.user),
            of("device", &self.device),
            of("session", &self.session),
            of("decision", &self.decision),
            at("since", self.since),
            at("until", self.until),
        ];
        all.into_iter().flatten().collect()
    }
}

// === impl Answer ===

impl Answer {
    /// Adds a page, and returns where the next one begins.
    fn add(&mut self, page: AuditPage) -> Option<String> {
        self.searched.add(&page.searched);
        let replica = &self.searched.replica;
        self.items.extend(page.items.into_iter().map(|record| Item {
            replica: replica.clone(),
            record,
        }));
        page.next
    }
}
