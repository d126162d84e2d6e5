//! `cargo xtask faults`: cuts a server off at every single request that it makes of the API server, and shows what was found after each.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use clap::Parser;
use e2e::faults::trouble::{self, Away};
use e2e::faults::{Cuts, Finding, Operation, Report, races};
use e2e::world::Grounds;
use e2e::{Outcome, World};

/// How long the API server is away.
const AWAY: Duration = Duration::from_mins(1);

/// How often two decide at once, in each way.
const ROUNDS: u32 = 20;

type Broken = Box<dyn Error + Send + Sync>;

/// Cuts a server off at every single request that it makes, and shows what was found after each.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask faults")]
struct Args {
    /// Write what was found into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<bool> {
    let grounds = Grounds::new()?;
    let result = World::bring_up(&grounds).and_then(|world| find(&world));
    let logs = grounds.take_down()?;
    let report = match result {
        Ok(report) => report,
        Err(error) => {
            eprintln!("faults: the logs are in {}", logs.display());
            grounds.keep();
            return Err(error);
        }
    };
    print!("{report}");
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")?;
    }
    let is_good = report.is_good();
    if !is_good {
        eprintln!("faults: the logs are in {}", logs.display());
        grounds.keep();
    }
    Ok(is_good)
}

fn find(world: &World) -> Outcome<Report> {
    // Each has a server of its own, so they need not wait for each other.
    let (cuts, mut troubles) = thread::scope(|scope| {
        let away = |name, how| trouble::api_server_away(world, name, how, AWAY);
        let troubles = [
            scope.spawn(move || away("refused", Away::Refused)),
            scope.spawn(move || away("still", Away::Still)),
            scope.spawn(|| trouble::connections_stranded(world, "stranded")),
            scope.spawn(|| trouble::server_dead(world, "dead")),
        ];
        let raced = scope.spawn(|| races(world, "decisions", ROUNDS));
        let runs = [true, false].map(|killed| {
            Operation::ALL.map(|operation| scope.spawn(move || cut_everywhere(world, operation, killed)))
        });
        let cuts = runs.into_iter().flatten().map(joined).collect::<Outcome<Vec<_>>>()?;
        let mut troubles = troubles.map(joined).into_iter().collect::<Outcome<Vec<_>>>()?;
        troubles.extend(joined(raced)?);
        Ok::<_, Broken>((cuts, troubles))
    })?;
    // These touch what all share.
    for part in ["etcd", "kube-apiserver", "node-tka"] {
        troubles.push(trouble::part_restarted(world, part)?);
    }
    Ok(Report::new(cuts.into_iter().flatten().collect(), troubles))
}

fn joined<T>(thread: ScopedJoinHandle<'_, Outcome<T>>) -> Outcome<T> {
    thread.join().map_err(|_| "a thread panicked")?
}

fn cut_everywhere(world: &World, operation: Operation, killed: bool) -> Outcome<Vec<Finding>> {
    let name = format!("{}-{}", operation.site(), if killed { "kill" } else { "cut" });
    let told = |error: Broken| format!("{name}: {error}");
    let cuts = Cuts::new(world, &name, operation).map_err(told)?;
    let points = cuts.points(killed).map_err(told)?;
    eprintln!("faults: {name}: {} places to cut at", points.len());
    let findings = points.iter().map(|point| {
        let finding = cuts.cut(point).map_err(|error| format!("{name}: {point:?}: {error}"))?;
        eprintln!("{finding}");
        Ok(finding)
    });
    findings.collect()
}
