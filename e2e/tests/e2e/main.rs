//! The tests of the whole. They share one testbed, which is brought up when a test is to be run, and taken down when all have
//! been. Each test has a server of its own in it. `cargo test -p e2e -- --help` shows what can be asked for.

mod access;
mod administration;
mod alone;
mod approval;
mod audit;
mod break_glass;
mod browser;
mod changes;
mod chart;
mod chart_server;
mod chart_values;
mod cli;
mod cli_again;
mod cli_clusters;
mod cli_exec;
mod cli_first;
mod cli_gateway;
mod cli_merge;
mod cli_replicas;
mod clock;
mod cluster_info;
mod concurrency;
mod credentials;
mod doctor;
mod documentation;
mod elevation;
mod endings;
mod events;
mod expiry;
mod faults;
mod gateway;
mod gateway_streams;
mod guard;
mod health;
mod helm;
mod https;
mod identity;
mod kubeconfig;
mod kubeconfigs;
mod limits;
mod machines;
mod max_sessions;
mod nonsense;
mod notifications;
mod older;
mod on_use;
mod outages;
mod oversight;
mod policy;
mod provisioning;
mod reauthorisation;
mod recording;
mod recordings;
mod refusals;
mod reload;
mod replicas;
mod restarts;
mod rules;
mod schema;
mod sign_in;
mod sign_out;
mod tailnet;
mod tour;
mod traces;
mod waiting;

use std::fs;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::{Arc, OnceLock};
use std::thread;

use e2e::secrets::Tokens;
use e2e::suite::{FAILED, Module, told, trials};
pub(crate) use e2e::tests;
use e2e::world::Grounds;
use e2e::{Outcome, World};
use e2e::{documented, files};
use libtest_mimic::{Arguments, Completion, Conclusion, Trial};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The tests that run side by side, and those that run after them.
type Phases = [Vec<Trial>; 2];

/// How many tests run side by side unless it is said: they mostly wait.
const THREADS: usize = 12;
const MODULES: &[Module] = &[
    // Those that take long begin first.
    ("faults", faults::TESTS),
    ("outages", outages::TESTS),
    ("restarts", restarts::TESTS),
    ("schema", schema::TESTS),
    ("replicas", replicas::TESTS),
    ("changes", changes::TESTS),
    ("https", https::TESTS),
    ("expiry", expiry::TESTS),
    ("endings", endings::TESTS),
    ("clock", clock::TESTS),
    ("gateway", gateway::TESTS),
    ("gateway_streams", gateway_streams::TESTS),
    ("elevation", elevation::TESTS),
    ("on_use", on_use::TESTS),
    ("guard", guard::TESTS),
    ("tailnet", tailnet::TESTS),
    ("reauthorisation", reauthorisation::TESTS),
    ("recording", recording::TESTS),
    ("recordings", recordings::TESTS),
    ("oversight", oversight::TESTS),
    ("health", health::TESTS),
    ("identity", identity::TESTS),
    ("max_sessions", max_sessions::TESTS),
    ("provisioning", provisioning::TESTS),
    ("concurrency", concurrency::TESTS),
    ("administration", administration::TESTS),
    ("chart", chart::TESTS),
    ("chart_server", chart_server::TESTS),
    ("chart_values", chart_values::TESTS),
    ("rules", rules::TESTS),
    ("sign_in", sign_in::TESTS),
    ("sign_out", sign_out::TESTS),
    ("kubeconfig", kubeconfig::TESTS),
    ("kubeconfigs", kubeconfigs::TESTS),
    ("cluster_info", cluster_info::TESTS),
    ("documentation", documentation::TESTS),
    ("doctor", doctor::TESTS),
    ("refusals", refusals::TESTS),
    ("reload", reload::TESTS),
    ("nonsense", nonsense::TESTS),
    ("notifications", notifications::TESTS),
    ("limits", limits::TESTS),
    ("machines", machines::TESTS),
    ("break_glass", break_glass::TESTS),
    ("browser", browser::TESTS),
    ("credentials", credentials::TESTS),
    ("events", events::TESTS),
    ("waiting", waiting::TESTS),
    ("access", access::TESTS),
    ("approval", approval::TESTS),
    ("audit", audit::TESTS),
    ("cli", cli::TESTS),
    ("cli_again", cli_again::TESTS),
    ("cli_clusters", cli_clusters::TESTS),
    ("cli_exec", cli_exec::TESTS),
    ("cli_first", cli_first::TESTS),
    ("cli_gateway", cli_gateway::TESTS),
    ("cli_replicas", cli_replicas::TESTS),
    ("tour", tour::TESTS),
    ("traces", traces::TESTS),
    ("cli_merge", cli_merge::TESTS),
];

/// Those that touch what all share: one at a time, when the others are over.
const ALONE: &[Module] = &[("alone", alone::TESTS)];

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    args.test_threads.get_or_insert(THREADS);
    let world = Arc::new(OnceLock::new());
    let [mut together, alone] = [MODULES, ALONE].map(|modules| trials(modules, &world));
    if older::is_given() {
        together.extend(trials(&[("older", older::TESTS)], &world));
    }
    let phases = [together, alone];
    if args.list || !phases.iter().flatten().any(|trial| is_run(&args, trial)) {
        return libtest_mimic::run(&args, phases.into_iter().flatten().collect()).exit_code();
    }
    match Grounds::new().and_then(|grounds| run_on(grounds, &args, phases, &world)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => {
            eprintln!("error: {}", told(&*error));
            ExitCode::from(FAILED)
        }
    }
}

/// Brings a testbed up, runs the tests and takes it down; says whether all passed. The logs of what failed are kept.
fn run_on(grounds: Grounds, args: &Arguments, phases: Phases, world: &OnceLock<World>) -> Outcome<bool> {
    if !grounds.is_kept() {
        take_down_on_signal(grounds.dir())?;
    }
    let result = World::bring_up(&grounds).and_then(|up| run(&grounds, args, phases, world.get_or_init(|| up)));
    let logs = grounds.take_down()?;
    if !matches!(result, Ok(true)) && logs.exists() {
        eprintln!("e2e: the logs are in {}", logs.display());
        grounds.keep();
    }
    result
}

/// Runs the tests, and looks at what was logged meanwhile when all processes have had their last word.
fn run(grounds: &Grounds, args: &Arguments, [together, alone]: Phases, world: &World) -> Outcome<bool> {
    let one_at_a_time = Arguments {
        test_threads: Some(1),
        ..args.clone()
    };
    let together = libtest_mimic::run(args, together);
    let alone = libtest_mimic::run(&one_at_a_time, alone);
    let logs = grounds.take_down()?;
    let tokens = Arc::clone(&world.tokens);
    let (homes, written) = (grounds.dir().join("homes"), logs.clone());
    let audited = homes.clone();
    let last = vec![
        Trial::ignorable_test(RECORDS, move || Ok(every_record_is_as_documented(&written, &audited)?)),
        Trial::ignorable_test(LAST, move || Ok(no_log_holds_a_token(&tokens, &logs, &homes)?)),
    ];
    // Whatever was asked for: it costs nothing.
    let all = Arguments {
        filter: None,
        skip: Vec::new(),
        ignored: false,
        ..args.clone()
    };
    let last = libtest_mimic::run(&all, last);
    Ok(![together, alone, last].iter().any(Conclusion::has_failed))
}

/// The tests after all others.
const RECORDS: &str = "audit::every_record_is_as_documented";
const LAST: &str = "secrets::no_log_holds_a_token";

fn every_record_is_as_documented(logs: &Path, homes: &Path) -> Outcome<Completion> {
    let found = documented::check(logs, homes)?;
    if found.records == 0 {
        return Ok(Completion::ignored_with("no test that ran left any"));
    }
    if found.wrong.is_empty() {
        return Ok(Completion::Completed);
    }
    let records = found.records;
    Err(format!(
        "of {records} records some are not as documented:\n{}",
        found.wrong.join("\n")
    )
    .into())
}

fn no_log_holds_a_token(tokens: &Tokens, logs: &Path, homes: &Path) -> Outcome<Completion> {
    if tokens.count() == 0 {
        return Ok(Completion::ignored_with("no test that ran was issued any"));
    }
    let mut files = files::below(logs)?;
    files.extend(documented::audit_files(homes)?);
    let found = tokens.find_in(&files)?;
    if found.places.is_empty() {
        return Ok(Completion::Completed);
    }
    Err(format!(
        "{} tokens were issued, and some can be read:\n{}",
        tokens.count(),
        found.places.join("\n")
    )
    .into())
}

fn is_run(args: &Arguments, trial: &Trial) -> bool {
    !args.is_filtered_out(trial) && !args.is_ignored(trial)
}

/// An interrupted run leaves nothing running.
fn take_down_on_signal(dir: &Path) -> Outcome {
    let dir = dir.to_owned();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Again, for what a test has started meanwhile.
            while matches!(testbed::down(&dir), Ok(true)) {}
            // Fails only if it is gone.
            let _ = fs::remove_dir_all(&dir);
            process::exit(128 + signal);
        }
    });
    Ok(())
}
