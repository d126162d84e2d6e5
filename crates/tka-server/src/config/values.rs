//! Values that take more than their type says, and what the schema says of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use axum::http::uri::Authority;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use serde_json::Value;
use tka_core::{Period, is_host_name, shorten};
use tka_operator::LONGEST_CREDENTIAL;
use tka_recording::Recipients;

/// A setting that has no effect would be taken for one that has.
pub(super) fn credential_period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    let period = Period::deserialize(deserializer)?;
    if period.duration() <= LONGEST_CREDENTIAL {
        return Ok(period);
    }
    let why = format!("{period} is too long: a credential lives for an hour at the most");
    Err(D::Error::custom(why))
}

/// Where a receiver of traces listens, or nothing. Without this, what is no address ends the server only after it was taken.
pub(super) fn collector<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let endpoint = String::deserialize(deserializer)?;
    if endpoint.is_empty() || is_host_and_port(&endpoint) {
        return Ok(endpoint);
    }
    let why = format!(
        "{:?} is not HOST:PORT of an OTLP receiver, such as \"otel-collector:4317\"",
        shorten(&endpoint)
    );
    Err(D::Error::custom(why))
}

/// Whether `text` names a host, perhaps with a port. gRPC has a port of its own for each scheme.
fn is_host_and_port(text: &str) -> bool {
    let Ok(authority) = text.parse::<Authority>() else {
        return false;
    };
    let host = authority.host();
    let is_host = is_host_name(host) || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let has_port = || authority.port_u16().is_some_and(|port| port > 0);
    is_host && !text.contains('@') && (host.len() == text.len() || has_port())
}

/// A path that is not empty: nothing is found under an empty one.
pub(super) fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.as_os_str().is_empty() {
        return Err(D::Error::custom(
            "it is empty: give it a value, or leave it out for the default",
        ));
    }
    Ok(path)
}

/// A port that callers can name: 0 is any that is free.
pub(super) fn port<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u16, D::Error> {
    NonZeroU16::deserialize(deserializer).map(NonZeroU16::get)
}

/// Labels are a map in a file, and `a=b,c=d` in the environment. The original takes a number or a switch for its text.
pub(super) fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = match Value::deserialize(deserializer)? {
        Value::Object(map) => map.into_iter().map(|(key, value)| label(key, &value)).collect(),
        Value::String(text) => parse_labels(&text),
        _ => Err("it takes labels, each as `key: value`".to_owned()),
    };
    labels.map_err(D::Error::custom)
}

fn label(key: String, value: &Value) -> Result<(String, String), String> {
    match value {
        Value::String(text) => Ok((key, text.clone())),
        Value::Number(_) | Value::Bool(_) => Ok((key, value.to_string())),
        _ => Err(format!("the label {key:?} has no text: write `{key}: value`")),
    }
}

/// Reads `a=b,c=d`.
fn parse_labels(text: &str) -> Result<BTreeMap<String, String>, String> {
    let label = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => Ok((key.trim().to_owned(), value.trim().to_owned())),
        None => Err(format!("{pair:?} is not key=value")),
    };
    items(text).map(label).collect()
}

/// A list is one in a file, and `a,b` in the environment.
pub(super) fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let not_texts = || D::Error::custom("it takes a list of texts");
    match Value::deserialize(deserializer)? {
        Value::Array(items) => {
            let items = items.into_iter().map(|item| match item {
                Value::String(text) if !text.is_empty() => Ok(text),
                _ => Err(not_texts()),
            });
            items.collect()
        }
        Value::String(text) => Ok(items(&text).map(Into::into).collect()),
        _ => Err(not_texts()),
    }
}

/// Recipients of recordings. One that is misspelt or left out must not leave them plain: without any the key is left out.
pub(super) fn recipients<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let recipients = list(Value::deserialize(deserializer)?).map_err(D::Error::custom)?;
    if recipients.is_empty() {
        return Err(D::Error::custom(
            "it names no recipient: name one, or leave the key out for recordings that are not sealed",
        ));
    }
    Recipients::parse(recipients.iter().map(String::as_str)).map_err(D::Error::custom)?;
    Ok(recipients)
}

/// The items of `a,b`.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// A Go duration that is not zero.
pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$",
        "allOf": [{"pattern": "[1-9]"}],
        "x-duration": true,
    })
}

/// A Go duration that is not zero, and an hour or less: in hours, minutes and seconds, of which each is within the next.
pub(super) fn duration_of_credential(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": r"^(1h(0m)?(0s)?|60m(0s)?|[1-5]?[0-9]m([1-5]?[0-9]s)?|([0-9]{1,3}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)s)$",
        "allOf": [{"pattern": "[1-9]"}],
        "x-duration": true,
    })
}

/// `HOST` or `HOST:PORT`, or nothing.
pub(super) fn host_and_port(_: &mut SchemaGenerator) -> Schema {
    let host = r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])";
    let port = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";
    json_schema!({"type": "string", "pattern": format!("^({host}(:{port})?)?$")})
}

/// Alternatives that each have a description of their own, as one list of words.
pub(super) fn one_enum(schema: &mut Schema) {
    let words = |alternative: &Value| alternative.get("const").cloned();
    let Some(Value::Array(alternatives)) = schema.remove("oneOf") else {
        return;
    };
    let words: Vec<_> = alternatives.iter().filter_map(words).collect();
    schema.insert("type".into(), "string".into());
    schema.insert("enum".into(), words.into());
}
