//! Running a program many times, and how long and large it was.

use std::io;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::resident;

/// Many runs of one program.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs {
    times: Vec<Duration>,
    /// The most memory that it has resident, in bytes.
    pub(super) resident: u64,
}

/// Runs each of `programs` so many times, one after the other in turn: whatever else the machine does meanwhile hits all alike.
/// Before each run comes `before`, and is not measured.
pub(super) fn in_turn(
    programs: &mut [Command],
    times: u32,
    before: impl Fn() -> io::Result<()>,
) -> io::Result<Vec<Runs>> {
    let mut all = vec![Runs::default(); programs.len()];
    for _ in 0..times {
        for (program, runs) in programs.iter_mut().zip(&mut all) {
            before()?;
            runs.once(program)?;
        }
    }
    for (program, runs) in programs.iter().zip(&mut all) {
        before()?;
        runs.resident = resident::of(program)?;
    }
    Ok(all)
}

// === impl Runs ===

impl Runs {
    fn once(&mut self, program: &mut Command) -> io::Result<()> {
        program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = Instant::now();
        let status = program.spawn()?.wait()?;
        let took = started.elapsed();
        succeeded(program, status)?;
        self.times.push(took);
        Ok(())
    }

    /// The time that half of the runs did not take.
    pub(super) fn median(&self) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    }
}

/// What fails takes another time than what is measured.
fn succeeded(program: &Command, status: ExitStatus) -> io::Result<()> {
    if status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{program:?} failed: {status}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_by_value() {
        let of = |millis: &[u64]| {
            let times = millis.iter().copied().map(Duration::from_millis).collect();
            Runs { times, resident: 0 }.median().as_millis()
        };
        assert_eq!((of(&[]), of(&[3]), of(&[9, 1, 5]), of(&[4, 1, 2, 3])), (0, 3, 5, 3));
    }

    #[test]
    fn what_fails_is_not_measured() {
        let mut runs = Runs::default();
        runs.once(&mut Command::new("true")).unwrap();
        assert!(runs.once(&mut Command::new("false")).is_err());
        assert_eq!(runs.times.len(), 1);
    }
}
