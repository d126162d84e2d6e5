//! Signatures of what is sent, by value, as Standard Webhooks has them
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice};
use sha2::Sha256;
use thiserror::Error;

/// What a key may begin with.
const PREFIX: &str = "whsec_";
/// How long a key may be, in bytes, by the specification.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How many keys sign at a time: the one, and one or two that take its place.
const MOST: usize = 4;

/// Keys that sign. A receiver that knows any of them takes what they sign, so that one can take the place of another.
#[derive(Debug)]
pub(super) struct Keys(Vec<SecretSlice<u8>>);

/// Why a text holds no keys. None shows it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum KeyError {
    /// There is none.
    #[error("it holds no key: write `whsec_` and 24 to 64 random bytes in base64 into it")]
    None,
    /// There are many.
    #[error("it holds more than {MOST} keys")]
    TooMany,
    /// A line is none.
    #[error("a line of it is no key: it takes `whsec_` and 24 to 64 random bytes in base64")]
    Malformed,
}

// === impl Keys ===

impl Keys {
    /// Reads keys, one a line.
    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let keys: Vec<_> = lines.map(key).collect::<Result<_, _>>()?;
        match keys.len() {
            0 => Err(KeyError::None),
            count if count > MOST => Err(KeyError::TooMany),
            _ => Ok(Self(keys)),
        }
    }

    /// The header `webhook-signature` of `body`, which is sent under `id` at `timestamp`, in seconds since 1970: one signature a key.
    pub(super) fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let signatures = self.0.iter().map(|key| {
            let digest = digest(
                key.expose_secret(),
                &[id.as_bytes(), timestamp.to_string().as_bytes(), body],
            );
            format!("v1,{}", STANDARD.encode(digest))
        });
        signatures.collect::<Vec<_>>().join(" ")
    }
}

fn key(line: &str) -> Result<SecretSlice<u8>, KeyError> {
    let text = line.strip_prefix(PREFIX).unwrap_or(line);
    let key = STANDARD.decode(text).map_err(|_| KeyError::Malformed)?;
    if !BYTES.contains(&key.len()) {
        return Err(KeyError::Malformed);
    }
    Ok(key.into())
}

/// The HMAC of `parts` with a full stop between each two.
fn digest(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    // HMAC takes keys of any length (RFC 2104), so that there is always one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else {
        return Vec::new();
    };
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            mac.update(b".");
        }
        mac.update(part);
    }
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The specification's own libraries are tested with this one.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn signed(keys: &str) -> String {
        let keys = Keys::parse(keys).unwrap();
        keys.sign(
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1_614_265_330,
            br#"{"test": 2432232314}"#,
        )
    }

    #[test]
    fn signature_is_the_published_one() {
        assert_eq!(signed(KEY), SIGNATURE);
        assert_eq!(signed(KEY.strip_prefix("whsec_").unwrap()), SIGNATURE);
    }

    #[test]
    fn each_key_signs_while_one_takes_the_place_of_another() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let both = signed(&format!("{other}\n\n {KEY} \n"));
        let (first, second) = both.split_once(' ').unwrap();
        assert_eq!((first, second), (signed(&other).as_str(), SIGNATURE));
        assert_ne!(first, second);
    }

    #[test]
    fn what_is_no_key_is_refused_and_none_is_shown() {
        assert_eq!(Keys::parse("\n").unwrap_err(), KeyError::None);
        assert_eq!(
            Keys::parse(&format!("{KEY}\n").repeat(5)).unwrap_err(),
            KeyError::TooMany
        );
        for length in [0, 23, 65] {
            let text = format!("whsec_{}", STANDARD.encode(vec![1; length]));
            assert_eq!(Keys::parse(&text).unwrap_err(), KeyError::Malformed, "{length}");
        }
        assert_eq!(Keys::parse("whsec_not base64").unwrap_err(), KeyError::Malformed);
        let shown = format!("{:?}", Keys::parse(KEY).unwrap());
        assert!(!shown.contains("MfKQ") && !shown.contains("49"), "{shown}");
    }
}
