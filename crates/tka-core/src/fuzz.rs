//! Fuzz targets: what the tailnet policy says, byte by byte. `cargo xtask fuzz` runs these and those of the other crates for long.

use bolero::check;

use crate::{Choice, Grant, Period};

/// Lines are values of the capability.
#[test]
fn grant() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        let values: Vec<&str> = text.lines().collect();
        let Ok(grant) = Grant::parse(values.iter().copied()) else {
            return;
        };
        let reversed = Grant::parse(values.into_iter().rev());
        assert_eq!(reversed.as_ref(), Ok(&grant), "the order decides something");
        if let Ok(chosen) = grant.choose(&Choice::default()) {
            assert!(grant.carries(&chosen.key()));
            assert!(grant.rules().iter().all(|rule| rule.priority <= chosen.priority));
        }
    });
}

#[test]
fn period() {
    check!().for_each(|bytes: &[u8]| {
        let Ok(text) = std::str::from_utf8(bytes) else { return };
        if let Ok(period) = text.parse::<Period>() {
            assert_eq!(period.to_string().parse(), Ok(period));
        }
    });
}
