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
use crate::plot::Panel;
use crate::process::{self, Usage};
use crate::report::{Output, Report, megabytes, millis, times};
use crate::site::{Crowd, Shape, Site, rules};
use crate::stats::{Times, ratio};
use crate::table::Table;

/// How many sign-ins are measured one after another among all that there are.
const AMONG: u32 = 30;
/// How many sessions the API server writes and deletes alone, among all that there are, to compare with.
const FLOOR: usize = 100;

/// What the end of sessions is called whose time is over.
const EXPIRED: &str = "expired, after the last end";
/// The second signing in may take `SLOWER` times as long as the first. `SPARE` seconds are left then before the first session expires.
const SLOWER: f64 = 1.5;
const SPARE: f64 = 10.0;

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

    /// How many devices the tailnet has at least; those that sign in are among them.
    #[arg(long, default_value_t = 0)]
    peers: u32,

    /// Give the rule a quota of so many sessions, to see what looking after it takes.
    #[arg(long)]
    max_sessions: Option<u32>,

    /// Leave out the second half: a restart, and three more ways in which all sessions end.
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

/// Signed in again and restarted, then revoked; again and signed out while another signs in; again and expired.
#[derive(Debug, Serialize)]
struct SecondHalf {
    /// From the process's start until it is ready.
    ready_ms: u64,
    restarted: Usage,
    revoked: Ending,
    signed_out_meanwhile: Ending,
    expired: Ending,
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
        Ok(Report::new("scale", tables, figures)?.with_plot(&curves(figures)))
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
        let crowd = Crowd {
            shape,
            sessions,
            more: AMONG,
            peers: self.peers,
        };
        let site = Site::start(ground, &name, crowd, rules(self.max_sessions)).await?;
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
            let period = Duration::from_secs_f64((sign_in.seconds * SLOWER).ceil() + SPARE);
            Some(self.second_half(&site, period).await?)
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

    /// `period` is longer than it takes to sign in for all.
    async fn second_half(&self, site: &Site, period: Duration) -> Outcome<SecondHalf> {
        site.sign_in_all(self.at_once).await;
        site.server.kill()?;
        site.server.start()?;
        let ready = process::age(site.pid()?)?;
        let restarted = site.usage()?;
        let revoked = endings::revoke(site).await?;
        site.sign_in_all(self.at_once).await;
        let signed_out_meanwhile = endings::sign_out_while_another_signs_in(site, self.at_once).await?;
        site.sign_in_all_for(self.at_once, Some(period)).await;
        let expired = endings::expire(site, period).await?;
        Ok(SecondHalf {
            ready_ms: u64::try_from(ready.as_millis())?,
            restarted,
            revoked,
            signed_out_meanwhile,
            expired,
        })
    }
}

/// How everything grows, for each of the two shapes.
fn curves(figures: &Figures) -> Vec<Panel> {
    let panel = |title: &str, value: fn(&Point) -> f64| {
        let of = |shape: Shape, name: &str| {
            let points = figures.points.iter().filter(|point| point.shape == shape);
            (
                name.to_owned(),
                points.map(|point| (f64::from(point.sessions), value(point))).collect(),
            )
        };
        let curves = [
            of(Shape::Device, "of one device"),
            of(Shape::Callers, "of as many callers"),
        ];
        Panel {
            title: title.to_owned(),
            curves: curves
                .into_iter()
                .filter(|(_, points): &(_, Vec<_>)| !points.is_empty())
                .collect(),
        }
    };
    vec![
        panel("one sign-in among all, to the API server alone (×)", |point| {
            ratio(point.among.p50(), point.among_floor.p50())
        }),
        panel("ending all, to the API server alone (×)", |point| {
            ratio(point.sign_out.per_second, point.alone.sign_out.per_second)
        }),
        panel("memory with all sessions (MB)", |point| {
            crate::stats::float(point.full.resident) / 1_000_000.0
        }),
        panel("memory after the end of all (MB)", |point| {
            crate::stats::float(point.rested.resident) / 1_000_000.0
        }),
        panel("processor time of the server a sign-in (ms)", |point| {
            crate::stats::float(point.sign_in_cpu_ms[0]) / f64::from(point.sessions)
        }),
        panel("one sign-in among all, p50 (ms)", |point| point.among.p50()),
    ]
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
            "sign-in meanwhile",
        ],
    );
    for point in &figures.points {
        let alone = point.alone.sign_out.per_second;
        let more = point.second_half.iter().flat_map(|half| {
            [
                ("revoked", &half.revoked),
                ("signed out, another signs in", &half.signed_out_meanwhile),
                (EXPIRED, &half.expired),
            ]
        });
        for (how, ending) in std::iter::once(("signed out", &point.sign_out)).chain(more) {
            // Those that expire end one after another, as they were signed in to: there is no rate.
            let has_rate = how != EXPIRED;
            let of_rate = |text: String| if has_rate { text } else { String::new() };
            table.row([
                name(point),
                how.to_owned(),
                format!("{:.1} s", ending.seconds),
                of_rate(format!("{:.1}", ending.per_second)),
                of_rate(format!("{alone:.1}")),
                of_rate(times(ratio(ending.per_second, alone))),
                ending.throttled.to_string(),
                ending.failed.to_string(),
                ending.first.clone().unwrap_or_default(),
                ending
                    .meanwhile
                    .as_ref()
                    .map_or_else(String::new, |times| millis(times.p50())),
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
