//! The project's Helm chart, installed by a real helm, so that the chart and what is tested cannot drift apart.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use serde_json::json;

use super::admin;
use crate::{
    command::Run,
    error::{Attempt, Result},
    files,
    layout::Layout,
    progress::step,
};

/// The release, in whichever namespace; what it makes is named after both.
const RELEASE: &str = "tka";

/// An installation of the chart.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    pub(crate) namespace: &'a str,
    /// The `ClusterRole`s that the server may bind.
    pub(crate) roles: &'a [String],
    /// Whether it brings the custom resource with it: one installation in a cluster does.
    pub(crate) crds: bool,
}

// === impl Chart ===

impl Chart<'_> {
    /// The `ServiceAccount` that it makes for the server.
    pub(crate) const SERVICE_ACCOUNT: &'static str = RELEASE;

    /// Installs it, or brings what is installed up to date; does nothing if neither chart nor values have changed.
    pub(crate) fn install(&self, layout: &Layout) -> Result<()> {
        let values = json!({ "roles": self.roles, "crds": { "install": self.crds } }).to_string();
        let fingerprint = fingerprint(&values)?;
        let mark = layout.data(&format!("chart-{}", self.namespace));
        if mark.exists() && files::read_to_string(&mark)? == fingerprint {
            return Ok(());
        }
        step(
            &format!("the chart is installed in namespace {}", self.namespace),
            || {
                let values_file = layout.data(&format!("chart-{}-values.json", self.namespace));
                files::write(&values_file, &values)?;
                let namespace = format!("--namespace={}", self.namespace);
                helm(layout)
                    .args(["upgrade", RELEASE, "--install", "--create-namespace", &namespace])
                    .args([Path::new("--values"), &values_file, &chart_dir()])
                    .output()?
                    .success()?;
                files::write(&mark, &fingerprint)
            },
        )
    }

    /// Removes it with its namespace and all that is in it, and does not wait for the end of that.
    pub(crate) fn uninstall(layout: &Layout, namespace: &str) -> Result<()> {
        files::remove(&layout.data(&format!("chart-{namespace}")))?;
        let in_namespace = format!("--namespace={namespace}");
        helm(layout)
            .args(["uninstall", RELEASE, "--ignore-not-found", &in_namespace])
            .output()?
            .success()?;
        admin(
            layout,
            &["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"],
        )
        .map(|_| ())
    }
}

/// helm, with folders of its own, so that a developer's plug-ins and settings have no part in it.
fn helm(layout: &Layout) -> Run {
    Run::new(&layout.program("helm"))
        .env("KUBECONFIG", layout.kubeconfig())
        .env("HELM_CACHE_HOME", layout.data("helm/cache"))
        .env("HELM_CONFIG_HOME", layout.data("helm/config"))
        .env("HELM_DATA_HOME", layout.data("helm/data"))
}

fn chart_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tka")
}

/// What the chart and its values hold, as a number.
fn fingerprint(values: &str) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    values.hash(&mut hasher);
    hash_dir(&chart_dir(), &mut hasher).attempt(|| format!("cannot read the chart in {}", chart_dir().display()))?;
    Ok(format!("{:016x}", hasher.finish()))
}

fn hash_dir(dir: &Path, hasher: &mut DefaultHasher) -> std::io::Result<()> {
    let mut paths = fs::read_dir(dir)?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        path.hash(hasher);
        if path.is_dir() {
            hash_dir(&path, hasher)?;
        } else {
            fs::read(&path)?.hash(hasher);
        }
    }
    Ok(())
}
