//! `scale`: how everything grows with the number of sessions.

mod endings;

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use self::endings::Ending;
use crate::Outcome;
use crate::floor::Floor;
use crate::ground::Ground;
use crate::load::{self, Done, Load};
use crate::process::{self, Usage};
use crate::report::{Output, Report, megabytes, millis, times};
use crate::site::{Shape, Site};
use crate::stats::{Times, ratio};
use crate::table::Table;

/// How many sign-ins are measured one after another among all that there are.
const AMONG: u32 = 30;
/// How many sessions the API server writes and deletes alone, among all that there are, to compare with.
const FLOOR: usize = 100;

/// Arguments of `scale`.
#[derive(Debug, Args)]
pub struct Scale {
    /// How many sessions there are, one figure after another.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1000])]
    sessions: Vec<u32>,

    /// Whose they are.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Shape::Device, Shape::Callers])]
    shape: Vec<Shape>,

    /// How many sign-ins and sign-outs are under way at a time.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    at_once: u32,

    /// How many seconds after all has ended the memory is looked at again.
    #[arg(long, default_value_t = 60)]
    rest: u64,

    /// Leave out the second half: signing in again, a restart, and the revocation of all.
    #[arg(long)]
    brief: bool,

    #[command(flatten)]
    output: Output,
}

/// All figures.
#[derive(Debug, Serialize)]
struct Figures {
    points: Vec<Point>,
}

/// What the API server does alone. The more bindings there are, the longer it takes itself.
#[derive(Debug, Serialize)]
struct Alone {
    sign_in: Load,
    sign_out: Load,
}

/// The figures of one number of sessions.
#[derive(Debug, Serialize)]
struct Point {
    shape: Shape,
    sessions: u32,
    /// Before the first sign-in.
    idle: Usage,
    sign_in: Load,
    /// Processor time of the server and of the API server meanwhile, in milliseconds.
    sign_in_cpu_ms: [u64; 2],
    /// Requests to the API server a sign-in, of all its clients.
    requests_a_sign_in: f64,
    /// The API server's work alone, among all of them.
    alone: Alone,
    /// Sign-ins one after another, among all of them, and in turn with them the API server's work alone.
    among: Times,
    among_floor: Times,
    full: Usage,
    /// The check of all sessions against the tailnet: how long it took and how much processor time, in milliseconds.
    reauthorisation_ms: [u64; 2],
    sign_out: Ending,
    /// When all had ended, and some time later.
    ended: Usage,
    rested: Usage,
    second_half: Option<SecondHalf>,
}

/// Signed in again, restarted, revoked.
#[derive(Debug, Serialize)]
struct SecondHalf {
    /// From the process's start until it is ready.
    ready_ms: u64,
    restarted: Usage,
    revoked: Ending,
}

impl Scale {
    /// Measures, and shows what was found.
    pub async fn run(&self) -> Outcome {
        let ground = Ground::up()?;
        let (without, api) = ground.without_server("scale-floor").await?;
        let floor = Floor::new(api, without.namespace());
        let mut figures = Figures { points: Vec::new() };
        for shape in &self.shape {
            for sessions in &self.sessions {
                eprintln!("bench: {sessions} sessions, {shape:?}");
                figures
                    .points
                    .push(self.point(&ground, &floor, *shape, *sessions).await?);
                // What was measured so far is not lost with a later figure.
                Self::report(&figures)?.write(&self.output)?;
            }
        }
        Self::report(&figures)?.show(&self.output)
    }

    fn report(figures: &Figures) -> Outcome<Report> {
        let tables = vec![growth(figures), memory(figures), endings(figures)];
        Report::new("scale", tables, figures)
    }

    /// What the API server does alone at the moment.
    async fn alone(&self, floor: &Floor) -> Alone {
        let at_once = self.at_once as usize;
        let sign_in = load::run(0..FLOOR, at_once, |number| async move {
            Done::of(floor.sign_in(number).await)
        })
        .await;
        let sign_out = load::run(0..FLOOR, at_once, |number| async move {
            Done::of(floor.sign_out(number).await)
        })
        .await;
        Alone { sign_in, sign_out }
    }

    async fn point(&self, ground: &Ground, floor: &Floor, shape: Shape, sessions: u32) -> Outcome<Point> {
        let name = format!(
            "scale-{}-{sessions}",
            if shape == Shape::Device { "device" } else { "callers" }
        );
        let site = Site::start(ground, &name, shape, sessions, AMONG).await?;
        let idle = site.usage()?;
        let (requests, cpu) = (site.admin.requests().await?, site.cpu(ground)?);
        let sign_in = site.sign_in_all(self.at_once).await;
        let cpu_after = site.cpu(ground)?;
        let asked = site.admin.requests().await?.since(&requests).count(|_| true);
        let (among, among_floor) = site.sign_in_among(floor, AMONG).await?;
        let alone = self.alone(floor).await;
        let full = site.usage()?;
        let reauthorisation_ms = site.reauthorisation().await?;
        let sign_out = endings::sign_out(&site, self.at_once).await?;
        let ended = site.usage()?;
        tokio::time::sleep(Duration::from_secs(self.rest)).await;
        let rested = site.usage()?;
        let second_half = if self.brief {
            None
        } else {
            Some(self.second_half(&site).await?)
        };
        site.remove()?;
        Ok(Point {
            shape,
            sessions,
            idle,
            sign_in_cpu_ms: [cpu_after[0] - cpu[0], cpu_after[1] - cpu[1]],
            requests_a_sign_in: crate::stats::float(asked) / f64::from(sessions),
            sign_in,
            alone,
            among,
            among_floor,
            full,
            reauthorisation_ms,
            sign_out,
            ended,
            rested,
            second_half,
        })
    }

    async fn second_half(&self, site: &Site) -> Outcome<SecondHalf> {
        site.sign_in_all(self.at_once).await;
        site.server.kill()?;
        site.server.start()?;
        let ready = process::age(site.pid()?)?;
        let restarted = site.usage()?;
        let revoked = endings::revoke(site).await?;
        Ok(SecondHalf {
            ready_ms: u64::try_from(ready.as_millis())?,
            restarted,
            revoked,
        })
    }
}

fn growth(figures: &Figures) -> Table {
    let head = [
        "sign-ins",
        "a second",
        "alone",
        "",
        "p50",
        "p99",
        "failed",
        "one among all",
        "alone",
        "",
        "to one among the fewest",
        "requests a sign-in",
        "CPU a sign-in: server, API server",
        "re-authorisation: time, CPU",
    ];
    let mut table = Table::new(
        "signing in, and what the API server does alone among as many sessions",
        &head,
    );
    for point in &figures.points {
        let fewest = figures
            .points
            .iter()
            .find(|other| other.shape == point.shape)
            .map_or(0.0, |other| other.among.p50());
        let cpu = point
            .sign_in_cpu_ms
            .map(|ms| crate::stats::float(ms) / f64::from(point.sessions));
        let (rate, alone) = (point.sign_in.per_second, point.alone.sign_in.per_second);
        let (among, floor) = (point.among.p50(), point.among_floor.p50());
        table.row([
            name(point),
            format!("{rate:.1}"),
            format!("{alone:.1}"),
            times(ratio(rate, alone)),
            millis(point.sign_in.times.p50()),
            millis(point.sign_in.times.percentile(99)),
            point.sign_in.failed.to_string(),
            millis(among),
            millis(floor),
            times(ratio(among, floor)),
            times(ratio(among, fewest)),
            format!("{:.1}", point.requests_a_sign_in),
            format!("{:.1} ms, {:.1} ms", cpu[0], cpu[1]),
            format!("{} ms, {} ms", point.reauthorisation_ms[0], point.reauthorisation_ms[1]),
        ]);
    }
    table
}

fn memory(figures: &Figures) -> Table {
    let mut table = Table::new(
        "resident memory of the server",
        &[
            "sessions",
            "idle",
            "with all",
            "all ended",
            "later",
            "peak",
            "restarted with all",
            "restart to ready",
        ],
    );
    for point in &figures.points {
        let second = point.second_half.as_ref();
        table.row([
            name(point),
            megabytes(point.idle.resident),
            megabytes(point.full.resident),
            megabytes(point.ended.resident),
            megabytes(point.rested.resident),
            megabytes(point.rested.resident_peak),
            second.map_or_else(String::new, |half| megabytes(half.restarted.resident)),
            second.map_or_else(String::new, |half| format!("{} ms", half.ready_ms)),
        ]);
    }
    table
}

fn endings(figures: &Figures) -> Table {
    let mut table = Table::new(
        "ending all at once, and what the API server deletes alone among as many sessions",
        &[
            "sessions",
            "how",
            "all gone after",
            "a second",
            "alone",
            "",
            "429 of the API server",
            "failures told",
            "first answer",
        ],
    );
    for point in &figures.points {
        let alone = point.alone.sign_out.per_second;
        let revoked = point.second_half.as_ref().map(|half| ("revoked", &half.revoked));
        for (how, ending) in std::iter::once(("signed out", &point.sign_out)).chain(revoked) {
            table.row([
                name(point),
                how.to_owned(),
                format!("{:.1} s", ending.seconds),
                format!("{:.1}", ending.per_second),
                format!("{alone:.1}"),
                times(ratio(ending.per_second, alone)),
                ending.throttled.to_string(),
                ending.failed.to_string(),
                ending.first.clone().unwrap_or_default(),
            ]);
        }
    }
    table
}

fn name(point: &Point) -> String {
    match point.shape {
        Shape::Device => format!("{} of one device", point.sessions),
        Shape::Callers => format!("{} of as many callers", point.sessions),
    }
}
