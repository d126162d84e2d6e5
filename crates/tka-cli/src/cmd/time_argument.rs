//! Times on the command line.

use jiff::{SignedDuration, Timestamp};

/// A time, or how long ago.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    parse_time(text, Timestamp::now())
}

fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let wrong = || "give a time such as 2026-01-02T15:04:05Z, or how long ago: 2h, 30m".to_owned();
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago: SignedDuration = text.parse().map_err(|_| wrong())?;
    now.checked_sub(ago).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_ways() {
        let now: Timestamp = "2026-01-02T15:04:05Z".parse().unwrap();
        let read = |text| parse_time(text, now).map(|time| time.to_string());
        assert_eq!(read("2026-01-01T00:00:00+01:00").as_deref(), Ok("2025-12-31T23:00:00Z"));
        assert_eq!(read("1h4m").as_deref(), Ok("2026-01-02T14:00:05Z"));
        for wrong in ["", "yesterday", "2h extra", "99999999999999h"] {
            assert!(read(wrong).unwrap_err().contains("how long ago"), "{wrong}");
        }
    }
}
