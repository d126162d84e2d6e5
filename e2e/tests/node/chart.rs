//! The chart on a real node: a second release, and removal.

use std::path::PathBuf;

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
        world.testbed.apply(&moved(&authority, namespace)?.to_string())?;
        Ok(Self {
            world,
            namespace,
            folder,
        })
    }

    /// Makes the Secret with the key that joins pods to the tailnet.
    pub(crate) fn set_auth_key(&self, key: &str) -> Outcome {
        let secret = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": { "name": "tka-tailnet-auth", "namespace": self.namespace },
            "stringData": { "authkey": key },
        });
        self.world.testbed.apply(&secret.to_string())?;
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
        let testbed = &self.world.testbed;
        let values = testbed.helm(&["get", "values", "tka", "--namespace", NAMESPACE, "--output=json"])?;
        let mut values: Value = serde_json::from_str(&values.success()?)?;
        values["crds"]["install"] = false.into();
        values["tailscale"]["hostname"] = self.namespace.into();
        values["config"]["tailscale"]["capName"] = format!("tailnet.test/cap/{}", self.namespace).into();
        let file = self.folder.join("values.json");
        std::fs::write(&file, values.to_string())?;
        let (file, chart) = (file.display().to_string(), testbed::chart_dir().display().to_string());
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
        testbed.helm(&[&words, more].concat())?.success()?;
        Ok(())
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let testbed = &self.world.testbed;
        let uninstall = ["uninstall", "tka", "--ignore-not-found", "--namespace", self.namespace];
        let removed = testbed.helm(&uninstall).and_then(testbed::Output::success);
        let removed = removed.and_then(|_| {
            testbed.kubectl(&[
                "delete",
                "namespace",
                self.namespace,
                "--ignore-not-found",
                "--wait=false",
            ])
        });
        if let Err(error) = removed {
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

fn second_release_has_a_node_and_a_namespace_of_its_own(world: &World) -> Outcome {
    let release = Release::new(world, "second")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&["--wait", "--timeout=90s"])?;
    let [own, other] = [
        kubectl(world, &["get", "secret", "tka-0", "--output=json"])?,
        release.kubectl(&["get", "secret", "tka-0", "--output=json"])?,
    ]
    .map(|secret| serde_json::from_str::<Value>(&secret).map(|secret| secret["data"]["device_id"].clone()));
    assert_ne!(own?, other?, "two nodes");
    // What is the cluster's is named after both releases.
    let roles = world.testbed.kubectl(&["get", "clusterroles", "--output=name"])?;
    assert!(roles.lines().any(|role| role.contains("second")), "{roles}");
    Ok(())
}

fn uninstalled_release_leaves_nothing(world: &World) -> Outcome {
    let release = Release::new(world, "gone")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    release.install(&["--wait", "--timeout=90s"])?;
    let uninstall = ["uninstall", "tka", "--namespace", "gone", "--wait"];
    world.testbed.helm(&uninstall)?.success()?;
    world
        .testbed
        .kubectl(&["delete", "namespace", "gone", "--wait=true", "--timeout=60s"])?;
    let kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings";
    wait::until_true("nothing of it is left in the cluster", || {
        let left = world.testbed.kubectl(&["get", kinds, "--output=name"])?;
        Ok(!left.lines().any(|name| name.contains("gone")))
    })
}
