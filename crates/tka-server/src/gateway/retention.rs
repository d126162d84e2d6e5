//! How long recordings are kept, and what becomes of those whose server was killed.

use std::io;
use std::time::{Duration, SystemTime};

use jiff::{SignedDuration, Timestamp};
use tka_recording::sink::folder::Folder;
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::GatewayRecording;

/// How often what killed servers left is looked for, and what is old.
const KEEPING: Duration = Duration::from_mins(1);
/// A day, in hours.
const DAY: i64 = 24;

/// Makes whole files of what killed servers left, and removes what is older than the settings keep it, until `stop`.
pub async fn keep(settings: GatewayRecording, stop: CancellationToken) {
    // Also while the folder does not answer.
    stop.run_until_cancelled(keep_on(settings)).await;
}

async fn keep_on(settings: GatewayRecording) {
    let Some(folder) = settings.folder().map(Folder::new) else {
        return std::future::pending().await;
    };
    loop {
        let (folder, days) = (folder.clone(), settings.retention_days);
        let kept = spawn_blocking(move || keep_once(&folder, days, SystemTime::now())).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(%error, "the folder of recordings cannot be looked through");
        }
        sleep(KEEPING).await;
    }
}

fn keep_once(folder: &Folder, days: u32, now: SystemTime) -> io::Result<()> {
    let recovered = folder.recover(now)?;
    if recovered > 0 {
        tracing::info!(recovered, "recordings of servers that were killed are whole now");
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
}
