//! What a rule asks for with `approval`: that others let a caller in.

use std::fmt;
use std::num::NonZeroU32;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::Period;
use crate::digest::Digest;

/// How many approvals a rule may ask for at the most. A rule that asks for more people than can be found within its time gives
/// nothing.
pub const MAX_APPROVALS: u32 = 20;

/// How many must approve a sign-in, and within which time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Approval {
    /// How many others. Each person counts once, on whatever device.
    pub count: NonZeroU32,
    /// How long a sign-in waits for them.
    pub within: Period,
    /// Whether machines count, too.
    pub machines: bool,
}

/// An approval as the policy writes it: an object, and not an array, which serde would take for its fields in their order.
pub(crate) struct RawApproval(Fields);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    count: Option<NonZeroU32>,
    within: Option<Period>,
    #[serde(default)]
    machines: bool,
}

// === impl Approval ===

impl Approval {
    /// How long a sign-in waits where its rule does not say.
    const WITHIN: Period = Period::quarter_of_an_hour();

    /// Of two the stricter in each respect.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        Self {
            count: self.count.max(other.count),
            within: self.within.min(other.within),
            machines: self.machines && other.machines,
        }
    }

    pub(crate) fn write_to(&self, digest: &mut Digest) {
        digest.field(&self.count.to_string());
        digest.field(&self.within.to_string());
        digest.field(if self.machines { "machines" } else { "" });
    }
}

// === impl RawApproval ===

impl<'de> Deserialize<'de> for RawApproval {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = RawApproval;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with `count`, `within` or `machines`")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawApproval, A::Error> {
                Fields::deserialize(MapAccessDeserializer::new(map)).map(RawApproval)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

impl TryFrom<RawApproval> for Approval {
    type Error = String;

    fn try_from(RawApproval(written): RawApproval) -> Result<Self, String> {
        let count = written.count.unwrap_or(NonZeroU32::MIN);
        if count.get() > MAX_APPROVALS {
            return Err(format!("`approval.count` is {count}, more than {MAX_APPROVALS}"));
        }
        Ok(Self {
            count,
            within: written.within.unwrap_or(Self::WITHIN),
            machines: written.machines,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stricter_of_two_is_stricter_in_each_respect() {
        let read = |value: &str| Approval::try_from(serde_json::from_str::<RawApproval>(value).unwrap()).unwrap();
        let both = read(r#"{"count": 2, "within": "5m", "machines": true}"#).and(&read(r#"{"within": "1h"}"#));
        assert_eq!(both, read(r#"{"count": 2, "within": "5m"}"#));
    }
}
