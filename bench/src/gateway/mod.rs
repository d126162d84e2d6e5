//! `gateway`: the cluster's API carried over the tailnet, against other ways to it.

mod measure;
mod ways;

use clap::Args;
use serde::Serialize;

use self::measure::{CLIENTS, LIST, OBJECTS};
use self::ways::Ways;
use crate::Outcome;
use crate::ground::Ground;
use crate::process::{self, Usage};
use crate::report::{Output, Report, megabytes, millis, times};
use crate::stats::{Times, median, ratio};
use crate::table::Table;

/// Arguments of `gateway`.
#[derive(Debug, Args)]
pub struct Gateway {
    /// How many GETs one after another, each way.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How many lists, and how many bursts of several clients, each way.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    bursts: u32,

    /// How many watches lie idle, each way, for the memory that they take.
    #[arg(long, default_value_t = 500)]
    watches: usize,

    #[command(flatten)]
    output: Output,
}

/// The figures of one way.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Figures {
    name: &'static str,
    get: Times,
    /// GETs a second by several clients, of each burst.
    rate: Vec<f64>,
    /// Megabytes a second of a large list, of each burst.
    list: Vec<f64>,
    /// From a change until a watch tells of it.
    watch: Times,
    /// What its process uses: before all, and with the idle watches.
    idle: Option<Usage>,
    watching: Option<Usage>,
}

impl Gateway {
    /// Measures, and shows what was found.
    pub async fn run(&self) -> Outcome {
        let ground = Ground::up()?;
        let ways = Ways::open(&ground).await?;
        let mut figures: Vec<_> = ways
            .all
            .iter()
            .map(|way| Figures {
                name: way.name,
                ..Figures::default()
            })
            .collect();
        let usage = |pid: Option<u32>| pid.map(process::usage).transpose();
        for (way, figures) in ways.all.iter().zip(&mut figures) {
            figures.idle = usage(way.pid)?;
        }
        eprintln!("bench: GETs one after another");
        measure::one_after_another(&ways, &mut figures, self.rounds).await?;
        eprintln!("bench: GETs by {CLIENTS} clients, and lists");
        for _ in 0..self.bursts {
            measure::burst(&ways, &mut figures).await?;
        }
        eprintln!("bench: watches");
        measure::watches(&ways, &mut figures, self.rounds.div_ceil(4)).await?;
        for (way, figures) in ways.all.iter().zip(&mut figures).filter(|(way, _)| !way.is_bare) {
            let idle = measure::idle_watches(way, self.watches).await?;
            figures.watching = usage(way.pid)?;
            drop(idle);
        }
        let tables = vec![speed(&figures), memory(&figures, self.watches)];
        Report::new("gateway", tables, &figures)?.show(&self.output)
    }
}

fn speed(all: &[Figures]) -> Table {
    let list = format!("list of {OBJECTS} × {LIST} B");
    let clients = format!("GETs a second by {CLIENTS}");
    let mut table = Table::new(
        "speed, and each beside the direct way",
        &[
            "",
            "GET p50",
            "",
            "GET p99",
            "",
            &clients,
            "",
            &list,
            "",
            "watch p50",
            "",
        ],
    );
    let Some(direct) = all.first() else { return table };
    for one in all {
        let (rate, list) = (median(&one.rate), median(&one.list));
        let mut cells = vec![
            one.name.to_owned(),
            millis(one.get.p50()),
            times(ratio(one.get.p50(), direct.get.p50())),
            millis(one.get.percentile(99)),
            times(ratio(one.get.percentile(99), direct.get.percentile(99))),
            format!("{rate:.0}"),
            times(ratio(rate, median(&direct.rate))),
            format!("{list:.1} MB/s"),
            times(ratio(list, median(&direct.list))),
        ];
        // What leads to no API server has nothing to watch.
        if one.watch.count() > 0 {
            cells.push(millis(one.watch.p50()));
            cells.push(times(ratio(one.watch.p50(), direct.watch.p50())));
        }
        cells.resize(11, String::new());
        table.row(cells);
    }
    let goals = ["goal", "", "≤ 1.60 ×", "", "", "", "≥ 0.80 ×", "", "≥ 0.75 ×", "", ""];
    table.row(goals.map(str::to_owned));
    table
}

fn memory(all: &[Figures], watches: usize) -> Table {
    let with = format!("with {watches} watches");
    let mut table = Table::new(
        "resident memory of what carries",
        &["", "idle", &with, "peak", "processor time"],
    );
    for one in all.iter().filter(|one| one.idle.is_some()) {
        let of = |usage: Option<Usage>, part: fn(Usage) -> u64| {
            usage.map_or_else(String::new, |usage| megabytes(part(usage)))
        };
        let cpu = one
            .watching
            .map_or_else(String::new, |usage| format!("{} ms", usage.cpu_ms));
        table.row([
            one.name.to_owned(),
            of(one.idle, |usage| usage.resident),
            of(one.watching, |usage| usage.resident),
            of(one.watching, |usage| usage.resident_peak),
            cpu,
        ]);
    }
    table
}
