//! Kubeconfig files of the testbed's own programs.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::client::{admin, api_server_url};
use crate::{error::Result, facts::Facts, files, layout::Layout};

/// Longer than any testbed is kept; a server that is started again gets a new one.
const SERVER_TOKEN_DURATION: &str = "--duration=24h";

pub(super) fn write_administrator(layout: &Layout, facts: &Facts) -> Result<()> {
    write(
        layout,
        &api_server_url(facts),
        &layout.kubeconfig(),
        &certificate(layout, "admin"),
    )
}

/// Writes the kubeconfig of a component that has a certificate of that name, and returns its place.
pub(super) fn write_component(layout: &Layout, facts: &Facts, name: &str) -> Result<PathBuf> {
    let path = layout.data(&format!("{name}.kubeconfig"));
    write(layout, &api_server_url(facts), &path, &certificate(layout, name))?;
    Ok(path)
}

/// Writes a kubeconfig with a token of a `ServiceAccount`, and with where the API server is: what a TKA server runs under.
pub(crate) fn write_server(
    layout: &Layout,
    api_server: &str,
    path: &Path,
    (namespace, account): (&str, &str),
) -> Result<()> {
    let namespace = format!("--namespace={namespace}");
    let token = admin(layout, &["create", "token", account, &namespace, SERVER_TOKEN_DURATION])?;
    write(layout, api_server, path, &json!({ "token": token.trim() }))
}

fn certificate(layout: &Layout, name: &str) -> Value {
    json!({
        "client-certificate": layout.pki(&format!("{name}.pem")),
        "client-key": layout.pki(&format!("{name}.key")),
    })
}

/// JSON, which is YAML too.
fn write(layout: &Layout, api_server: &str, path: &Path, user: &Value) -> Result<()> {
    files::write_json(path, &document(api_server, &layout.cluster_ca(), user))
}

fn document(server: &str, authority: &Path, user: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "testbed", "cluster": { "server": server, "certificate-authority": authority } }],
        "users": [{ "name": "testbed", "user": user }],
        "contexts": [{ "name": "testbed", "context": { "cluster": "testbed", "user": "testbed" } }],
        "current-context": "testbed",
    })
}
