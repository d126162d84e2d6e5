//! A release of the chart beside the testbed's own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use e2e::caller::Caller;
use e2e::commands::console;
use e2e::user::ALICE;
use e2e::{Outcome, World, rule, wait};
use serde_json::{Value, json};

use crate::server::{NAMESPACE, kubectl};

/// A release `tka` in a namespace of its own, which is removed with this.
pub(crate) struct Release<'w> {
    pub(crate) world: &'w World,
    /// Its namespace, and what its nodes ask to be called.
    pub(crate) namespace: &'static str,
    folder: PathBuf,
}

impl<'w> Release<'w> {
    pub(crate) fn new(world: &'w World, namespace: &'static str) -> Outcome<Self> {
        world.testbed.kubectl(&["create", "namespace", namespace])?;
        Self::within(world, namespace)
    }

    /// One in a namespace that is there.
    pub(crate) fn within(world: &'w World, namespace: &'static str) -> Outcome<Self> {
        let release = Self {
            world,
            namespace,
            folder: world.new_folder(namespace)?,
        };
        let label = "pod-security.kubernetes.io/enforce=restricted";
        world.testbed.kubectl(&["label", "namespace", namespace, label])?;
        let authority = kubectl(world, &["get", "configmap", "tka-tailnet-ca", "--output=json"])?;
        world.testbed.apply(&moved(&authority, namespace)?.to_string())?;
        Ok(release)
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

    pub(crate) fn helm(&self, words: &[&str]) -> Outcome<String> {
        let words = [words, &["--namespace", self.namespace]].concat();
        Ok(self.world.testbed.helm(&words)?.success()?)
    }

    /// A file with the values of the testbed's own release, but for the custom resource and the names.
    pub(crate) fn values(&self) -> Outcome<String> {
        let testbed = &self.world.testbed;
        let values = testbed.helm(&["get", "values", "tka", "--namespace", NAMESPACE, "--output=json"])?;
        let mut values: Value = serde_json::from_str(&values.success()?)?;
        values["crds"]["install"] = false.into();
        // That claim is of the testbed's own release.
        values["recordings"]["existingClaim"] = "".into();
        values["tailscale"]["hostname"] = self.namespace.into();
        values["config"]["tailscale"]["capName"] = self.capability().into();
        let file = self.folder.join("values.json");
        fs::write(&file, values.to_string())?;
        Ok(file.display().to_string())
    }

    /// Installs the chart with those values, or brings what is installed up to date, with `more` words. Returns what helm says: the notes are in it.
    pub(crate) fn install(&self, more: &[&str]) -> Outcome<String> {
        let (file, chart) = (self.values()?, testbed::chart_dir().display().to_string());
        let words = ["upgrade", "tka", &chart, "--install", "--values", &file];
        self.helm(&[&words, more].concat())
    }

    /// The capability that carries its rules.
    pub(crate) fn capability(&self) -> String {
        format!("tailnet.test/cap/{}", self.namespace)
    }

    /// Lets Alice have all of the cluster through it.
    pub(crate) fn grant_alice(&self) -> Outcome {
        let grants = json!([{ "src": [ALICE], "rules": [rule("cluster-admin", "1h")] }]);
        Ok(self.world.testbed.set_grants(&self.capability(), grants)?)
    }

    /// The URLs of its pods, once so many are on the tailnet.
    pub(crate) fn urls(&self, count: usize) -> Outcome<Vec<String>> {
        wait::until(&format!("{count} pods are on the tailnet"), || {
            let urls = self.world.testbed.pods_called(self.namespace)?.urls();
            Ok((urls.len() == count).then_some(urls))
        })
    }

    /// Alice's programs, towards one of its pods.
    pub(crate) fn alice(&self, url: &str) -> Outcome<Caller> {
        Caller::on(&self.world.testbed.node("ALICE")?, url, &self.world.tokens)
    }

    /// Its sessions, by name.
    pub(crate) fn sessions(&self) -> Outcome<Vec<String>> {
        let names = self.kubectl(&["get", "tkasignins", "--output=name"])?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Removes it as the chart's documentation says.
    pub(crate) fn uninstall_as_documented(&self) -> Outcome {
        let document = fs::read_to_string(testbed::chart_dir().join("README.md"))?;
        for command in console(&document, "Uninstall") {
            let here = command.replace("--namespace tka", &format!("--namespace {}", self.namespace));
            let here = here.replace("namespace tka", &format!("namespace {}", self.namespace));
            assert_ne!(here, command, "the release is not the one that is documented");
            let bin = self.world.testbed.bin();
            let output = Command::new("/bin/sh")
                .args(["-euc", &here])
                .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
                .env("KUBECONFIG", self.world.testbed.kubeconfig())
                .env("HOME", &self.folder)
                .stdin(Stdio::null())
                .output()?;
            if !output.status.success() {
                return Err(format!("{here}: {}", String::from_utf8_lossy(&output.stderr)).into());
            }
        }
        Ok(())
    }

    /// Returns when the cluster has nothing of it any more.
    pub(crate) fn is_gone(&self) -> Outcome {
        let kinds =
            "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,namespaces";
        wait::until_true("nothing of it is left in the cluster", || {
            let left = self.world.testbed.kubectl(&["get", kinds, "--output=name"])?;
            Ok(!left.lines().any(|name| name.contains(self.namespace)))
        })
    }
}

impl Drop for Release<'_> {
    fn drop(&mut self) {
        let testbed = &self.world.testbed;
        let uninstall = ["uninstall", "tka", "--ignore-not-found", "--namespace", self.namespace];
        let removed = testbed.helm(&uninstall).and_then(testbed::Output::success);
        let delete = [
            "delete",
            "namespace",
            self.namespace,
            "--ignore-not-found",
            "--wait=false",
        ];
        if let Err(error) = removed.and_then(|_| testbed.kubectl(&delete)) {
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
