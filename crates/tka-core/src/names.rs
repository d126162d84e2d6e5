//! Names of Kubernetes objects and of rules.

use serde::Deserialize;
use thiserror::Error;

use crate::shorten;
use crate::text::text_type;

/// The name of a ClusterRole.
///
/// RBAC names are [path segment names](https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#path-segment-names):
/// colons and capitals are fine, slashes are not.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct RoleName(String);

/// A namespace: a DNS label
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-label-names>).
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct Namespace(String);

/// The name by which a caller chooses a rule: a DNS label, such as `oncall`.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[serde(try_from = "String")]
pub struct RuleName(String);

/// Why a text is no name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
#[error("{text:?} cannot be the name of a {kind}")]
pub struct NameError {
    /// What it should have named.
    pub kind: &'static str,
    /// The text, shortened.
    pub text: String,
}

/// The API server's limit for the name of an RBAC object.
const ROLE_NAME_BYTES: usize = 253;

// === impl RoleName ===

text_type!(RoleName);

impl TryFrom<String> for RoleName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        let refused = text.is_empty()
            || text.len() > ROLE_NAME_BYTES
            || text == "."
            || text == ".."
            || text.contains(['/', '%'])
            // Kubernetes lets it through. It is a slip, and the role that was meant has none.
            || text.trim() != text
            || text.chars().any(char::is_control);
        if refused {
            return Err(NameError {
                kind: "ClusterRole",
                text: shorten(&text),
            });
        }
        Ok(Self(text))
    }
}

// === impl Namespace, RuleName ===

/// A type whose values are DNS labels.
macro_rules! dns_label {
    ($type:ident, $kind:literal) => {
        text_type!($type);

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                if is_dns_label(&text) {
                    return Ok(Self(text));
                }
                Err(NameError {
                    kind: $kind,
                    text: shorten(&text),
                })
            }
        }
    };
}

pub(crate) use dns_label;

dns_label!(Namespace, "namespace");
dns_label!(RuleName, "rule");

/// RFC 1123, as Kubernetes checks it.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}
