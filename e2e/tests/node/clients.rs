//! Clients that people use, through the gateway, with a kubeconfig that has an address and nothing else.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use e2e::{Outcome, World, wait};
use serde_json::json;

use crate::gateway::{Caller, Ending, said, site};
use crate::pods::Namespace;

crate::tests![
    kubectl_applies_attaches_debugs_and_evicts,
    helm_installs_upgrades_and_rolls_back,
];

/// A pod that says something five times a second.
const TALKING: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: talker}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: talker
      image: localhost/shell:testbed
      imagePullPolicy: Never
      stdin: true
      command: [sh, -c, "while sleep 0.2; do echo on; done"]
"#;

/// So many objects are applied at once.
const OBJECTS: usize = 500;

fn kubectl_applies_attaches_debugs_and_evicts(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "clients")?;
    let (_site, alice) = site(world, "gateway-clients")?;
    let run = |args: &[&str], input: &str| {
        let output = said(alice.command(&[], "clients", args), input.as_bytes())?;
        Outcome::Ok(String::from_utf8_lossy(&output).into_owned())
    };
    let objects: Vec<_> = (0..OBJECTS)
        .map(|number| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("c{number}"), "labels": {"of": "many"}}}))
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    run(&["apply", "--server-side", "--filename=-"], &list)?;
    let names = run(&["get", "configmaps", "--selector=of=many", "--output=name"], "")?;
    assert_eq!(names.lines().count(), OBJECTS);
    run(&["delete", "configmaps", "--selector=of=many", "--wait=false"], "")?;

    run(&["apply", "--filename=-"], TALKING)?;
    run(&["wait", "--for=condition=Ready", "pod/talker", "--timeout=60s"], "")?;
    attached(&alice)?;

    run(
        &[
            "debug",
            "web",
            "--image=localhost/shell:testbed",
            "--image-pull-policy=Never",
            "--container=looking",
            "--profile=restricted",
            "--attach=false",
            "--",
            "sh",
            "-c",
            "echo debugged; hostname",
        ],
        "",
    )?;
    wait::until_true("the other container has said its word", || {
        let log = alice
            .command(&[], "clients", &["logs", "web", "--container=looking"])
            .output()?;
        Ok(String::from_utf8_lossy(&log.stdout) == "debugged\nweb\n")
    })?;

    // A drain cordons the node, which other tests use: everything is asked for, and nothing changes.
    let drained = run(
        &[
            "drain",
            "testbed",
            "--dry-run=server",
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            "--pod-selector=app=web",
        ],
        "",
    )?;
    assert!(drained.contains("web"), "{drained}");
    drop(namespace);
    Ok(())
}

/// `kubectl attach` shows what the pod says, and ends when it is told to.
fn attached(alice: &Caller) -> Outcome {
    let mut command = alice.command(&[], "clients", &["attach", "talker"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut attach = Ending(command.spawn()?);
    let output = BufReader::new(attach.0.stdout.take().ok_or("no output")?);
    let lines: Result<Vec<_>, _> = output.lines().take(3).collect();
    assert_eq!(lines?, ["on"; 3]);
    Ok(())
}

/// A chart of one ConfigMap and a Deployment of one pod, whose text is a value.
fn write_chart(alice: &Caller) -> Outcome<String> {
    let chart = alice.person.home().join("chart");
    fs::create_dir_all(chart.join("templates"))?;
    fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: small\nversion: 1.0.0\n",
    )?;
    fs::write(chart.join("values.yaml"), "text: first\n")?;
    let template = r#"
apiVersion: v1
kind: ConfigMap
metadata: {name: text}
data: {text: {{ .Values.text | quote }}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: small}
spec:
  selector: {matchLabels: {app: small}}
  template:
    metadata: {labels: {app: small}, annotations: {text: {{ .Values.text | quote }}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: small, image: "localhost/shell:testbed", imagePullPolicy: Never, command: [sleep, infinity]}
"#;
    fs::write(chart.join("templates/all.yaml"), template)?;
    Ok(chart.display().to_string())
}

fn helm_installs_upgrades_and_rolls_back(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "helmed")?;
    let (_site, alice) = site(world, "gateway-helm")?;
    let chart = write_chart(&alice)?;
    let helm = |args: &[&str]| {
        let mut command = Command::new(world.testbed.bin().join("helm"));
        // The kubeconfig, the proxy and the home are those of kubectl.
        let kubectl = alice.command(&[], "helmed", &[]);
        let variables = kubectl.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.env_clear().envs(variables).args(args).arg("--namespace=helmed");
        said(command, b"").map(|output| String::from_utf8_lossy(&output).into_owned())
    };
    let text = || namespace.kubectl(&["get", "configmap", "text", "--output=jsonpath={.data.text}"]);
    let waiting = ["--wait", "--timeout=60s"];
    helm(&[&["install", "small", &chart], &waiting[..]].concat())?;
    assert_eq!(text()?, "first");
    helm(&[&["upgrade", "small", &chart, "--set=text=second"], &waiting[..]].concat())?;
    assert_eq!(text()?, "second");
    helm(&[&["rollback", "small", "1"], &waiting[..]].concat())?;
    assert_eq!(text()?, "first");
    let history = helm(&["history", "small"])?;
    assert_eq!(history.lines().count(), 4, "{history}");
    helm(&[&["uninstall", "small"], &waiting[..]].concat())?;
    assert!(text().is_err());
    drop(namespace);
    Ok(())
}
