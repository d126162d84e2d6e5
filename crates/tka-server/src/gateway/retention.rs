//! How long recordings are kept, and what becomes of those whose server was killed.

mod clock;

use std::io;
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tka_recording::sink::folder::Folder;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::clock::{ClockCheck, Verdict};
use crate::config::GatewayRecording;

/// How often what killed servers left is looked for, and what is old.
const KEEPING: Duration = Duration::from_mins(1);
/// A day, in hours.
const DAY: i64 = 24;

/// Makes whole files of what killed servers left, and removes what is older than the settings keep it, until `stop`.
pub async fn run_retention(settings: GatewayRecording, stop: CancellationToken) {
    // Also while the folder does not answer.
    stop.run_until_cancelled(keep_on(settings)).await;
}

async fn keep_on(settings: GatewayRecording) {
    let Some(folder) = settings.folder().map(Folder::new) else {
        return std::future::pending().await;
    };
    let mut clock = None;
    loop {
        let (folder, days) = (folder.clone(), settings.retention_days);
        let look = move || {
            let looked = look_through(&folder, days, &mut clock, SystemTime::now(), Instant::now());
            (looked, clock)
        };
        clock = match spawn_blocking(look).await {
            Ok((looked, clock)) => {
                if let Err(error) = looked {
                    tracing::warn!(%error, "the folder of recordings cannot be looked through");
                }
                clock
            }
            Err(_) => None,
        };
        sleep(KEEPING).await;
    }
}

/// Looks through the folder once. What is old is removed only while the clock can be believed: one that jumps forward makes all recordings old at once.
fn look_through(
    folder: &Folder,
    days: u32,
    clock: &mut Option<ClockCheck>,
    now: SystemTime,
    at: Instant,
) -> io::Result<()> {
    let believed = if days > 0 {
        is_believed(folder, clock, now, at)
    } else {
        Ok(true)
    };
    let days = if matches!(believed, Ok(true)) { days } else { 0 };
    keep_once(folder, days, now)?;
    believed.map(drop)
}

fn is_believed(folder: &Folder, clock: &mut Option<ClockCheck>, now: SystemTime, at: Instant) -> io::Result<bool> {
    let now = Timestamp::try_from(now).map_err(io::Error::other)?;
    let clock = match clock {
        Some(clock) => clock,
        None => clock.insert(ClockCheck::new(folder.last_scan()?, now, at)),
    };
    match clock.check(now, at) {
        Verdict::Believed => {
            folder.record_scan(now)?;
            Ok(true)
        }
        Verdict::Doubted { is_new } => {
            if is_new {
                tracing::warn!(
                    "old recordings stay for a day, because the clock jumped since they were last looked through: if it is wrong, put it right"
                );
            }
            Ok(false)
        }
    }
}

fn keep_once(folder: &Folder, days: u32, now: SystemTime) -> io::Result<()> {
    let recovered = folder.recover(now)?;
    if recovered > 0 {
        tracing::info!(recovered, "recovered recordings of killed servers");
    }
    let age = SignedDuration::from_hours(i64::from(days) * DAY);
    let then = Timestamp::try_from(now).ok().and_then(|now| now.checked_sub(age).ok());
    if let Some(then) = then.filter(|_| days > 0) {
        let removed = folder.remove_before(then)?;
        if removed > 0 {
            tracing::info!(removed, days, "old recordings are removed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_recordings_go_after_their_days_and_never_with_zero() {
        let root = tempfile::tempdir().unwrap();
        let name = "20260101T000000.000Z-0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11.cast";
        let file = root.path().join(name);
        std::fs::write(&file, "{}\n").unwrap();
        let ended = |at: &str| {
            let at: Timestamp = at.parse().unwrap();
            let file = std::fs::File::options().write(true).open(&file).unwrap();
            file.set_modified(at.into()).unwrap();
        };
        let now: Timestamp = "2026-03-01T00:00:00Z".parse().unwrap();
        let folder = Folder::new(root.path());
        ended("2026-01-01T01:00:00Z");
        for (days, is_there) in [(0, true), (60, true)] {
            keep_once(&folder, days, now.into()).unwrap();
            assert_eq!(file.exists(), is_there, "{days}");
        }
        ended("2026-02-01T00:00:00Z");
        keep_once(&folder, 58, now.into()).unwrap();
        assert!(file.exists(), "a stream that was long ended late");
        ended("2026-01-01T01:00:00Z");
        keep_once(&folder, 58, now.into()).unwrap();
        assert!(!file.exists());
    }

    #[test]
    fn clock_that_jumps_removes_nothing_at_once() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path());
        let began: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let keep = || {
            let name = "20260101T000000.000Z-0f9d2f64-52e7-4b29-9d8a-8f1b2b6d2a11.cast";
            let file = root.path().join(name);
            std::fs::write(&file, "{}\n").unwrap();
            let opened = std::fs::File::options().write(true).open(&file).unwrap();
            opened.set_modified(began.into()).unwrap();
            file
        };
        let (file, start, hour) = (keep(), Instant::now(), Duration::from_hours(1));
        let mut clock = None;
        let mut look = |wall: Timestamp, passed: Duration| {
            look_through(&folder, 30, &mut clock, wall.into(), start + passed).unwrap();
            file.exists()
        };
        let after = |days: i64| began + SignedDuration::from_hours(24 * days);
        // The first look ever is believed after a day, and all is well up to the jump.
        assert!(look(after(1), Duration::ZERO) && look(after(2), 25 * hour));
        assert!(look(after(4000), 26 * hour), "the clock jumped");
        assert!(look(after(4000), 49 * hour));
        // Put right: no harm is done.
        assert!(look(after(3), 50 * hour));
        assert!(look(after(4000), 51 * hour) && look(after(4001), 74 * hour));
        // It stays so for a day, so it is believed.
        assert!(!look(after(4001), 76 * hour));
        // The next server believes what the last one did.
        let file = keep();
        look_through(&folder, 30, &mut None, after(4001).into(), start).unwrap();
        assert!(!file.exists());
        let file = keep();
        look_through(&folder, 30, &mut None, after(9000).into(), start).unwrap();
        assert!(file.exists());
    }
}
