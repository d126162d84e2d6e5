//! The API server calls admission webhooks in pods, as in any cluster.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::prelude::{BASE64_STANDARD, Engine};
use e2e::{Outcome, World, wait};
use serde_json::{Value, json};

crate::tests![webhook_in_a_pod_decides];

const NAMESPACE: &str = "webhook";

/// The pod runs the machine's own Python in the machine's own files, because no image of the testbed has a web server with TLS.
fn webhook_in_a_pod_decides(world: &World) -> Outcome {
    let testbed = &world.testbed;
    let folder = world.new_folder(NAMESPACE)?;
    let authority = certificate(&folder)?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/webhook.py");
    testbed.kubectl(&["create", "namespace", NAMESPACE])?;
    let command = [
        "chroot".to_owned(),
        "/host".to_owned(),
        python()?,
        script.canonicalize()?.display().to_string(),
        folder.join("tls.crt").display().to_string(),
        folder.join("tls.key").display().to_string(),
    ];
    for object in [pod(&command), service(), configuration(&authority)] {
        testbed.apply(&object.to_string())?;
    }
    let decided = decides(world);
    testbed.kubectl(&["delete", "validatingwebhookconfiguration", NAMESPACE])?;
    testbed.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])?;
    decided
}

fn decides(world: &World) -> Outcome {
    let ready = [
        "wait",
        "--for=condition=Ready",
        "pod/webhook",
        "--namespace",
        NAMESPACE,
        "--timeout=60s",
    ];
    world.testbed.kubectl(&ready)?;
    let made = [
        "create",
        "configmap",
        "asked",
        "--namespace",
        NAMESPACE,
        "--dry-run=server",
    ];
    let mut said = String::new();
    wait::until_true("the webhook refuses", || {
        said = world
            .testbed
            .kubectl(&made)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        Ok(said.contains("refused by the webhook in the pod"))
    })
    .map_err(|error| format!("{error}: {said}").into())
}

/// The machine's Python, where it really is.
fn python() -> Outcome<String> {
    let output = Command::new("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .stdin(Stdio::null())
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Writes a certificate for the Service and its key, and returns the certificate.
fn certificate(folder: &Path) -> Outcome<String> {
    let signed = rcgen::generate_simple_self_signed([format!("{NAMESPACE}.{NAMESPACE}.svc")])?;
    fs::write(folder.join("tls.crt"), signed.cert.pem())?;
    fs::write(folder.join("tls.key"), signed.signing_key.serialize_pem())?;
    Ok(signed.cert.pem())
}

fn pod(command: &[String]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": NAMESPACE, "namespace": NAMESPACE, "labels": { "app": NAMESPACE } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": NAMESPACE, "image": "localhost/shell:testbed", "imagePullPolicy": "Never",
                "command": ["/bin/busybox"], "args": command,
                "readinessProbe": { "tcpSocket": { "port": 8443 }, "periodSeconds": 1 },
                "volumeMounts": [{ "name": "host", "mountPath": "/host", "readOnly": true }],
            }],
            "volumes": [{ "name": "host", "hostPath": { "path": "/" } }],
        },
    })
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": NAMESPACE, "namespace": NAMESPACE },
        "spec": { "selector": { "app": NAMESPACE }, "ports": [{ "port": 443, "targetPort": 8443 }] },
    })
}

/// Fails open, so that what is refused is refused by the webhook's own word.
fn configuration(authority: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": { "name": NAMESPACE },
        "webhooks": [{
            "name": "webhook.tailnet.test",
            "clientConfig": {
                "service": { "namespace": NAMESPACE, "name": NAMESPACE },
                "caBundle": BASE64_STANDARD.encode(authority),
            },
            "rules": [{ "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"] }],
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": NAMESPACE } },
            "failurePolicy": "Ignore", "sideEffects": "None", "admissionReviewVersions": ["v1"], "timeoutSeconds": 5,
        }],
    })
}
