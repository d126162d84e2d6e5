//! Running the suite again and again, to find the tests that fail by chance.

use std::{collections::BTreeMap, num::NonZeroU32, path::PathBuf, process::Command, time::Instant};

use jiff::Timestamp;

use super::{
    load::Load,
    table::{Row, Table},
    tier::{Counts, Tier},
};
use crate::{Outcome, root};

/// So many runs of one commit.
#[derive(Debug)]
pub(super) struct Plan {
    count: usize,
    commit: String,
    table: Table,
}

/// Why the suite cannot be run again and again, or did not pass.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// A run counts for a commit.
    #[error("there are changes that are not committed, and a run counts for a commit: commit or stash them")]
    Uncommitted,
    /// There is no commit to name.
    #[error("git does not say what is tested: {0}")]
    Git(String),
    /// Some runs failed.
    #[error("{failed} of {count} runs failed")]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        count: usize,
    },
}

// === impl Plan ===

impl Plan {
    /// For the commit that is checked out. Fails when there are changes beside it.
    pub(super) fn new(count: NonZeroU32, table: Option<PathBuf>) -> Outcome<Self> {
        if !git(&["status", "--porcelain"])?.is_empty() {
            return Err(Error::Uncommitted.into());
        }
        let table = table.unwrap_or_else(|| root().join("target/test-runs.tsv"));
        Ok(Self {
            count: usize::try_from(count.get())?,
            commit: git(&["rev-parse", "--short=12", "HEAD"])?,
            table: Table::read(table)?,
        })
    }

    /// Makes the runs that are missing, each of which is written down when it is over, and says what all came to.
    pub(super) fn carry_out(mut self) -> Outcome {
        // Compiling is no part of what is repeated.
        Tier::ALL.into_iter().try_for_each(Tier::build)?;
        while let Some(is_loaded) = next(self.count, self.table.of(&self.commit)) {
            let load = is_loaded.then(Load::begin);
            let row = run(&self.commit, is_loaded)?;
            drop(load);
            println!("{row}");
            self.table.append(row)?;
        }
        let rows: Vec<_> = self.table.of(&self.commit).collect();
        println!("{}", summary(&rows));
        let failed = rows.iter().filter(|row| !row.failures.is_empty()).count();
        match failed {
            0 => Ok(()),
            _ => Err(Error::Failed {
                failed,
                count: rows.len(),
            }
            .into()),
        }
    }
}

/// Whether the next of `count` runs is one with busy cores; none when all have been made. Half of them are, the smaller one.
fn next<'a>(count: usize, rows: impl Iterator<Item = &'a Row>) -> Option<bool> {
    let (busy, idle): (Vec<_>, Vec<_>) = rows.partition(|row| row.is_loaded);
    let is_due = |made: usize, of: usize| made < of;
    let (due_busy, due_idle) = (is_due(busy.len(), count / 2), is_due(idle.len(), count - count / 2));
    match (due_busy, due_idle) {
        (false, false) => None,
        (true, true) => Some(busy.len() < idle.len()),
        (due_busy, _) => Some(due_busy),
    }
}

/// Runs all tiers once, also when the first has failed.
fn run(commit: &str, is_loaded: bool) -> Outcome<Row> {
    let (began, start) = (Timestamp::now(), Instant::now());
    let mut counts = Counts::default();
    let mut failures = Vec::new();
    for tier in Tier::ALL {
        let ran = tier.run()?;
        counts += ran.counts;
        if !ran.passed && ran.failed.is_empty() {
            failures.push(format!("the {} tests did not end well", tier.name()));
        }
        failures.extend(ran.failed);
    }
    Ok(Row {
        commit: commit.to_owned(),
        began,
        is_loaded,
        seconds: start.elapsed().as_secs(),
        counts,
        failures,
    })
}

/// All runs of a commit, and which tests failed how often.
fn summary(rows: &[&Row]) -> String {
    let mut failures = BTreeMap::<&str, usize>::new();
    for name in rows.iter().flat_map(|row| &row.failures) {
        *failures.entry(name).or_default() += 1;
    }
    let busy = rows.iter().filter(|row| row.is_loaded).count();
    let mut lines: Vec<_> = rows.iter().map(ToString::to_string).collect();
    lines.push(format!("{} runs, {busy} of them with busy cores", rows.len()));
    if failures.is_empty() {
        lines.push("no test failed".to_owned());
    }
    lines.extend(
        failures
            .iter()
            .map(|(name, count)| format!("failed {count} times: {name}")),
    );
    lines.join("\n")
}

/// What git says of the checkout, without the last line's end.
fn git(args: &[&str]) -> Outcome<String> {
    let output = Command::new("git").args(args).current_dir(root()).output()?;
    if !output.status.success() {
        return Err(Error::Git(String::from_utf8_lossy(&output.stderr).trim().to_owned()).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(is_loaded: bool, failures: &[&str]) -> Row {
        Row {
            commit: "a".into(),
            began: Timestamp::UNIX_EPOCH,
            is_loaded,
            seconds: 1,
            counts: Counts::default(),
            failures: failures.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    #[test]
    fn half_of_the_runs_have_busy_cores_whatever_was_made_before() {
        for made in [&[][..], &[true], &[false, false], &[true, true, false]] {
            for count in [1, 4, 5] {
                let mut rows: Vec<_> = made.iter().map(|is_loaded| row(*is_loaded, &[])).collect();
                while let Some(is_loaded) = next(count, rows.iter()) {
                    rows.push(row(is_loaded, &[]));
                }
                let busy = rows.iter().filter(|row| row.is_loaded).count();
                assert!(
                    busy >= count / 2 && rows.len() - busy >= count - count / 2,
                    "{made:?}, {count}"
                );
                assert!(rows.len() <= count.max(made.len()) + made.len(), "{made:?}, {count}");
            }
        }
    }

    #[test]
    fn tests_that_failed_are_counted() {
        let rows = [row(false, &["x::a", "x::b"]), row(true, &["x::a"]), row(true, &[])];
        let said = summary(&rows.iter().collect::<Vec<_>>());
        assert!(said.contains("3 runs, 2 of them with busy cores"), "{said}");
        assert!(said.contains("failed 2 times: x::a") && said.contains("failed 1 times: x::b"));
        assert!(summary(&[]).contains("no test failed"));
    }
}
