//! kubectl, and where the API server is.

use std::path::Path;

use serde_json::Value;

use crate::{
    command::{Output, Run},
    error::Result,
    facts::Facts,
    layout::Layout,
};

/// The API server's URL.
pub(crate) fn api_server_url(facts: &Facts) -> String {
    format!("https://127.0.0.1:{}", facts.ports.api_server)
}

/// Runs kubectl to its end.
pub(crate) fn kubectl(layout: &Layout, kubeconfig: &Path, args: &[&str], input: &str) -> Result<Output> {
    Run::new(&layout.program("kubectl"))
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", layout.data("kubectl-cache"))
        .args(args)
        .output_with(input)
}

/// Applies a manifest as the administrator, by the API server's own merge: what is in it is kept in no annotation.
pub(crate) fn apply(layout: &Layout, manifest: &Value) -> Result<()> {
    let arguments = ["apply", "--server-side", "--filename=-"];
    kubectl(layout, &layout.kubeconfig(), &arguments, &manifest.to_string())?
        .success()
        .map(|_| ())
}

/// [`kubectl`] as the administrator; an error unless it succeeds.
pub(crate) fn admin(layout: &Layout, args: &[&str]) -> Result<String> {
    kubectl(layout, &layout.kubeconfig(), args, "")?.success()
}
