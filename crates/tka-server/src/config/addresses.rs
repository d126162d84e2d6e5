//! Addresses and hosts: where to listen, what the server is called, where recordings go.

use std::net::IpAddr;

use axum::http::Uri;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use tka_core::{ApiServerUrl, is_host_name, shorten};

use super::values;

/// An address to listen on.
pub(super) fn ip<'de, D: Deserializer<'de>>(deserializer: D) -> Result<IpAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!(
            "{:?} is not an IP address: write \"127.0.0.1\" for this machine alone, or \"0.0.0.0\" for all addresses",
            shorten(&text)
        ))
    })
}

/// Names of hosts. One that no `Host` header can have would let in no request that it was meant to let in.
pub(super) fn hosts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let hosts = values::list(deserializer)?;
    hosts
        .iter()
        .try_for_each(|host| check_host(host))
        .map_err(D::Error::custom)?;
    Ok(hosts)
}

fn check_host(text: &str) -> Result<(), String> {
    if is_host_name(text) {
        return Ok(());
    }
    let shown = shorten(text);
    if text.contains('/') {
        return Err(format!(
            "{:?} is a URL: write its host alone{}",
            shorten(&ApiServerUrl::redacted(text)),
            such_as(host_of(text))
        ));
    }
    if text.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err(format!(
            "{shown:?} is an address: write names, the node's own addresses are let in without"
        ));
    }
    if let Some((name, _)) = text.split_once(':').filter(|(name, _)| is_host_name(name)) {
        return Err(format!("{shown:?} has a port, and any port is let in: write {name:?}"));
    }
    if !text.is_ascii() {
        return Err(format!("{shown:?} is not in ASCII: write it as DNS has it, with xn--"));
    }
    Err(format!(
        "{shown:?} is not the name of a host: write each name in full, such as \"kube.example.com\""
    ))
}

/// The name of the host in a URL.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', ':']).next().unwrap_or_default();
    is_host_name(host).then_some(host)
}

fn such_as(host: Option<&str>) -> String {
    host.map_or_else(String::new, |host| format!(", {host:?}"))
}

/// The URL of a store, or nothing. Without this, what is none shows when the first recording begins.
pub(super) fn store<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() || is_store(&text) {
        return Ok(text);
    }
    // A password may stand in it.
    let shown = ApiServerUrl::redacted(&text);
    Err(D::Error::custom(format!(
        "{shown:?} is not the URL of a store: write https:// (or http://), its host and perhaps a port and a path, such as \"https://minio.example.com\""
    )))
}

fn is_store(text: &str) -> bool {
    let has_scheme = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let has_host = uri.host().is_some_and(|host| !matches!(host, "" | "[]"));
    let has_port = uri.port().is_none_or(|port| port.as_u16() > 0) && !text.ends_with(':');
    has_scheme && has_host && has_port && !text.contains(['@', '?', '#'])
}

/// An address.
pub(super) fn ip_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9A-Fa-f:.]+$"})
}

/// Names of hosts, of which none ends in a number, as an address does.
pub(super) fn hosts_schema(_: &mut SchemaGenerator) -> Schema {
    let label = "[A-Za-z0-9_]([-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?";
    let host = json_schema!({
        "type": "string",
        "pattern": format!("^{label}(\\.{label})*\\.?$"),
        "maxLength": 254,
        "not": {"pattern": "(^|\\.)[0-9]+\\.?$"},
    });
    json_schema!({"type": "array", "items": host})
}

/// The URL of a store, or nothing.
pub(super) fn store_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": r"^(https?://([^\s/?#@:\[\]]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?(/[^\s?#@]*)?)?$"})
}
