//! Names of Kubernetes objects, of rules, and of what is in a kubeconfig.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::text::text_type;
use crate::{is_unprintable, shorten};

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

/// The name of an entry in a kubeconfig, or what such a name begins with; it may be empty.
///
/// A kubeconfig with another name is refused by `tka`, and read by kubectl as something else or not at all.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct KubeconfigName(String);

/// Why a text is no [`KubeconfigName`]. It shows the first character that is wrong, by its number: printed, it might not be seen.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error(
    "it contains U+{:04X}, and no kubeconfig can have control characters, line ends or byte order marks in a name: write it on one line, such as \"prod\"",
    u32::from(*.0)
)]
pub struct UnprintableError(pub char);

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
/// The API server's limit for the name of an object that is a DNS subdomain.
const OBJECT_NAME_BYTES: usize = 253;

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

// === impl KubeconfigName ===

text_type!(KubeconfigName);

impl TryFrom<String> for KubeconfigName {
    type Error = UnprintableError;

    fn try_from(text: String) -> Result<Self, UnprintableError> {
        match text.chars().find(|c| is_unprintable(*c)) {
            Some(wrong) => Err(UnprintableError(wrong)),
            None => Ok(Self(text)),
        }
    }
}

impl From<KubeconfigName> for String {
    fn from(name: KubeconfigName) -> Self {
        name.0
    }
}

/// Whether `text` can be the name of a ConfigMap or a Secret: a DNS subdomain, as Kubernetes checks it
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names>).
#[must_use]
pub fn is_object_name(text: &str) -> bool {
    // Kubernetes gives the parts no length of their own.
    text.len() <= OBJECT_NAME_BYTES && text.split('.').all(is_dns_part)
}

/// Letters, digits and hyphens, a letter or digit first and last.
fn is_dns_part(text: &str) -> bool {
    let inside = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.chars().all(inside) && !text.starts_with('-') && !text.ends_with('-')
}

/// RFC 1123, as Kubernetes checks it.
pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_dns_part(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_in_a_kubeconfig_is_printed_on_one_line() {
        for text in [
            "",
            "prod",
            "prod #1",
            "größe: ü",
            "arn:aws:eks:eu-1:1:cluster/x",
            "a\u{a0}b",
            "👩\u{200d}🚒",
        ] {
            assert!(KubeconfigName::try_from(text.to_owned()).is_ok(), "{text:?}");
        }
        for wrong in "\0\t\n\r\u{1b}\u{7f}\u{85}\u{9f}\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}".chars() {
            let error = KubeconfigName::try_from(format!("a{wrong}b")).unwrap_err();
            assert_eq!(error, UnprintableError(wrong));
        }
        let said = UnprintableError('\u{85}').to_string();
        assert!(said.starts_with("it contains U+0085, "), "{said}");
    }

    #[test]
    fn objects_and_namespaces_are_called_as_kubernetes_allows() {
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        let names = |text: &str| (Namespace::try_from(text.to_owned()).is_ok(), is_object_name(text));
        for text in ["a", "1", "kube-public", "0-0", &long] {
            assert_eq!(names(text), (true, true), "{text}");
        }
        for text in ["a.b", "kube-root-ca.crt", &longer, &[&*long; 4].join(".")[..253]] {
            assert_eq!(names(text), (false, true), "{text}");
        }
        for text in [
            "",
            "A",
            "a b",
            "-a",
            "a-",
            "a.",
            ".a",
            "a..b",
            "a_b",
            "ä",
            "a\n",
            &"a".repeat(254),
        ] {
            assert_eq!(names(text), (false, false), "{text}");
        }
    }
}
