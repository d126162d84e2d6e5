//! The tests with a real Kubernetes node: the server runs in pods, as the chart installs it. They share one testbed and run one after the
//! other, because they kill and upgrade what all use. They need root and some programs, and say so where they are not run; with `CI=true` they
//! must run.

mod broken;
mod chart;
mod pods;
mod server;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use e2e::world::Grounds;
use e2e::{Outcome, World};
use libtest_mimic::{Arguments, Failed, Trial};
use testbed::Testbed;

/// A test.
type Test = fn(&World) -> Outcome;

/// What a test program ends with when a test has failed.
const FAILED: u8 = 101;

/// Lists the tests of a module.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        /// The tests of this module, by name.
        pub(crate) const TESTS: &[(&str, crate::Test)] = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use tests;

/// In the order in which they run: the last removes the server.
const MODULES: &[(&str, &[(&str, Test)])] = &[
    ("pods", pods::TESTS),
    ("server", server::TESTS),
    ("broken", broken::TESTS),
    ("chart", chart::TESTS),
];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    let world = Arc::new(OnceLock::new());
    let must_run = env::var_os("CI").is_some_and(|ci| ci == "true");
    let lacking = Testbed::check_node();
    let may_run = must_run || lacking.is_ok();
    let trials: Vec<_> = trials(&world).map(|trial| trial.with_ignored_flag(!may_run)).collect();
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

fn trials(world: &Arc<OnceLock<World>>) -> impl Iterator<Item = Trial> {
    let tests = MODULES.iter().flat_map(|(module, tests)| {
        tests
            .iter()
            .map(move |(name, test)| (format!("{module}::{name}"), *test))
    });
    tests.map(|(name, test)| {
        let world = Arc::clone(world);
        Trial::test(name, move || {
            let world = world.get().ok_or("there is no testbed")?;
            test(world).map_err(|error| Failed::from(told(&*error)))
        })
    })
}

/// An error, and what caused it.
fn told(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}\n  because: {}", told(cause)),
        None => error.to_string(),
    }
}
