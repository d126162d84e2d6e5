//! How long: Go durations, as the tailnet policy writes them.
//!
//! The notation is that of Go's [`time.ParseDuration`](https://pkg.go.dev/time#ParseDuration) and `Duration.String`, because
//! grants and resources that exist were written for a server in Go.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::shorten;

/// How long a session lasts: more than nothing, at most what Go's `time.Duration` holds (about 292 years).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(Duration);

/// Why a text is no [`Period`].
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub enum PeriodError {
    /// It does not follow the notation.
    #[error("{0:?} is not a duration: {better}", better = instead(.0))]
    Syntax(String),
    /// It is zero.
    #[error("a period of {0:?} is no time at all: write at least \"1s\"")]
    Zero(String),
    /// It is longer than `time.Duration` holds.
    #[error("a period of {0:?} is longer than 292 years")]
    TooLong(String),
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What to write instead of a text that is no duration. Go knows no days, which may be longer or shorter than 24 hours.
fn instead(text: &str) -> String {
    let said: String = text.to_lowercase().replace(',', ".").split_whitespace().collect();
    let (number, unit) = said.split_at(
        said.find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(said.len()),
    );
    let hours = |of: u64| {
        let hours = number.parse::<u64>().ok()?.checked_mul(of)?;
        Some(format!("{hours}h"))
    };
    let better = match unit {
        "d" | "day" | "days" => hours(24),
        "w" | "week" | "weeks" => hours(7 * 24),
        "hr" | "hrs" | "hour" | "hours" => Some(format!("{number}h")),
        "min" | "mins" | "minute" | "minutes" => Some(format!("{number}m")),
        "sec" | "secs" | "second" | "seconds" => Some(format!("{number}s")),
        _ => Some(said.clone()),
    };
    match better.filter(|better| better.parse::<Period>().is_ok()) {
        Some(better) => format!("write {better:?}"),
        None if !number.is_empty() && unit.is_empty() => {
            format!("write its unit, such as \"{number}m\" for minutes or \"{number}h\" for hours")
        }
        None if said.starts_with('-') => "a period is not negative".into(),
        None => "write numbers with units, such as \"30m\", \"8h\" or \"1h30m\", and 24 hours for a day".into(),
    }
}

// === impl Period ===

impl Period {
    /// The period of `duration`, unless that is zero or longer than Go's `time.Duration` holds.
    pub fn new(duration: Duration) -> Result<Self, PeriodError> {
        let nanos = duration.as_nanos();
        if nanos == 0 {
            return Err(PeriodError::Zero("0s".into()));
        }
        if i64::try_from(nanos).is_err() {
            return Err(PeriodError::TooLong(format!("{}s", duration.as_secs())));
        }
        Ok(Self(duration))
    }

    /// A quarter of an hour.
    pub(crate) const fn quarter_of_an_hour() -> Self {
        Self(Duration::from_mins(15))
    }

    /// The period as a duration.
    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let syntax = || PeriodError::Syntax(shorten(text));
        let too_long = || PeriodError::TooLong(shorten(text));
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        if rest == "0" {
            return Err(PeriodError::Zero(shorten(text)));
        }
        if rest.is_empty() {
            return Err(syntax());
        }
        let mut total: u64 = 0;
        while !rest.is_empty() {
            let (term, after) = Term::split(rest).ok_or_else(syntax)?;
            let nanos = term.nanos().ok_or_else(too_long)?;
            total = total.checked_add(nanos).ok_or_else(too_long)?;
            rest = after;
        }
        if total == 0 {
            return Err(PeriodError::Zero(shorten(text)));
        }
        if i64::try_from(total).is_err() {
            return Err(too_long());
        }
        Ok(Self(Duration::from_nanos(total)))
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;

    fn try_from(text: String) -> Result<Self, PeriodError> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if seconds == 0 {
            return write_below_a_second(f, nanos);
        }
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if hours > 0 || minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}{}s", seconds % 60, fraction(nanos, 9))
    }
}

/// Go prints less than a second in the largest unit that leaves a whole digit.
fn write_below_a_second(f: &mut fmt::Formatter<'_>, nanos: u32) -> fmt::Result {
    match nanos {
        1_000_000.. => write!(f, "{}{}ms", nanos / 1_000_000, fraction(nanos % 1_000_000, 6)),
        1_000.. => write!(f, "{}{}µs", nanos / 1_000, fraction(nanos % 1_000, 3)),
        _ => write!(f, "{nanos}ns"),
    }
}

/// `.5` for 500 of three digits; nothing for zero.
fn fraction(value: u32, digits: usize) -> String {
    if value == 0 {
        return String::new();
    }
    let padded = format!("{value:0digits$}");
    format!(".{}", padded.trim_end_matches('0'))
}

// === impl Term ===

/// One `1.5h` of a duration.
struct Term<'a> {
    whole: &'a str,
    fraction: &'a str,
    unit_nanos: u64,
}

impl<'a> Term<'a> {
    /// Takes the first term off `text`.
    fn split(text: &'a str) -> Option<(Self, &'a str)> {
        let (whole, rest) = split_digits(text);
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => split_digits(rest),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let unit_end = rest.find(|c: char| c == '.' || c.is_ascii_digit());
        let unit_end = unit_end.unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(unit_end);
        let unit_nanos = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOS_PER_SECOND,
            "m" => 60 * NANOS_PER_SECOND,
            "h" => 3600 * NANOS_PER_SECOND,
            _ => return None,
        };
        Some((
            Self {
                whole,
                fraction,
                unit_nanos,
            },
            rest,
        ))
    }

    /// The term in nanoseconds, unless that overflows. Digits beyond a nanosecond are cut off.
    fn nanos(&self) -> Option<u64> {
        let whole: u64 = if self.whole.is_empty() {
            0
        } else {
            self.whole.parse().ok()?
        };
        // 15 digits of the largest unit (an hour) resolve far below a nanosecond, and their product fits.
        let digits = &self.fraction[..self.fraction.len().min(15)];
        let numerator: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let part = numerator * u128::from(self.unit_nanos) / 10_u128.pow(u32::try_from(digits.len()).ok()?);
        whole
            .checked_mul(self.unit_nanos)?
            .checked_add(u64::try_from(part).ok()?)
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_go_reads() {
        let nanos = |text: &str| text.parse::<Period>().map(|period| period.0.as_nanos());
        assert_eq!(nanos("8h"), Ok(28_800_000_000_000));
        assert_eq!(nanos("1h30m"), Ok(5_400_000_000_000));
        assert_eq!(nanos("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(nanos(".5s"), Ok(500_000_000));
        assert_eq!(nanos("1.s"), Ok(1_000_000_000));
        assert_eq!(nanos("+5m0.25s"), Ok(300_250_000_000));
        assert_eq!(nanos("3µs2us1ns"), Ok(5_001));
        assert_eq!(nanos("0.3333333333333333333h"), Ok(1_199_999_999_999));
    }

    #[test]
    fn refuses_what_is_no_period() {
        let refused = |text: &str, error: PeriodError| assert_eq!(text.parse::<Period>(), Err(error), "{text:?}");
        for text in [
            "", "8", "h", "-1h", "1 h", "8H", "1h-1m", "1d", "٣h", ".h", "1..5h", "+", "é",
        ] {
            refused(text, PeriodError::Syntax(text.into()));
        }
        for text in ["0", "0s", "0h0m", "0.1ns"] {
            refused(text, PeriodError::Zero(shorten(text)));
        }
        for text in ["2562048h", "99999999999999999999h", "9223372036s855ms"] {
            refused(text, PeriodError::TooLong(text.into()));
        }
    }

    /// `cases.md 9`
    #[test]
    fn error_says_what_to_write_instead() {
        for (text, expected) in [
            ("1d", "write \"24h\""),
            ("2 days", "write \"48h\""),
            ("1w", "write \"168h\""),
            ("1 h", "write \"1h\""),
            ("8H", "write \"8h\""),
            ("1H30M", "write \"1h30m\""),
            ("1,5h", "write \"1.5h\""),
            ("30min", "write \"30m\""),
            ("8 hours", "write \"8h\""),
            ("90", "write its unit, such as \"90m\" for minutes or \"90h\" for hours"),
            ("1.5", "write its unit"),
            ("-1h", "a period is not negative"),
            ("", "write numbers with units"),
            ("1.5d", "24 hours for a day"),
            ("1d12h", "24 hours for a day"),
            ("99999999999999999999d", "24 hours for a day"),
        ] {
            let error = text.parse::<Period>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn error_shows_the_beginning_of_a_long_text() {
        for text in [
            "x".repeat(1_000_000),
            "9".repeat(1_000_000),
            format!("{}s", "9".repeat(1_000_000)),
        ] {
            let error = text.parse::<Period>().unwrap_err().to_string();
            assert!(error.len() < 300, "{}", error.len());
        }
    }

    #[test]
    fn prints_as_go_does() {
        let printed = |text: &str| text.parse::<Period>().unwrap().to_string();
        assert_eq!(printed("8h"), "8h0m0s");
        assert_eq!(printed("90m"), "1h30m0s");
        assert_eq!(printed("61s"), "1m1s");
        assert_eq!(printed("1.5s"), "1.5s");
        assert_eq!(printed("1500us"), "1.5ms");
        assert_eq!(printed("1500ns"), "1.5µs");
        assert_eq!(printed("7ns"), "7ns");
    }

    proptest! {
        #[test]
        fn what_it_prints_it_reads_again(nanos in 1..=i64::MAX) {
            let period = Period::new(Duration::from_nanos(nanos.unsigned_abs())).unwrap();
            prop_assert_eq!(period.to_string().parse::<Period>(), Ok(period));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = text.parse::<Period>();
        }

        #[test]
        fn any_text_of_its_letters_is_read_or_refused(text in "[+-]?([0-9]{0,25}[.]?[0-9]{0,40}(h|m|s|ms|us|µs|ns)?){0,4}") {
            let _ = text.parse::<Period>();
        }
    }
}
