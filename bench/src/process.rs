//! What a process uses: memory and processor time, as Linux tells it (proc(5)).

use std::fs;
use std::time::Duration;

use serde::Serialize;

use crate::Outcome;

/// Ticks a second of the times in `/proc/PID/stat`. It is 100 wherever Linux runs on what this project is built for (`USER_HZ`).
const TICKS: u64 = 100;

/// What a process uses at one moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// Resident memory, in bytes.
    pub resident: u64,
    /// The most that it ever was.
    pub resident_peak: u64,
    /// Processor time since its start, in milliseconds.
    pub cpu_ms: u64,
}

/// What the process `pid` uses.
pub fn usage(pid: u32) -> Outcome<Usage> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let bytes = |field| kilobytes(&status, field).map(|kilobytes| kilobytes * 1024);
    Ok(Usage {
        resident: bytes("VmRSS").ok_or("a process tells no memory")?,
        resident_peak: bytes("VmHWM").ok_or("a process tells no memory")?,
        cpu_ms: ticks(&stat).ok_or("a process tells no time")?.0 * 1000 / TICKS,
    })
}

/// How long the process `pid` has run.
pub fn age(pid: u32) -> Outcome<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let uptime = fs::read_to_string("/proc/uptime")?;
    let uptime: f64 = uptime.split(' ').next().unwrap_or_default().parse()?;
    let started = ticks(&stat).ok_or("a process tells no time")?.1;
    let started = Duration::from_millis(started * 1000 / TICKS);
    Ok(Duration::from_secs_f64(uptime).saturating_sub(started))
}

fn kilobytes(status: &str, field: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The ticks that a process has run, and those at which it started. The name before them may hold spaces and brackets.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    Some((field(14)? + field(15)?, field(22)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_the_status() {
        let status = "Name:\ta\nVmHWM:\t   20000 kB\nVmRSS:\t   17000 kB\nRssAnon:\t 1 kB\n";
        assert_eq!(kilobytes(status, "VmRSS"), Some(17_000));
        assert_eq!(kilobytes(status, "VmHWM"), Some(20_000));
        assert_eq!(kilobytes(status, "VmR"), None);
    }

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4 0 0 0 0 150 50 0 0 20 0 9 0 12345 1 2";
        assert_eq!(ticks(stat), Some((200, 12_345)));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn this_process_uses_something() {
        let usage = usage(std::process::id()).unwrap();
        assert!(usage.resident > 0 && usage.resident <= usage.resident_peak);
        assert!(age(std::process::id()).unwrap() < Duration::from_hours(1));
    }
}
