//! `cargo xtask faults`: cuts a server off at every single request that it makes of the API server, and shows what was found after each.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use e2e::faults::{Cuts, Finding, Operation, Report};
use e2e::world::Grounds;
use e2e::{Outcome, World};

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
    let cuts = thread::scope(|scope| {
        let runs = [true, false].map(|killed| {
            Operation::ALL.map(|operation| scope.spawn(move || cut_everywhere(world, operation, killed)))
        });
        let runs = runs.into_iter().flatten();
        runs.map(|run| run.join().map_err(|_| "a thread panicked")?)
            .collect::<Outcome<Vec<_>>>()
    })?;
    Ok(Report::new(cuts.into_iter().flatten().collect(), Vec::new()))
}

fn cut_everywhere(world: &World, operation: Operation, killed: bool) -> Outcome<Vec<Finding>> {
    let name = format!("{}-{}", operation.site(), if killed { "kill" } else { "cut" });
    let told = |error: Box<dyn Error + Send + Sync>| format!("{name}: {error}");
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
