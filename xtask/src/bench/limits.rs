//! `cargo xtask bench --check`: what does not wobble, held to limits. Times are never looked at: another machine has others.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::measurement::{Measurement, Passed, build, run_into};
use crate::Outcome;

/// The limits, from the root of the checkout.
const LIMITS: &str = "xtask/bench-limits.json";
/// What counts instructions.
const VALGRIND: &str = "valgrind";
/// How often the program that is counted does what it is asked.
const TIMES: u64 = 1000;

/// The part of the limits that is about instructions: the most that each pure part may take, by its name. What is asked of the API server is held by the
/// measurement itself.
#[derive(Debug, Deserialize)]
struct Limits {
    instructions: BTreeMap<String, u64>,
}

/// Why it does not hold.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{what}")]
    Io { what: String, source: io::Error },
    #[error("the limits in {LIMITS} cannot be read")]
    Limits(#[from] serde_json::Error),
    #[error("valgrind could not count the instructions of {part}: {said}")]
    NotCounted { part: String, said: String },
    #[error("more instructions than {LIMITS} allows: {}", .0.join("; "))]
    Broken(Vec<String>),
}

/// Counts, and fails where there is more than a limit allows.
pub(super) fn check(passed: &Passed) -> Outcome {
    let limits = crate::root().join(LIMITS);
    // Half a minute is enough to count what a minute costs idle.
    let options = ["--bindings=0", "--idle=30"].map(OsString::from);
    let file = [OsString::from("--limits"), limits.clone().into_os_string()];
    // Not where the figures of a whole measurement are.
    let json = crate::root().join("target/bench/check.json");
    run_into(&json, Measurement::Cost, &passed.with(&[&options[..], &file].concat()))?;
    instructions(&limits, &build(passed)?.join("pure"))?;
    Ok(())
}

fn instructions(limits: &Path, program: &Path) -> Result<(), Error> {
    let text = fs::read(limits).map_err(|source| Error::Io {
        what: format!("{LIMITS} cannot be read"),
        source,
    })?;
    let limits: Limits = serde_json::from_slice(&text)?;
    let Some(nothing) = counted(program, "nothing")? else {
        eprintln!("xtask: instructions NOT counted: there is no {VALGRIND} here");
        return Ok(());
    };
    let mut broken = Vec::new();
    for (part, limit) in &limits.instructions {
        let all = counted(program, part)?.unwrap_or_default();
        let each = all.saturating_sub(nothing) / TIMES;
        println!("{part:12}{each:>8} instructions, at most {limit}");
        if each > *limit {
            broken.push(format!("{part} takes {each}, and {limit} are allowed"));
        }
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Error::Broken(broken))
    }
}

/// The instructions of the program for one part. None where there is nothing that counts them.
fn counted(program: &Path, part: &str) -> Result<Option<u64>, Error> {
    let mut valgrind = Command::new(VALGRIND);
    valgrind
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .arg(part);
    let output = match valgrind.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        output => output.map_err(|source| Error::Io {
            what: format!("{VALGRIND} cannot be run"),
            source,
        })?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let counted = if output.status.success() {
        collected(&said)
    } else {
        None
    };
    let part = part.to_owned();
    counted.map(Some).ok_or_else(|| Error::NotCounted {
        part,
        said: said.into_owned(),
    })
}

/// callgrind ends with `==PID== Collected : N`.
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().rev().find_map(|line| line.split_once("Collected :"))?;
    line.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_read_from_what_callgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 123456\n==7== \n==7== I   refs:      123,456\n";
        assert_eq!(collected(said), Some(123_456));
        assert_eq!(collected("==7== error\n"), None);
    }

    #[test]
    fn committed_limits_are_read() {
        let text = fs::read(crate::root().join(LIMITS)).unwrap();
        let limits: Limits = serde_json::from_slice(&text).unwrap();
        assert!(limits.instructions.contains_key("rules"));
        let all: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert!(all["requests"]["a sign-in"].is_number());
    }
}
