//! Names: of what is in a kubeconfig, of objects in Kubernetes, of a capability and of a bucket. What is refused here says what to write.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use tka_core::{KubeconfigName, Namespace, is_object_name, shorten};

/// How long a key of a ConfigMap may be, in bytes.
const LONGEST_KEY: usize = 253;
/// How long the name of a bucket may be, in bytes. Old ones are longer than new ones may be
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html>).
const LONGEST_BUCKET: usize = 255;

/// The name of a kubeconfig's cluster: kubectl takes an empty one for none.
pub(super) fn cluster<'de, D: Deserializer<'de>>(deserializer: D) -> Result<KubeconfigName, D::Error> {
    let name = KubeconfigName::deserialize(deserializer)?;
    if name.as_str().trim().is_empty() {
        return Err(D::Error::custom(
            "it is empty: give it a value, or leave it out for the default",
        ));
    }
    Ok(name)
}

/// A namespace, which is there.
pub(super) fn namespace<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    check(String::deserialize(deserializer)?, &check_namespace)
}

/// A namespace, or nothing.
pub(super) fn namespace_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    unless_empty(String::deserialize(deserializer)?, &check_namespace)
}

/// The name of a ConfigMap, or nothing.
pub(super) fn object_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    unless_empty(String::deserialize(deserializer)?, &|name| {
        let advice = "write small letters, digits, hyphens and dots, with a letter or digit on both sides of each dot, first and last";
        only_if(is_object_name(name), "a ConfigMap", name, advice)
    })
}

/// A key of a ConfigMap, or nothing.
pub(super) fn key_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    unless_empty(String::deserialize(deserializer)?, &|key| {
        let is_key = key.len() <= LONGEST_KEY && key.bytes().all(is_plain);
        let advice = "write letters, digits, `-`, `_` and `.`";
        only_if(is_key, "a key in a ConfigMap", key, advice)
    })
}

/// A capability of the tailnet policy. With a space around it no rule would ever be found.
pub(super) fn capability<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    check(String::deserialize(deserializer)?, &|name| {
        let is_wrong = name.is_empty() || name.contains(|c: char| c.is_whitespace() || c.is_control());
        let advice = "write it as the tailnet policy has it, such as \"specht-labs.de/cap/tka\"";
        only_if(!is_wrong, "a capability", name, advice)
    })
}

/// The name of a bucket, or nothing. It becomes a part of URLs.
pub(super) fn bucket_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    unless_empty(String::deserialize(deserializer)?, &|name| {
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_bucket = begins && name.len() <= LONGEST_BUCKET && name.bytes().all(is_plain);
        let advice = "write its name alone, such as \"tka-recordings\"";
        only_if(is_bucket, "a bucket", name, advice)
    })
}

/// The region of a bucket, or nothing. It becomes a part of a host's name.
pub(super) fn region_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    unless_empty(String::deserialize(deserializer)?, &|name| {
        let advice = "write it as the store calls it, such as \"eu-central-1\"";
        let is_region = name.bytes().all(is_plain);
        only_if(is_region, "a region", name, advice)
    })
}

type Check<'c> = &'c dyn Fn(&str) -> Result<(), String>;

fn check<E: Error>(text: String, check: Check<'_>) -> Result<String, E> {
    check(&text).map_err(E::custom)?;
    Ok(text)
}

fn unless_empty<E: Error>(text: String, check: Check<'_>) -> Result<String, E> {
    if text.is_empty() {
        return Ok(text);
    }
    self::check(text, check)
}

/// Whether a byte may be in a key of a ConfigMap, in the name of a bucket and in that of a region.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._".contains(&byte)
}

fn check_namespace(name: &str) -> Result<(), String> {
    let advice = "write small letters, digits and hyphens, 63 at the most, with a letter or digit first and last";
    only_if(
        Namespace::try_from(name.to_owned()).is_ok(),
        "a namespace",
        name,
        advice,
    )
}

/// Refuses what cannot be the name of `what`, and says what to write.
fn only_if(is_right: bool, what: &str, name: &str, advice: &str) -> Result<(), String> {
    if is_right {
        return Ok(());
    }
    Err(format!("{:?} cannot be the name of {what}: {advice}", shorten(name)))
}

/// What a name in a kubeconfig is made of, without [`tka_core::is_unprintable`]. The last five have no notation that all readers of patterns know.
const PRINTED: &str = "^[^\\x00-\\x1f\\x7f-\\x9f\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}]*$";

/// The name of an entry in a kubeconfig, or what it begins with.
pub(super) fn kubeconfig_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": PRINTED})
}

/// The same, with something that is to be seen.
pub(super) fn cluster_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": PRINTED, "allOf": [{"pattern": "\\S"}]})
}

/// A namespace.
pub(super) fn namespace_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63})
}

/// A namespace, or nothing.
pub(super) fn namespace_or_none_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", "maxLength": 63})
}

/// The name of a ConfigMap, or nothing.
pub(super) fn object_or_none_schema(_: &mut SchemaGenerator) -> Schema {
    let part = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
    json_schema!({"type": "string", "pattern": format!("^({part}(\\.{part})*)?$"), "maxLength": 253})
}

/// A key of a ConfigMap (<https://kubernetes.io/docs/concepts/configuration/configmap/#configmap-object>), or nothing.
pub(super) fn key_or_none_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[-._a-zA-Z0-9]*$", "maxLength": LONGEST_KEY})
}

/// A capability.
pub(super) fn capability_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^\\S+$"})
}

/// The name of a bucket, or nothing.
pub(super) fn bucket_or_none_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([a-zA-Z0-9][-._a-zA-Z0-9]*)?$", "maxLength": LONGEST_BUCKET})
}

/// The region of a bucket, or nothing.
pub(super) fn region_or_none_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[-._a-zA-Z0-9]*$"})
}
