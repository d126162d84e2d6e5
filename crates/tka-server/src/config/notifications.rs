//! Webhooks that are told of decisions. A URL may be a secret, as Slack's are: none is ever shown whole.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use axum::http::Uri;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;
use tka_api::audit::Decision;

use super::values;

/// How many webhooks there may be: each has a queue and a task of its own.
const MOST: usize = 16;
/// How long a webhook's name may be, in bytes. It is a label of metrics.
const LONGEST_NAME: usize = 63;

/// What is told where nothing is chosen: what people wait for, and what was taken from them.
const DEFAULT_DECISIONS: [Decision; 9] = [
    Decision::ApprovalRequested,
    Decision::Approved,
    Decision::Denied,
    Decision::ApprovalEnded,
    Decision::Revoked,
    Decision::TakenDown,
    Decision::BreakGlass,
    Decision::BreakGlassAcknowledged,
    Decision::BreakGlassUnacknowledged,
];

/// Who is told of decisions.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Notifications {
    /// Webhooks that are told of decisions, each with `name`, `url` or `urlFile`, and perhaps `format`, `events`, `keyFile`, `caFile`, `insecure`;
    /// docs/notifications.md has an example. In the environment it is this list in JSON.
    #[serde(deserialize_with = "webhooks")]
    pub webhooks: Vec<Webhook>,
}

/// A webhook that is told of decisions.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Webhook {
    /// What it is called in logs and metrics: small letters, digits and hyphens.
    #[schemars(schema_with = "name_schema")]
    pub name: String,
    /// Where it is told, `https://…`.
    pub url: WebhookUrl,
    /// A file that holds the URL instead, for a URL that is a secret.
    pub url_file: PathBuf,
    /// Take a URL of `http://…` too, of a host inside of the cluster or of a private network.
    pub insecure: bool,
    /// What is sent: `cloudevents`, or `slack` for the incoming webhooks of Slack and what takes the same.
    pub format: WebhookFormat,
    /// Which decisions of the audit log it is told of.
    #[schemars(schema_with = "decisions")]
    pub events: Vec<Decision>,
    /// A file with the keys that sign what is sent, one a line, as Standard Webhooks has them: `whsec_…`.
    pub key_file: PathBuf,
    /// A file with the certificate authorities that its certificate must be from, in PEM, instead of the public ones.
    pub ca_file: PathBuf,
}

/// The URL of a webhook, which is not to be shown.
#[derive(Clone, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(transparent)]
#[schemars(inline)]
pub struct WebhookUrl(String);

/// What is sent to a webhook.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
#[schemars(transform = values::one_enum)]
pub enum WebhookFormat {
    /// An event (<https://cloudevents.io>), in JSON.
    #[default]
    CloudEvents,
    /// A text (<https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks>).
    Slack,
}

/// Why a URL is none that a webhook is told at. None shows it.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum UrlError {
    /// It is none.
    #[error("it is no URL of the form https://HOST/PATH")]
    NotOne,
    /// It holds a user name or a password.
    #[error("it contains an `@` before its path: a user name or a password has no place there")]
    UserInfo,
    /// It is plain HTTP.
    #[error(
        "it is not https; http is taken of this machine, and with `insecure: true` of a host that ends in .svc or .svc.cluster.local, or of a private address"
    )]
    Plain,
}

// === impl Webhook ===

impl Default for Webhook {
    fn default() -> Self {
        Self {
            name: String::new(),
            url: WebhookUrl::default(),
            url_file: PathBuf::new(),
            insecure: false,
            format: WebhookFormat::default(),
            events: DEFAULT_DECISIONS.to_vec(),
            key_file: PathBuf::new(),
            ca_file: PathBuf::new(),
        }
    }
}

impl Webhook {
    /// Where its URL is, if it is in a file.
    #[must_use]
    pub fn url_file(&self) -> Option<&Path> {
        set(&self.url_file)
    }

    /// Where its keys are, if it has any.
    #[must_use]
    pub fn key_file(&self) -> Option<&Path> {
        set(&self.key_file)
    }

    /// Where its certificate authorities are, if they are its own.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        set(&self.ca_file)
    }

    /// Why it cannot be one, in a sentence without its URL.
    fn check(&self) -> Result<(), String> {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.name.is_empty() || self.name.len() > LONGEST_NAME || !self.name.bytes().all(is_name) {
            return Err(format!(
                "it needs a `name` of at most {LONGEST_NAME} small letters, digits and hyphens"
            ));
        }
        match (self.url.0.is_empty(), self.url_file()) {
            (true, None) => return Err("it has neither `url` nor `urlFile`: set one".into()),
            (false, Some(_)) => return Err("it has both `url` and `urlFile`: leave one out".into()),
            (true, Some(_)) => {}
            (false, None) => drop(
                self.url
                    .parse(self.insecure)
                    .map_err(|error| format!("its `url` is wrong: {error}"))?,
            ),
        }
        if self.events.is_empty() {
            return Err("it has no `events`: name some, or leave `events` out for the usual ones".into());
        }
        if self.format == WebhookFormat::CloudEvents && self.key_file().is_none() {
            return Err(
                "it has no `keyFile`: without a signature a receiver cannot tell its events from forged ones".into(),
            );
        }
        Ok(())
    }
}

fn set(path: &Path) -> Option<&Path> {
    (!path.as_os_str().is_empty()).then_some(path)
}

// === impl WebhookUrl ===

impl WebhookUrl {
    /// What a file holds, less the space around it.
    #[must_use]
    pub fn from_file(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The URL, if one may be told there; over plain HTTP within the cluster too if that is taken to be fine.
    pub fn parse(&self, insecure: bool) -> Result<Uri, UrlError> {
        let uri: Uri = self.0.parse().map_err(|_| UrlError::NotOne)?;
        let (scheme, authority) = (uri.scheme_str(), uri.authority());
        let (Some(scheme), Some(authority)) = (scheme, authority) else {
            return Err(UrlError::NotOne);
        };
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInfo);
        }
        let host = authority.host();
        if host.is_empty() || host == "[]" || self.0.contains('#') {
            return Err(UrlError::NotOne);
        }
        match scheme {
            "https" => Ok(uri),
            "http" if is_loopback(host) || insecure && is_inside(host) => Ok(uri),
            "http" => Err(UrlError::Plain),
            _ => Err(UrlError::NotOne),
        }
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "[secret]" })
    }
}

/// The address that `host` of a URL is, if it is one. An IPv6 address stands in brackets there.
fn address(host: &str) -> Option<std::net::IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Whether `host` of a URL is this machine.
#[must_use]
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || address(host).is_some_and(|address| address.is_loopback())
}

/// Whether `host` is a Service of the cluster, by the names that Kubernetes gives it, or is on a private network.
fn is_inside(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let is_service = [".svc", ".svc.cluster.local"].iter().any(|end| name.ends_with(end));
    is_service
        || address(host).is_some_and(|address| match address {
            std::net::IpAddr::V4(address) => address.is_private(),
            std::net::IpAddr::V6(address) => address.is_unique_local(),
        })
}

/// A list in a file, and the same in JSON in the environment. No error shows a URL.
fn webhooks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Webhook>, D::Error> {
    let list = match Value::deserialize(deserializer)? {
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::Null),
        value => value,
    };
    read(list).map_err(D::Error::custom)
}

fn read(list: Value) -> Result<Vec<Webhook>, String> {
    let Value::Array(items) = list else {
        return Err("it takes a list of webhooks, each with `name` and `url`".into());
    };
    if items.len() > MOST {
        return Err(format!("there are more than {MOST} webhooks"));
    }
    let (mut all, mut names) = (Vec::new(), BTreeSet::new());
    for (at, item) in items.into_iter().enumerate() {
        let which = item["name"].as_str().map(tka_core::shorten);
        let which = which.map_or_else(|| format!("number {}", at + 1), |name| format!("{name:?}"));
        let webhook = one(item).map_err(|why| format!("the webhook {which} is wrong: {why}"))?;
        if !names.insert(webhook.name.clone()) {
            return Err(format!("two webhooks are called {which}"));
        }
        all.push(webhook);
    }
    Ok(all)
}

fn one(item: Value) -> Result<Webhook, String> {
    let webhook: Webhook = serde_path_to_error::deserialize(item).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        // What stands at the wrong place may be the URL.
        if why.contains("//") {
            return format!("its `{}` takes another value", tka_core::shorten(&path));
        }
        tka_core::fields::in_plain_words(&why)
    })?;
    webhook.check()?;
    Ok(webhook)
}

fn name_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[-a-z0-9]+$", "maxLength": LONGEST_NAME})
}

fn decisions(generator: &mut SchemaGenerator) -> Schema {
    let mut decision = Decision::json_schema(generator);
    values::one_enum(&mut decision);
    decision.remove("description");
    json_schema!({"type": "array", "items": decision, "minItems": 1})
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn url(text: &str, insecure: bool) -> Result<(), UrlError> {
        WebhookUrl(text.into()).parse(insecure).map(drop)
    }

    #[test]
    fn plain_http_is_for_this_machine_and_where_it_is_allowed() {
        for text in [
            "https://a.example",
            "https://a.example:8443/x?y=z",
            "http://127.0.0.1:9/",
            "http://[::1]:9/",
            "http://localhost/",
        ] {
            assert_eq!(url(text, false), Ok(()), "{text}");
        }
        for text in [
            "http://a.svc/x",
            "http://a.b.svc.cluster.local./",
            "http://10.1.2.3/",
            "http://[fd00::1]/",
            "http://a.b.svc:80/",
        ] {
            assert_eq!(
                (url(text, false), url(text, true)),
                (Err(UrlError::Plain), Ok(())),
                "{text}"
            );
        }
        for text in [
            "http://a.example/",
            "http://8.8.8.8/",
            "http://a.svc.example/",
            "http://svc/",
            "http://169.254.169.254/",
        ] {
            assert_eq!(url(text, true), Err(UrlError::Plain), "{text}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "a.example",
            "/x",
            "ftp://a.example/",
            "https://",
            "https:///x",
            "https://a b/",
            "file:///x",
            "https://a.example/#f",
        ] {
            assert_eq!(url(text, true), Err(UrlError::NotOne), "{text}");
        }
        assert_eq!(url("https://u:p@a.example/", true), Err(UrlError::UserInfo));
    }

    #[test]
    fn what_is_left_out_is_as_documented_and_the_url_is_not_shown() {
        let read = read(json!([{"name": "a", "url": "https://s3cret.example/s3cret", "keyFile": "/k"}])).unwrap();
        assert_eq!(read[0].format, WebhookFormat::CloudEvents);
        assert_eq!(read[0].events, DEFAULT_DECISIONS);
        assert!(!format!("{read:?}").contains("s3cret"));
        let slack = json!([{"name": "a", "urlFile": "/u", "format": "slack", "events": ["signed_in"]}]);
        let slack = super::read(slack).unwrap();
        assert_eq!(
            (slack[0].key_file(), slack[0].events.as_slice()),
            (None, &[Decision::SignedIn][..])
        );
        assert_eq!(super::read(serde_json::to_value(&slack).unwrap()).unwrap(), slack);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_url() {
        const URL: &str = "https://h.example/s3cret";
        for (list, said) in [
            (json!({"name": "a"}), "a list of webhooks"),
            (json!(URL), "a list of webhooks"),
            (json!([URL]), "number 1"),
            (json!([{"url": URL, "keyFile": "/k"}]), "needs a `name`"),
            (json!([{"name": "A b", "url": URL, "keyFile": "/k"}]), "needs a `name`"),
            (json!([{"name": "a", "keyFile": "/k"}]), "neither `url` nor `urlFile`"),
            (
                json!([{"name": "a", "url": URL, "urlFile": "/u", "keyFile": "/k"}]),
                "both `url` and `urlFile`",
            ),
            (json!([{"name": "a", "url": URL}]), "no `keyFile`"),
            (
                json!([{"name": "a", "url": URL, "keyFile": "/k", "events": []}]),
                "no `events`",
            ),
            (
                json!([{"name": "a", "url": URL, "keyFile": "/k", "events": ["signedin"]}]),
                "unknown variant",
            ),
            (
                json!([{"name": "a", "url": URL, "keyFile": "/k", "events": URL}]),
                "`events` takes another value",
            ),
            (
                json!([{"name": "a", "url": URL, "keyFile": "/k", "format": URL}]),
                "`format` takes another value",
            ),
            (
                json!([{"name": "a", "ulr": URL, "keyFile": "/k"}]),
                "unknown field `ulr`",
            ),
            (
                json!([{"name": "a", "url": "http://h.example/s3cret", "keyFile": "/k"}]),
                "it is not https",
            ),
            (
                json!([{"name": "a", "url": URL, "keyFile": "/k"}, {"name": "a", "url": URL, "keyFile": "/k"}]),
                "two webhooks are called \"a\"",
            ),
            (json!(vec![json!({"name": "a"}); MOST + 1]), "more than 16"),
        ] {
            let why = read(list).unwrap_err();
            assert!(why.contains(said) && !why.contains("s3cret"), "{said}: {why}");
        }
    }
}
