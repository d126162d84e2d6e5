//! What many measured times come to. By value.

use std::time::Duration;

use serde::{Serialize, Serializer};

/// Measured times, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Times(Vec<Duration>);

/// What is written of them, in milliseconds.
#[derive(Serialize)]
struct Summary {
    count: usize,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

// === impl Times ===

impl Times {
    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that so many of a hundred did not exceed (nearest rank), in milliseconds. None has taken no time.
    #[must_use]
    pub fn percentile(&self, of_hundred: usize) -> f64 {
        let rank = (self.0.len() * of_hundred).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().map_or(0.0, ms)
    }

    /// The median, in milliseconds.
    #[must_use]
    pub fn p50(&self) -> f64 {
        self.percentile(50)
    }

    /// The longest, in milliseconds.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.percentile(100)
    }
}

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let summary = Summary {
            count: self.count(),
            p50_ms: self.percentile(50),
            p90_ms: self.percentile(90),
            p99_ms: self.percentile(99),
            max_ms: self.max(),
        };
        summary.serialize(serializer)
    }
}

/// A time in milliseconds.
#[must_use]
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// How many a second.
#[must_use]
pub fn rate(count: usize, time: Duration) -> f64 {
    ratio(float(count as u64), time.as_secs_f64())
}

/// How many times `base` that is; nothing of nothing.
#[must_use]
pub fn ratio(of: f64, base: f64) -> f64 {
    if base > 0.0 { of / base } else { 0.0 }
}

/// A count, for computing with it.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^52")]
pub fn float(count: u64) -> f64 {
    count as f64
}

/// The value in the middle of `values`: of one measured several times, the one that a busy moment changes least.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    match (values.get(half), values.len().is_multiple_of(2)) {
        (None, _) => 0.0,
        (Some(upper), true) => f64::midpoint(values[half - 1], *upper),
        (Some(middle), false) => *middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: impl IntoIterator<Item = u64>) -> Times {
        millis.into_iter().map(Duration::from_millis).collect()
    }

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let hundred = times((1..=100).rev());
        let is = |times: &Times, expected: [f64; 4]| {
            let of = [50, 90, 99, 100].map(|of_hundred| times.percentile(of_hundred));
            assert!(
                of.into_iter().zip(expected).all(|(of, expected)| close(of, expected)),
                "{of:?}"
            );
        };
        is(&hundred, [50.0, 90.0, 99.0, 100.0]);
        is(&times([3]), [3.0; 4]);
        is(&times([4, 1, 2, 3]), [2.0, 4.0, 4.0, 4.0]);
        is(&times([]), [0.0; 4]);
    }

    #[test]
    fn median_is_not_moved_by_one_that_is_far_off() {
        assert!(close(median(&[1.0, 900.0, 2.0]), 2.0));
        assert!(close(median(&[1.0, 2.0, 3.0, 900.0]), 2.5));
        assert!(close(median(&[]), 0.0));
    }

    #[test]
    fn nothing_is_no_ratio() {
        assert!(close(ratio(3.0, 2.0), 1.5));
        assert!(close(ratio(3.0, 0.0), 0.0));
        assert!(close(rate(10, Duration::from_millis(500)), 20.0));
    }

    #[test]
    fn summary_is_in_milliseconds() {
        let json = serde_json::to_value(times([2, 4])).unwrap();
        assert_eq!((json["count"].as_u64(), json["p50_ms"].as_f64()), (Some(2), Some(2.0)));
        assert_eq!(json["max_ms"].as_f64(), Some(4.0));
    }
}
