//! `cargo xtask bench cli`

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use serde::Serialize;

use super::Options;
use super::home::{Home, SESSION};
use super::measure::{self, Runs};
use crate::Outcome;

/// What all is compared with: a process that does nothing.
const NOTHING: &str = "/bin/true";
/// The profile of the command's release, in the workspace's Cargo.toml.
const PROFILE: &str = "cli";
/// The largest that the program may be, in bytes.
const SIZE: u64 = 7_000_000;

/// What is run, and what is promised of it.
struct Promise {
    name: &'static str,
    args: Vec<String>,
    /// The time that it takes on a machine with nothing else to do.
    time: Duration,
    /// How many times that of [`NOTHING`] it takes at most: a busy or slow machine takes longer for both.
    ratio: f64,
    /// The most memory that it has resident, in bytes.
    resident: Option<u64>,
}

/// The figures.
#[derive(Debug, Serialize)]
struct Report {
    runs: u32,
    size_bytes: u64,
    /// The median of [`NOTHING`].
    nothing_ms: f64,
    nothing_resident_bytes: u64,
    commands: Vec<Figures>,
}

/// Those of one command.
#[derive(Debug, Serialize)]
struct Figures {
    command: &'static str,
    median_ms: f64,
    /// Of the median to that of [`NOTHING`].
    ratio: f64,
    resident_bytes: u64,
    #[serde(skip)]
    promise: Limits,
}

#[derive(Clone, Copy, Debug)]
struct Limits {
    ms: f64,
    ratio: f64,
    resident: Option<u64>,
}

/// Why there are no figures, or no good ones.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the command does not build ({0}); cargo said why above")]
    Build(ExitStatus),
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("more than was promised: {}", .0.join("; "))]
    Broken(Vec<String>),
}

pub(super) fn run(options: &Options) -> Outcome {
    let tka = build()?;
    let home = Home::signed_in(&tka).map_err(io_error("the sign-in before the measurement failed"))?;
    let promises = promises(&home.server);
    let mut programs = vec![home.command(Path::new(NOTHING), &[])];
    programs.extend(promises.iter().map(|promise| of(&home, &tka, promise)));
    let runs = measure::in_turn(&mut programs, options.runs, || home.renew())
        .map_err(io_error("a command could not be measured"))?;
    let size = fs::metadata(&tka).map_err(io_error("the command is not there"))?.len();
    let report = Report::new(size, options.runs, &runs, promises);
    report.print()?;
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report)? + "\n";
        fs::write(file, text).map_err(io_error("the figures could not be written"))?;
    }
    let broken = report.broken();
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Error::Broken(broken).into())
    }
}

/// What a release has.
fn build() -> Result<std::path::PathBuf, Error> {
    eprintln!("xtask: building tka as for a release");
    let target = crate::root().join("target");
    let mut cargo = testbed::cargo();
    cargo.args([
        "build",
        "--quiet",
        "--package",
        "tka-cli",
        "--profile",
        PROFILE,
        "--target-dir",
    ]);
    let status = cargo.arg(&target).stdin(Stdio::null()).status();
    let status = status.map_err(io_error("cargo cannot be run"))?;
    if status.success() {
        Ok(target.join(PROFILE).join("tka"))
    } else {
        Err(Error::Build(status))
    }
}

fn promises(server: &str) -> Vec<Promise> {
    let promise = |name, args: &[&str], millis, ratio, resident| Promise {
        name,
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        time: Duration::from_millis(millis),
        ratio,
        resident,
    };
    vec![
        promise("tka version", &["version"], 3, 6.0, Some(9_000_000)),
        promise(
            "tka credential",
            &["credential", "--server", server, "--session", SESSION],
            4,
            8.0,
            None,
        ),
        promise("tka status --prompt", &["status", "--prompt"], 4, 8.0, None),
    ]
}

fn of(home: &Home, tka: &Path, promise: &Promise) -> Command {
    let args: Vec<_> = promise.args.iter().map(String::as_str).collect();
    home.command(tka, &args)
}

fn io_error(what: &str) -> impl FnOnce(io::Error) -> Error {
    let what = what.to_owned();
    move |source| Error::Io { what, source }
}

// === impl Report ===

impl Report {
    fn new(size: u64, times: u32, runs: &[Runs], promises: Vec<Promise>) -> Self {
        let (nothing, rest) = runs
            .split_first()
            .map_or((Runs::default(), &[][..]), |(first, rest)| (first.clone(), rest));
        let nothing_ms = ms(nothing.median());
        let figures = |(promise, runs): (Promise, &Runs)| Figures {
            command: promise.name,
            median_ms: ms(runs.median()),
            ratio: ms(runs.median()) / nothing_ms,
            resident_bytes: runs.resident,
            promise: Limits {
                ms: ms(promise.time),
                ratio: promise.ratio,
                resident: promise.resident,
            },
        };
        Self {
            runs: times,
            size_bytes: size,
            nothing_ms,
            nothing_resident_bytes: nothing.resident,
            commands: promises.into_iter().zip(rest).map(figures).collect(),
        }
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(
            out,
            "{:24}{:>10}{:>10}{:>8}{:>12}",
            "", "median", "limit", "ratio", "resident"
        )?;
        let nothing = megabytes(self.nothing_resident_bytes);
        writeln!(
            out,
            "{NOTHING:24}{:>7.2} ms{:>10}{:>8}{:>9.1} MB",
            self.nothing_ms, "", 1, nothing
        )?;
        for one in &self.commands {
            let (resident, limit) = (megabytes(one.resident_bytes), one.promise.ms);
            let name = one.command;
            writeln!(
                out,
                "{name:24}{:>7.2} ms{limit:>7.0} ms{:>8.1}{resident:>9.1} MB",
                one.median_ms, one.ratio
            )?;
        }
        writeln!(
            out,
            "{:24}{:>7.2} MB{:>7.0} MB",
            "size",
            megabytes(self.size_bytes),
            megabytes(SIZE)
        )
    }

    /// What was promised and is not so. A time counts when it is too long on this machine, and also beside what [`NOTHING`] takes on it.
    fn broken(&self) -> Vec<String> {
        let mut broken = vec![];
        if self.size_bytes > SIZE {
            broken.push(format!("the program has {:.2} MB", megabytes(self.size_bytes)));
        }
        for one in &self.commands {
            let limits = one.promise;
            if one.median_ms > limits.ms && one.ratio > limits.ratio {
                broken.push(format!(
                    "`{}` takes {:.2} ms, {:.1} times {NOTHING}",
                    one.command, one.median_ms, one.ratio
                ));
            }
            if limits.resident.is_some_and(|limit| one.resident_bytes > limit) {
                broken.push(format!(
                    "`{}` has {:.1} MB resident",
                    one.command,
                    megabytes(one.resident_bytes)
                ));
            }
        }
        broken
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(size: u64, ms: f64, ratio: f64, resident: u64) -> Report {
        let promise = Limits {
            ms: 3.0,
            ratio: 6.0,
            resident: Some(9_000_000),
        };
        let figures = Figures {
            command: "tka version",
            median_ms: ms,
            ratio,
            resident_bytes: resident,
            promise,
        };
        Report {
            runs: 1,
            size_bytes: size,
            nothing_ms: 1.0,
            nothing_resident_bytes: 1,
            commands: vec![figures],
        }
    }

    #[test]
    fn busy_machine_breaks_no_promise_and_a_slow_program_does() {
        let broken = |size, ms, ratio, resident| report(size, ms, ratio, resident).broken().len();
        assert_eq!(broken(SIZE, 3.0, 9.0, 9_000_000), 0, "within the limit");
        assert_eq!(broken(SIZE, 30.0, 6.0, 9_000_000), 0, "so is everything else");
        assert_eq!(broken(SIZE, 3.1, 6.1, 1), 1);
        assert_eq!(broken(SIZE + 1, 1.0, 1.0, 9_000_001), 2);
    }
}
