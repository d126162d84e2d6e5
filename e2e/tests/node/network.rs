//! The chart's `NetworkPolicy` and sysctl, enforced.

use e2e::{Outcome, World, wait};
use serde_json::{Value, json};

use crate::pods::Namespace;
use crate::release::Release;

crate::tests![
    server_works_within_its_network_policy_and_nothing_else_does,
    low_port_is_the_pods_own_to_open,
];

const SHELL: &str = "localhost/shell:testbed";

fn server_works_within_its_network_policy_and_nothing_else_does(world: &World) -> Outcome {
    let web = Namespace::with_pod(world, "elsewhere")?;
    let other = web.kubectl(&["get", "pod", "web", "--output=jsonpath={.status.podIP}"])?;
    let release = Release::new(world, "fenced")?;
    release.set_auth_key(&world.testbed.auth_key("tag:tka")?)?;
    // Behind its Service the API server has a port of the testbed's.
    let api_server = world.testbed.api_server();
    let port = api_server.rsplit_once(':').map(|(_, port)| port).ok_or("no port")?;
    let ports = format!("--set=networkPolicy.apiServerPorts={{443,{port}}}");
    let policy = ["--set=networkPolicy.enabled=true", &ports, "--wait", "--timeout=90s"];
    release.install(&policy)?;
    release.grant_alice()?;
    let alice = release.alice(&release.urls(1)?[0])?;
    let token = crate::server::token(world, &alice)?;
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);

    // A pod under the same policy has a shell to try from. No Service and no StatefulSet takes it for a server.
    let pod: Value = serde_json::from_str(&release.kubectl(&["get", "pod", "tka-0", "--output=json"])?)?;
    let labels = ["name", "instance", "component"].map(|key| format!("app.kubernetes.io/{key}"));
    let labels: Value = labels
        .iter()
        .filter_map(|key| Some((key.clone(), pod["metadata"]["labels"].get(key)?.clone())))
        .collect::<serde_json::Map<_, _>>()
        .into();
    world
        .testbed
        .apply(&shell_pod("probe", release.namespace, &labels, &json!({})).to_string())?;
    release.kubectl(&["wait", "--for=condition=Ready", "pod/probe", "--timeout=60s"])?;
    let tries = |from: &Release<'_>, pod: &str, script: &str| {
        from.kubectl(&["exec", pod, "--", "sh", "-c", &format!("timeout 3 {script}")])
            .is_ok()
    };
    let to_web = format!("wget -q -O- http://{other}:8080");
    wait::until_true("other pods are out of reach", || Ok(!tries(&release, "probe", &to_web)))?;
    for needed in [
        "nslookup kubernetes.default.svc.cluster.local 10.99.0.1",
        "nc 10.0.0.1 443 </dev/null",
    ] {
        wait::until_true(needed, || Ok(tries(&release, "probe", needed)))?;
    }
    // Nor does another pod reach the server, but for those who may read metrics.
    let server = pod["status"]["podIP"].as_str().ok_or("no address")?;
    let metrics = format!("timeout 3 wget -q -O- http://{server}:8080/metrics");
    let read = || web.kubectl(&["exec", "web", "--", "sh", "-c", &metrics]);
    assert!(read().is_err());
    let from = r#"--set-json=networkPolicy.metricsFrom=[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"elsewhere"}}}]"#;
    release.install(&[&policy[..2], &[from]].concat())?;
    wait::until_true("metrics are read", || {
        Ok(read().is_ok_and(|said| said.contains("tka_reconciler_duration_count")))
    })
}

/// The testbed's runtime leaves low ports to root, as some clusters' do. What the chart asks for with port 443 opens them.
fn low_port_is_the_pods_own_to_open(world: &World) -> Outcome {
    let release = Release::new(world, "low-port")?;
    let (chart, values) = (testbed::chart_dir().display().to_string(), release.values()?);
    let words = ["template", "tka", &chart, "--values", &values, "--set=port=443"];
    let rendered = release.helm(&[&words[..], &["--show-only=templates/statefulset.yaml"]].concat())?;
    let set: Value = serde_saphyr::from_str(&rendered)?;
    let sysctls = json!({ "sysctls": set["spec"]["template"]["spec"]["securityContext"]["sysctls"] });
    for (pod, security) in [("asks", &sysctls), ("does-not", &json!({}))] {
        let pod = shell_pod(pod, release.namespace, &json!({}), security);
        world.testbed.apply(&pod.to_string())?;
    }
    let listens = |pod: &str| -> Outcome<String> {
        release.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"])?;
        let script = "httpd -p 443 && echo it listens || true";
        release.kubectl(&["exec", pod, "--", "sh", "-c", script])
    };
    assert!(listens("asks")?.contains("it listens"));
    assert!(!listens("does-not")?.contains("it listens"));
    Ok(())
}

/// A pod with a shell, under the pod security standard `restricted`.
fn shell_pod(name: &str, namespace: &str, labels: &Value, security: &Value) -> Value {
    let mut context =
        json!({ "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } });
    for (key, value) in security.as_object().into_iter().flatten() {
        context[key] = value.clone();
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": context,
            "containers": [{
                "name": "shell", "image": SHELL, "imagePullPolicy": "Never", "command": ["sleep", "3600"],
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }],
        },
    })
}
