//! Formats times for users.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// `until` relative to `now` and in `zone`: `in 14 min (2026-01-02 15:04:05 CET)`.
pub(crate) fn until(until: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let left = until.as_second().saturating_sub(now.as_second());
    let relative = if left > 0 {
        format!("in {}", distance(left))
    } else {
        format!("ended {} ago", distance(-left))
    };
    format!("{relative} ({})", clock_time(until, zone))
}

/// The time left until `until`, in short: `14m`, `1h5m`, `45s`.
pub(crate) fn remaining(until: Timestamp, now: Timestamp) -> String {
    let left = until.as_second().saturating_sub(now.as_second()).max(0);
    distance(left).replace(" min", "m").replace(' ', "")
}

/// `then` relative to `now` and in `zone`: `14 min ago (2026-01-02 15:04:05 CET)`.
pub(crate) fn since(then: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let ago = now.as_second().saturating_sub(then.as_second()).max(0);
    format!("{} ago ({})", distance(ago), clock_time(then, zone))
}

/// A Go duration of a server (`8h0m0s`) for users. Another text stays as it is.
pub(crate) fn period(text: &str) -> String {
    seconds(text).map_or_else(|| text.to_owned(), span)
}

/// The seconds of `8h0m0s`, `1m30s` or `45s`.
fn seconds(text: &str) -> Option<i64> {
    let (mut total, mut rest) = (0_i64, text);
    for (unit, worth) in [('h', 3600), ('m', 60), ('s', 1)] {
        if let Some((count, after)) = rest.split_once(unit) {
            total = total.checked_add(count.parse::<u32>().map(i64::from).ok()? * worth)?;
            rest = after;
        }
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

fn clock_time(time: Timestamp, zone: &TimeZone) -> String {
    let local = time.to_zoned(zone.clone());
    local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// A distance in time. Beyond a week, hours do not matter.
fn distance(seconds: i64) -> String {
    let days = seconds / 86_400;
    if days < 7 { span(seconds) } else { format!("{days} d") }
}

/// A span of seconds in its one or two largest units, rounded down: access must not end earlier than shown.
pub(crate) fn span(seconds: i64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0..=1) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_by_value() {
        for (seconds, expected) in [
            (0, "0 s"),
            (45, "45 s"),
            (119, "119 s"),
            (120, "2 min"),
            (899, "14 min"),
            (3600, "1 h"),
            (3660, "1 h 1 min"),
            (8 * 3600 - 1, "7 h 59 min"),
            (86_400, "1 d"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn hours_count_within_a_week() {
        let week = 7 * 86_400;
        assert_eq!([distance(week - 3600), distance(week + 3600)], ["6 d 23 h", "7 d"]);
    }

    #[test]
    fn shortest_form_has_no_spaces() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, expected) in [
            (0, "0s"),
            (-5, "0s"),
            (45, "45s"),
            (899, "14m"),
            (3660, "1h1m"),
            (90_000, "1d1h"),
        ] {
            assert_eq!(remaining(at(seconds), at(0)), expected);
        }
    }

    #[test]
    fn periods_by_value() {
        for (text, expected) in [
            ("8h0m0s", "8 h"),
            ("1h30m0s", "1 h 30 min"),
            ("15m0s", "15 min"),
            ("45s", "45 s"),
            ("8h", "8 h"),
            ("1.5s", "1.5s"),
            ("soon", "soon"),
            ("", ""),
        ] {
            assert_eq!(period(text), expected, "{text}");
        }
    }

    #[test]
    fn both_ways_of_saying_it() {
        let now = "2026-01-02T14:04:06Z".parse().unwrap();
        let zone = TimeZone::get("Europe/Berlin").unwrap_or(TimeZone::UTC);
        let berlin = until("2026-01-02T14:19:05Z".parse().unwrap(), now, &zone);
        assert!(berlin.starts_with("in 14 min (2026-01-02 1"), "{berlin}");
        let utc = until("2026-01-02T14:00:00Z".parse().unwrap(), now, &TimeZone::UTC);
        assert_eq!(utc, "ended 4 min ago (2026-01-02 14:00:00 UTC)");
    }

    #[test]
    fn no_point_in_time_is_too_far() {
        let _ = until(Timestamp::MAX, Timestamp::MIN, &TimeZone::UTC);
        let _ = until(Timestamp::MIN, Timestamp::MAX, &TimeZone::UTC);
    }
}
