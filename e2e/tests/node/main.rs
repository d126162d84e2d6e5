//! The tests with a real Kubernetes node: the server runs in pods, as the chart installs it. They share one testbed and run one after the
//! other, because they kill and upgrade what all use. They need root and some programs, and say so where they are not run; with `CI=true` they
//! must run.

mod book;
mod broken;
mod chart;
mod clients;
mod drift;
mod gateway;
mod network;
mod pods;
mod readme;
mod recording;
mod release;
mod server;
mod silence;
mod upgrade;
mod webhook;

use std::env;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use e2e::suite::{FAILED, Module, told, trials};
pub(crate) use e2e::tests;
use e2e::world::Grounds;
use e2e::{Outcome, World};
use libtest_mimic::{Arguments, Trial};
use testbed::Testbed;

/// In the order in which they run: the last removes the server.
const MODULES: &[Module] = &[
    ("pods", pods::TESTS),
    ("server", server::TESTS),
    ("gateway", gateway::TESTS),
    ("clients", clients::TESTS),
    ("recording", recording::TESTS),
    ("webhook", webhook::TESTS),
    ("drift", drift::TESTS),
    ("network", network::TESTS),
    ("readme", readme::TESTS),
    ("book", book::TESTS),
    ("broken", broken::TESTS),
    ("chart", chart::TESTS),
    ("upgrade", upgrade::TESTS),
];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    let world = Arc::new(OnceLock::new());
    let must_run = env::var_os("CI").is_some_and(|ci| ci == "true");
    let lacking = Testbed::check_node();
    let may_run = must_run || lacking.is_ok();
    let trials: Vec<_> = trials(MODULES, &world)
        .into_iter()
        .map(|trial| trial.with_ignored_flag(!may_run))
        .collect();
    let is_run = |trial: &Trial| !args.is_filtered_out(trial) && !args.is_ignored(trial);
    if args.list || !trials.iter().any(is_run) {
        if let (false, Err(lacking)) = (may_run, lacking) {
            eprintln!("node: the tests with a Kubernetes node were not run: {lacking}");
        }
        return libtest_mimic::run(&args, trials).exit_code();
    }
    match run(&args, trials, &world) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", told(&*error));
            ExitCode::from(FAILED)
        }
    }
}

fn run(args: &Arguments, trials: Vec<Trial>, world: &OnceLock<World>) -> Outcome<ExitCode> {
    let grounds = Grounds::temporary()?;
    let up = World::bring_up_with_node(&grounds)?;
    world.get_or_init(|| up);
    let conclusion = libtest_mimic::run(args, trials);
    let logs = grounds.take_down()?;
    if conclusion.has_failed() {
        eprintln!("node: the logs are in {}", logs.display());
        grounds.keep();
    }
    Ok(conclusion.exit_code())
}
