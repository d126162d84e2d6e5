//! headscale's own client: users, keys, nodes.

use std::path::PathBuf;

use serde::Deserialize;

use super::node::record::Owner;
use crate::{
    command::Run,
    error::{Error, Result},
    facts::Facts,
    files::Lock,
    layout::Layout,
};

/// Names on the tailnet end in it.
pub(crate) const DOMAIN: &str = "tailnet.test";

pub(crate) const HEADSCALE: &str = "headscale";

/// Runs headscale's own client, which reports errors as `{"error": "…"}`.
pub(super) fn headscale(layout: &Layout, args: &[&str]) -> Result<String> {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    let program = Run::new(&layout.program(HEADSCALE));
    let mut output = program
        .args(["--output", "json", "--config"])
        .args([config(layout)])
        .args(args)
        .output()?;
    if let Ok(refusal) = serde_json::from_str::<Refusal>(&output.stderr) {
        output.stderr = refusal.error;
    }
    output.success()
}

/// The URL of the control server.
pub(crate) fn control_url(facts: &Facts) -> String {
    format!("https://127.0.0.1:{}", facts.ports.headscale)
}

pub(super) fn config(layout: &Layout) -> PathBuf {
    layout.data(HEADSCALE).join("config.yaml")
}

#[derive(Deserialize)]
struct User {
    id: u64,
    name: String,
}

/// The ID of a user, who is created if there is none of that name.
fn ensure_user(layout: &Layout, name: &str) -> Result<u64> {
    let _lock = Lock::acquire(&layout.data("users.lock"))?;
    let users: Option<Vec<User>> = decode(&headscale(layout, &["users", "list"])?)?;
    if let Some(user) = users.into_iter().flatten().find(|user| user.name == name) {
        return Ok(user.id);
    }
    decode::<User>(&headscale(layout, &["users", "create", name])?).map(|user| user.id)
}

/// A key that joins nodes to the tailnet: each replica of a server needs it once.
pub(crate) fn auth_key(layout: &Layout, owner: &Owner) -> Result<String> {
    #[derive(Deserialize)]
    struct Key {
        key: String,
    }
    let mut args = vec![
        "preauthkeys".to_owned(),
        "create".to_owned(),
        "--expiration=1h".to_owned(),
        "--reusable".to_owned(),
    ];
    match owner {
        Owner::User(name) => args.push(format!("--user={}", ensure_user(layout, name)?)),
        Owner::Tags(tags) => args.push(format!("--tags={}", tags.join(","))),
    }
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    decode::<Key>(&headscale(layout, &args)?).map(|key| key.key)
}

#[derive(Deserialize)]
pub(super) struct Listed {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) ip_addresses: Vec<String>,
}

pub(super) fn listed(layout: &Layout) -> Result<Vec<Listed>> {
    let nodes: Option<_> = decode(&headscale(layout, &["nodes", "list"])?)?;
    Ok(nodes.unwrap_or_default())
}

fn decode<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::Answer {
        from: HEADSCALE.to_owned(),
        why: error.to_string(),
        answer: text.chars().take(200).collect(),
    })
}
