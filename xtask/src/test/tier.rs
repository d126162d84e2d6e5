//! One tier of tests: what cargo is asked to run, and what comes of it.

use std::{
    io::{self, BufRead, BufReader},
    ops::AddAssign,
    process::{Command, Stdio},
};

use super::older;
use crate::Outcome;

/// A part of the suite.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Tier {
    /// What needs no testbed.
    Unit,
    /// What runs on a real cluster and a real tailnet.
    EndToEnd,
}

/// What a tier came to.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Ran {
    pub(super) counts: Counts,
    /// Whether cargo ended well and no test failed.
    pub(super) passed: bool,
    /// The tests that failed, by name.
    pub(super) failed: Vec<String>,
}

/// How many tests came to what.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
}

// === impl Tier ===

impl Tier {
    /// In the order in which they run: the quick one first.
    pub(super) const ALL: [Self; 2] = [Self::Unit, Self::EndToEnd];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit and integration",
            Self::EndToEnd => "end-to-end",
        }
    }

    /// Runs it, shows what it prints, and reads that. Fails only if cargo cannot be run, or where the older server is not to be had.
    pub(super) fn run(self) -> Outcome<Ran> {
        let mut cargo = self.cargo();
        if self == Self::EndToEnd {
            older::give_to(&mut cargo)?;
        }
        Ok(self.run_with(cargo)?)
    }

    /// The same, with another version of Kubernetes than the testbed's own.
    pub(super) fn run_on(self, kubernetes: &str) -> io::Result<Ran> {
        let mut cargo = self.cargo();
        cargo.env(testbed::KUBERNETES_VERSION, kubernetes);
        self.run_with(cargo)
    }

    fn run_with(self, mut cargo: Command) -> io::Result<Ran> {
        eprintln!("xtask: {} tests", self.name());
        let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut ran = Ran::default();
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                let line = line?;
                println!("{line}");
                ran.read(&line);
            }
        }
        ran.passed = child.wait()?.success() && ran.counts.failed == 0;
        Ok(ran)
    }

    /// Builds it without running it. Fails only if cargo cannot be run; what does not build is told again by [`Self::run`].
    pub(super) fn build(self) -> io::Result<()> {
        self.cargo().arg("--no-run").stdin(Stdio::null()).status().map(drop)
    }

    fn cargo(self) -> Command {
        let mut cargo = testbed::cargo();
        cargo.args(["test", "--no-fail-fast"]).args(match self {
            Self::Unit => ["--workspace", "--exclude", "e2e"].as_slice(),
            Self::EndToEnd => ["--package", "e2e"].as_slice(),
        });
        cargo
    }
}

// === impl Ran ===

impl Ran {
    /// Takes in a line that a test program prints: `test NAME ... FAILED`, or its result.
    fn read(&mut self, line: &str) {
        self.counts += Counts::of_line(line);
        let failed = line.strip_prefix("test ").and_then(|line| line.strip_suffix("FAILED"));
        if let Some((name, _)) = failed.and_then(|test| test.rsplit_once(" ...")) {
            self.failed.push(name.trim().to_owned());
        }
    }
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
    use super::*;

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

    #[test]
    fn failed_tests_are_named() {
        let mut ran = Ran::default();
        for line in [
            "test rule::tests::reads ... ok",
            "test rule::tests::refuses ... FAILED",
            "test expiry::session_ends  ... FAILED",
            "test src/lib.rs - (line 3) ... FAILED",
            "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.99s",
            "it said FAILED",
        ] {
            ran.read(line);
        }
        assert_eq!(
            ran.failed,
            ["rule::tests::refuses", "expiry::session_ends", "src/lib.rs - (line 3)"]
        );
        assert_eq!(ran.counts.failed, 3);
    }
}
