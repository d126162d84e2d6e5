//! The chart on a real node: a second release, replicas, an upgrade, and removal.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::{Outcome, World, wait};
use serde_json::{Value, json};

use crate::server::{NAMESPACE, kubectl};

crate::tests![
    second_release_has_a_node_and_a_namespace_of_its_own,
    uninstalled_release_leaves_nothing,
];

/// A release beside the testbed's own, in a namespace of the same name, which is removed with this.
pub(crate) struct Release<'w> {
    world: &'w World,
    namespace: &'static str,
    folder: PathBuf,
}

impl<'w> Release<'w> {
    pub(crate) fn new(world: &'w World, namespace: &'static str) -> Outcome<Self> {
        let folder = world.new_folder(namespace)?;
        world.testbed.kubectl(&["create", "namespace", namespace])?;
        let label = "pod-security.kubernetes.io/enforce=restricted";
        world.testbed.kubectl(&["label", "namespace", namespace, label])?;
        let authority = kubectl(world, &["get", "configmap", "tka-tailnet-ca", "--output=json"])?;
        let release = Self {
            world,
            namespace,
            folder,
        };
        release.apply(&moved(&authority, namespace)?)?;
        Ok(release)
    }

    /// The Secret with the key that joins pods to the tailnet: that of the testbed's own release unless it is given, or none.
    pub(crate) fn set_auth_key(&self, key: Option<&str>) -> Outcome {
        let Some(key) = key else { return Ok(()) };
        self.apply(&json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "tka-tailnet-auth", "namespace": self.namespace },
            "stringData": { "authkey": key },
        }))
    }

    fn apply(&self, object: &Value) -> Outcome {
        let file = self.folder.join("object.json");
        std::fs::write(&file, object.to_string())?;
        self.kubectl(&["apply", "--filename", &file.display().to_string()])?;
        Ok(())
    }

    pub(crate) fn kubectl(&self, words: &[&str]) -> Outcome<String> {
        Ok(self
            .world
            .testbed
            .kubectl(&[&["--namespace", self.namespace], words].concat())?)
    }

    /// Installs the chart with the values of the testbed's own release, but for the custom resource, and `more` words.
    pub(crate) fn install(&self, more: &[&str]) -> Outcome {
        let values = helm(
            self.world,
            &self.folder,
            &["get", "values", "tka", "--namespace", NAMESPACE, "--output=json"],
        )?;
        let mut values: Value = serde_json::from_str(&values)?;
        values["crds"]["install"] = false.into();
        values["tailscale"]["hostname"] = self.namespace.into();
        values["config"]["tailscale"]["capName"] = format!("tailnet.test/cap/{}", self.namespace).into();
        let file = self.folder.join("values.json");
        std::fs::write(&file, values.to_string())?;
        let (file, chart) = (file.display().to_string(), chart());
        let words = [
            "upgrade",
            "tka",
            &chart,
            "--install",
            "--namespace",
            self.namespace,
            "--values",
            &file,
        ];
        helm(self.world, &self.folder, &[&words, more].concat())?;
        Ok(())
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let uninstalled = helm(
            self.world,
            &self.folder,
            &["uninstall", "tka", "--namespace", self.namespace],
        );
        let removed = self
            .world
            .testbed
            .kubectl(&["delete", "namespace", self.namespace, "--wait=false"]);
        if let (Err(error), _) = (uninstalled, removed) {
            eprintln!("the release in {} stays: {error}", self.namespace);
        }
    }
}

/// An object, for another namespace.
fn moved(object: &str, namespace: &str) -> Outcome<Value> {
    let object: Value = serde_json::from_str(object)?;
    Ok(json!({
        "apiVersion": object["apiVersion"],
        "kind": object["kind"],
        "metadata": { "name": object["metadata"]["name"], "namespace": namespace },
        "data": object["data"],
    }))
}

fn chart() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/tka");
    path.display().to_string()
}

fn helm(world: &World, folder: &Path, words: &[&str]) -> Outcome<String> {
    let mut helm = Command::new(world.testbed.bin().join("helm"));
    helm.args(words).env("KUBECONFIG", world.testbed.kubeconfig());
    for kind in ["CACHE", "CONFIG", "DATA"] {
        helm.env(format!("HELM_{kind}_HOME"), folder.join(kind));
    }
    let output = helm.output()?;
    if output.status.success() {
        return Ok(String::from_utf8(output.stdout)?);
    }
    Err(format!("helm {words:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

fn second_release_has_a_node_and_a_namespace_of_its_own(world: &World) -> Outcome {
    let release = Release::new(world, "second")?;
    release.set_auth_key(Some(&world.testbed.auth_key("tag:tka")?))?;
    release.install(&["--wait", "--timeout=90s"])?;
    let [own, other] = [
        kubectl(world, &["get", "secret", "tka-0", "--output=json"])?,
        release.kubectl(&["get", "secret", "tka-0", "--output=json"])?,
    ]
    .map(|secret| serde_json::from_str::<Value>(&secret).map(|secret| secret["data"]["device_id"].clone()));
    assert_ne!(own?, other?, "two nodes");
    // What is the cluster's is named after both releases.
    let roles = world.testbed.kubectl(&["get", "clusterroles", "--output=name"])?;
    let theirs = |namespace: &str| roles.lines().filter(|role| role.contains(namespace)).count();
    assert!(theirs("second") >= 1, "{roles}");
    Ok(())
}

fn uninstalled_release_leaves_nothing(world: &World) -> Outcome {
    let folder = world.new_folder("uninstall")?;
    let release = Release::new(world, "gone")?;
    release.set_auth_key(Some(&world.testbed.auth_key("tag:tka")?))?;
    release.install(&["--wait", "--timeout=90s"])?;
    helm(world, &folder, &["uninstall", "tka", "--namespace", "gone", "--wait"])?;
    world
        .testbed
        .kubectl(&["delete", "namespace", "gone", "--wait=true", "--timeout=60s"])?;
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    wait::until_true("nothing of it is left in the cluster", || {
        let left = world.testbed.kubectl(&["get", kinds, "--output=name"])?;
        Ok(!left.lines().any(|name| name.contains("gone")))
    })
}
