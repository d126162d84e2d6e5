//! How Go writes JSON where Rust would write it otherwise.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use crate::Error;
use crate::excerpt::excerpt;

/// `time.Time{}.Unix()`.
const GO_ZERO_TIME: i64 = -62_135_596_800;

/// Reads a whole answer of `endpoint`.
pub(crate) fn read<T: DeserializeOwned>(endpoint: &'static str, answer: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(answer).map_err(|error| Error::Malformed {
        endpoint,
        why: excerpt(&error.to_string()),
    })
}

/// `encoding/json` writes `null` for a nil slice, map or pointer: the same as leaving it out.
pub(crate) fn null_is_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A time, `None` for Go's zero time (`0001-01-01T00:00:00Z`), which stands for "no time".
pub(crate) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let time = Option::<Timestamp>::deserialize(deserializer)?;
    Ok(time.filter(|time| time.as_second() != GO_ZERO_TIME))
}

/// A domain name without the dot that Tailscale ends its FQDNs with.
pub(crate) fn domain<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut name = String::deserialize(deserializer)?;
    if name.ends_with('.') {
        name.pop();
    }
    Ok(name)
}

/// The single addresses among prefixes (`100.64.0.1/32`). Others are left out, as tailscaled itself leaves them out of
/// its own addresses (`LocalBackend.updateStatusLocked`, `addr.IsSingleIP()`).
pub(crate) fn single_addresses<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpAddr>, D::Error> {
    let prefixes: Vec<String> = null_is_default(deserializer)?;
    let prefixes = prefixes.iter().map(|prefix| {
        let (addr, bits) = prefix.split_once('/')?;
        Some((addr.parse::<IpAddr>().ok()?, bits.parse::<u8>().ok()?))
    });
    let mut addresses = Vec::new();
    for prefix in prefixes {
        let (addr, bits) = prefix.ok_or_else(|| D::Error::custom("an address prefix is not ADDRESS/BITS"))?;
        if bits == if addr.is_ipv4() { 32 } else { 128 } {
            addresses.push(addr);
        }
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Sample {
        #[serde(default, deserialize_with = "time")]
        at: Option<Timestamp>,
        #[serde(default, deserialize_with = "single_addresses")]
        addresses: Vec<IpAddr>,
    }

    fn sample(json: &str) -> Result<Sample, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn zero_time_is_no_time() {
        assert_eq!(sample(r#"{"at":"0001-01-01T00:00:00Z"}"#).unwrap().at, None);
        assert_eq!(sample(r#"{"at":null}"#).unwrap().at, None);
        assert_eq!(sample("{}").unwrap().at, None);
        let at = sample(r#"{"at":"2026-01-02T03:04:05.5+01:00"}"#).unwrap().at;
        assert_eq!(at, Some("2026-01-02T02:04:05.5Z".parse().unwrap()));
        assert!(sample(r#"{"at":"soon"}"#).is_err());
    }

    #[test]
    fn only_single_addresses_count() {
        let addresses = |json| sample(json).unwrap().addresses;
        let expected: [IpAddr; 2] = ["100.64.0.1", "fd7a::1"].map(|address| address.parse().unwrap());
        assert_eq!(addresses(r#"{"addresses":["100.64.0.1/32","fd7a::1/128"]}"#), expected);
        assert!(addresses(r#"{"addresses":["10.0.0.0/8","fd7a::/32"]}"#).is_empty());
        assert!(addresses(r#"{"addresses":null}"#).is_empty());
        for bad in ["", "100.64.0.1", "100.64.0.1/", "/32", "100.64.0.1/999", "x/32"] {
            assert!(sample(&format!(r#"{{"addresses":["{bad}"]}}"#)).is_err(), "{bad}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use bolero::check;

    use super::*;
    use crate::{Status, WhoIs};

    /// What a hostile or broken tailscaled answers is read or refused, and its refusal is short.
    fn is_read_or_refused<T: DeserializeOwned>(answer: &[u8]) {
        if let Err(error) = read::<T>("fuzz", answer) {
            assert!(error.to_string().len() < 1000, "{error}");
        }
    }

    #[test]
    fn whois() {
        check!().for_each(is_read_or_refused::<WhoIs>);
    }

    #[test]
    fn status() {
        check!().for_each(is_read_or_refused::<Status>);
    }
}
