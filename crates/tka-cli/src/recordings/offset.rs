//! Times of a recording as people write them: `90`, `1m30s`, `1:30`, `1:02:03.5`.

use std::time::Duration;

use jiff::SignedDuration;

/// Reads a time; none where it is none, or before the beginning.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let spoken = || text.parse::<SignedDuration>().ok()?.try_into().ok();
    clock(text).or_else(spoken)
}

/// Seconds, with minutes and hours before them where there are colons.
fn clock(text: &str) -> Option<Duration> {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut parts = text.rsplitn(3, ':');
    let seconds = parts.next()?;
    if !seconds.starts_with(is_digit) || !seconds.chars().all(|c| is_digit(c) || c == '.') {
        return None;
    }
    let mut total: f64 = seconds.parse().ok()?;
    for (part, worth) in parts.zip([60.0, 3600.0]) {
        let count: u32 = part.parse().ok().filter(|_| part.chars().all(is_digit))?;
        total += f64::from(count) * worth;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// `0:01:02.345`, which [`parse`] reads.
pub(crate) fn shown(at: Duration) -> String {
    let (seconds, millis) = (at.as_secs(), at.subsec_millis());
    format!(
        "{}:{:02}:{:02}.{millis:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_several_ways() {
        for (text, millis) in [
            ("90", 90_000),
            ("1.5", 1500),
            ("1:30", 90_000),
            ("1:02:03.5", 3_723_500),
            ("0:00:00.000", 0),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("2h", 7_200_000),
        ] {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for wrong in [
            "", "-5", "1:-2", "1:2:3:4", ":", "1:", "x", "+1:00", "-5s", "1e3", "inf", "NaN", ".",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_shown_can_be_read() {
        for millis in [0, 999, 61_001, 360_000_000] {
            let at = Duration::from_millis(millis);
            assert_eq!(parse(&shown(at)), Some(at));
        }
        assert_eq!(shown(Duration::from_millis(3_723_004)), "1:02:03.004");
    }
}
