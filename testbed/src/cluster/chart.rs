//! The project's Helm chart, installed by a real helm, so that the chart and what is tested cannot drift apart.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::client::admin;
use crate::{
    command::{Output, Run},
    error::{Attempt, Result},
    files,
    layout::Layout,
};

/// What it brings with it: a server can only start once the API server serves it.
const CUSTOM_RESOURCE: &str = "crd/tkasignins.tka.specht-labs.de";

/// An installation of the chart.
#[derive(Debug)]
pub(crate) struct Chart<'a> {
    pub(crate) namespace: &'a str,
    /// The `ClusterRole`s that the server may bind.
    pub(crate) roles: &'a [String],
    /// Those that it may bind in certain namespaces only.
    pub(crate) namespaced_roles: &'a [Value],
    /// Whether it brings the guard with it.
    pub(crate) guard: bool,
    /// Whether it brings the custom resource with it: one installation in a cluster does.
    pub(crate) crds: bool,
    /// Values of a server that it runs in pods. None: the server runs beside the cluster.
    pub(crate) server: Option<Value>,
    /// The folder of a chart from before it had a server, to be installed instead of today's.
    pub(crate) before_server: Option<PathBuf>,
}

// === impl Chart ===

impl Chart<'_> {
    /// The release, in any namespace; what it makes is named after both.
    pub(crate) const RELEASE: &'static str = "tka";
    /// The `ServiceAccount` that it makes for the server.
    pub(crate) const SERVICE_ACCOUNT: &'static str = Self::RELEASE;

    /// Installs it, or brings what is installed up to date; does nothing if neither chart nor values have changed.
    pub(crate) fn install(&self, layout: &Layout) -> Result<()> {
        let mut values = self.server.clone().unwrap_or_else(|| json!({}));
        values["roles"] = json!(self.roles);
        if self.before_server.is_none() {
            values["server"] = json!({ "enabled": self.server.is_some() });
            values["namespacedRoles"] = json!(self.namespaced_roles);
        }
        values["guard"] = json!({ "enabled": self.guard });
        values["crds"] = json!({ "install": self.crds });
        let values = values.to_string();
        let fingerprint = fingerprint(&self.folder(), &values)?;
        let mark = layout.data(&format!("chart-{}", self.namespace));
        if mark.exists() && files::read_to_string(&mark)? == fingerprint {
            return Ok(());
        }
        self.clear_the_way(layout)?;
        self.upgrade(layout, &values)?;
        if self.crds {
            admin(
                layout,
                &["wait", "--for=condition=Established", "--timeout=60s", CUSTOM_RESOURCE],
            )?;
        }
        files::write(&mark, &fingerprint)
    }

    fn folder(&self) -> PathBuf {
        self.before_server.clone().unwrap_or_else(chart_dir)
    }

    fn upgrade(&self, layout: &Layout, values: &str) -> Result<()> {
        let values_file = layout.data(&format!("chart-{}-values.json", self.namespace));
        files::write(&values_file, values)?;
        let namespace = format!("--namespace={}", self.namespace);
        let wait: &[&str] = if self.server.is_some() {
            &["--wait", "--timeout=120s"]
        } else {
            &[]
        };
        let helm = helm(layout)
            .args(["upgrade", Self::RELEASE, "--install", "--create-namespace", &namespace])
            .args(wait)
            .args([Path::new("--values"), &values_file, &self.folder()]);
        helm.output()?.success().map(|_| ())
    }

    /// Sees an earlier namespace of that name gone. Removes helm's record of an installation that was killed while it
    /// ran, which helm would take to be still at it.
    fn clear_the_way(&self, layout: &Layout) -> Result<()> {
        let phase = [
            "get",
            "namespace",
            self.namespace,
            "--ignore-not-found",
            "--output=jsonpath={.status.phase}",
        ];
        if admin(layout, &phase)? == "Terminating" {
            let namespace = format!("namespace/{}", self.namespace);
            admin(layout, &["wait", "--for=delete", "--timeout=60s", &namespace])?;
        }
        let namespace = format!("--namespace={}", self.namespace);
        let pending = "--selector=owner=helm,status in (pending-install,pending-upgrade,pending-rollback)";
        admin(layout, &["delete", "secret", &namespace, pending]).map(|_| ())
    }

    /// Removes it with its namespace and all sessions in it, and does not wait for the end of that. Its server must have
    /// been stopped.
    pub(crate) fn uninstall(layout: &Layout, namespace: &str) -> Result<()> {
        files::remove(&layout.data(&format!("chart-{namespace}")))?;
        let in_namespace = format!("--namespace={namespace}");
        discard_sessions(layout, namespace)?;
        helm(layout)
            .args(["uninstall", Self::RELEASE, "--ignore-not-found", &in_namespace])
            .output()?
            .success()?;
        admin(
            layout,
            &["delete", "namespace", namespace, "--ignore-not-found", "--wait=false"],
        )
        .map(|_| ())
    }
}

/// Removes what would outlast the namespace: sessions that wait for a server that is gone, and their bindings.
fn discard_sessions(layout: &Layout, namespace: &str) -> Result<()> {
    let in_namespace = format!("--namespace={namespace}");
    // Only what is being deleted may be let go by another than the server.
    admin(
        layout,
        &["delete", "tkasignins", "--all", &in_namespace, "--wait=false"],
    )?;
    let sessions = admin(layout, &["get", "tkasignins", &in_namespace, "--output=name"])?;
    let no_finalizers = r#"--patch={"metadata":{"finalizers":null}}"#;
    for session in sessions.lines() {
        admin(
            layout,
            &["patch", session, &in_namespace, "--type=merge", no_finalizers],
        )?;
    }
    let theirs = format!("--selector=app.kubernetes.io/managed-by=tka,tka.specht-labs.de/namespace={namespace}");
    admin(layout, &["delete", "clusterrolebindings", &theirs, "--wait=false"]).map(|_| ())
}

/// Runs helm as the administrator.
pub(crate) fn run_helm(layout: &Layout, args: &[&str]) -> Result<Output> {
    helm(layout).args(args).output()
}

/// helm, with folders of its own, so that a developer's plug-ins and settings have no part in it.
fn helm(layout: &Layout) -> Run {
    Run::new(&layout.program("helm"))
        .env("KUBECONFIG", layout.kubeconfig())
        .env("HELM_CACHE_HOME", layout.data("helm/cache"))
        .env("HELM_CONFIG_HOME", layout.data("helm/config"))
        .env("HELM_DATA_HOME", layout.data("helm/data"))
}

/// The folder of the project's chart.
#[must_use]
pub fn chart_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tka")
}

/// What the chart and its values hold, as a number.
fn fingerprint(chart: &Path, values: &str) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    values.hash(&mut hasher);
    hash_dir(chart, &mut hasher).attempt(|| format!("cannot read the chart in {}", chart.display()))?;
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
