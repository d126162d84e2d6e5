//! `cargo xtask test`: everything that can be tested here, and the counts.

use std::{
    io::{BufRead, BufReader},
    ops::AddAssign,
    process::{Command, Stdio},
    time::Instant,
};

use clap::Args;

use crate::Outcome;

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct Test {}

/// What a tier of tests came to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Why the tests did not pass.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// Some failed, or did not build.
    #[error("the {0} tests did not pass; they said why above")]
    Failed(&'static str),
    /// Cargo said that all is well, and no test ran.
    #[error("no {0} test ran")]
    Nothing(&'static str),
    /// Cargo could not be run.
    #[error("cargo cannot be run")]
    Io(#[from] std::io::Error),
}

impl Test {
    #[expect(clippy::unused_self, reason = "as the other commands")]
    pub(crate) fn run(self) -> Outcome {
        // The first tier needs no Go; whoever has none should hear it now and not after it.
        testbed::prepare()?;
        let start = Instant::now();
        let mut unit = testbed::cargo();
        unit.args(["test", "--workspace", "--exclude", "e2e", "--no-fail-fast"]);
        let unit = tier("unit and integration", unit)?;
        let mut e2e = testbed::cargo();
        e2e.args(["test", "--package", "e2e", "--no-fail-fast"]);
        let e2e = tier("end-to-end", e2e)?;
        let mut all = unit;
        all += e2e;
        println!("unit and integration tests: {} passed", unit.passed);
        println!(
            "end-to-end tests:           {} passed, on a real cluster and a real tailnet",
            e2e.passed
        );
        let seconds = start.elapsed().as_secs();
        println!(
            "all:                        {} passed, {} ignored, in {seconds} s",
            all.passed, all.ignored
        );
        Ok(())
    }
}

/// Runs one tier, shows what it prints, and counts.
fn tier(name: &'static str, mut cargo: Command) -> Result<Counts, Error> {
    eprintln!("xtask: {name} tests");
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            println!("{line}");
            counts += Counts::of_line(&line);
        }
    }
    if !child.wait()?.success() || counts.failed > 0 {
        return Err(Error::Failed(name));
    }
    if counts.passed == 0 {
        return Err(Error::Nothing(name));
    }
    Ok(counts)
}

// === impl Counts ===

impl Counts {
    /// What a line of a test program's output adds: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn of_line(line: &str) -> Self {
        let Some(result) = line.trim().strip_prefix("test result:") else {
            return Self::default();
        };
        let count = |what: &str| {
            let mut parts = result.split(['.', ';']).map(str::trim);
            parts
                .find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
                .unwrap_or(0)
        };
        Self {
            passed: count("passed"),
            failed: count("failed"),
            ignored: count("ignored"),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn results_are_counted() {
        let line = "test result: FAILED. 33 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.99s";
        assert_eq!(
            Counts::of_line(line),
            Counts {
                passed: 33,
                failed: 1,
                ignored: 2
            }
        );
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Counts::of_line("test result_is_shown ... ok"), Counts::default());
        assert_eq!(Counts::of_line("33 passed; 1 failed"), Counts::default());
    }
}
