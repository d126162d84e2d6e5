//! The node is one as in any cluster: pods run, and all of the API that leads to them works.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use e2e::{Outcome, World, wait};

crate::tests![
    pod_is_reached_by_everything_that_leads_to_one,
    pod_has_the_restrictions_that_it_asks_for,
    network_policy_is_enforced,
    image_without_a_shell_resolves_names,
];

/// A pod that serves its own name on port 8080.
pub(crate) const SERVING: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {runAsNonRoot: true, runAsUser: 1000, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: web
      image: localhost/shell:testbed
      imagePullPolicy: Never
      command: [sh, -c, "mkdir -p /tmp/www; hostname > /tmp/www/index.html; exec httpd -f -p 8080 -h /tmp/www"]
      readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// A namespace with the serving pod in it, which is removed with this.
pub(crate) struct Namespace<'w> {
    world: &'w World,
    pub(crate) name: &'static str,
}

impl<'w> Namespace<'w> {
    pub(crate) fn with_pod(world: &'w World, name: &'static str) -> Outcome<Self> {
        world.testbed.kubectl(&["create", "namespace", name])?;
        let namespace = Self { world, name };
        let file = world.new_folder(name)?.join("pod.yaml");
        std::fs::write(&file, SERVING)?;
        namespace.kubectl(&["apply", "--filename", &file.display().to_string()])?;
        namespace.kubectl(&["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"])?;
        Ok(namespace)
    }

    pub(crate) fn kubectl(&self, words: &[&str]) -> Outcome<String> {
        let namespace = format!("--namespace={}", self.name);
        Ok(self.world.testbed.kubectl(&[&[namespace.as_str()], words].concat())?)
    }
}

impl Drop for Namespace<'_> {
    fn drop(&mut self) {
        let removed = self
            .world
            .testbed
            .kubectl(&["delete", "namespace", self.name, "--wait=false"]);
        if let Err(error) = removed {
            eprintln!("the namespace {} stays: {error}", self.name);
        }
    }
}

fn pod_is_reached_by_everything_that_leads_to_one(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "reach")?;
    assert_eq!(namespace.kubectl(&["exec", "web", "--", "hostname"])?.trim(), "web");
    for path in [
        "/api/v1/namespaces/reach/pods/web:8080/proxy/",
        "/api/v1/namespaces/reach/services/web:80/proxy/",
    ] {
        assert_eq!(namespace.kubectl(&["get", "--raw", path])?.trim(), "web", "{path}");
    }
    let health = namespace.kubectl(&["get", "--raw", "/api/v1/nodes/testbed/proxy/healthz"])?;
    assert_eq!(health.trim(), "ok");
    let by_name = namespace.kubectl(&[
        "exec",
        "web",
        "--",
        "wget",
        "-q",
        "-O-",
        "http://web.reach.svc.cluster.local",
    ])?;
    assert_eq!(by_name.trim(), "web");
    namespace.kubectl(&["exec", "web", "--", "sh", "-c", "echo said > /proc/1/fd/1"])?;
    wait::until_true("the log has what was said", || {
        Ok(namespace.kubectl(&["logs", "web"])?.contains("said"))
    })?;
    forwarded(world, &namespace)
}

/// `kubectl port-forward` says where it listens, and passes on.
fn forwarded(world: &World, namespace: &Namespace<'_>) -> Outcome {
    let mut forward = Command::new(world.testbed.bin().join("kubectl"))
        .env("KUBECONFIG", world.testbed.kubeconfig())
        .args(["--namespace", namespace.name, "port-forward", "web", ":8080"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    // Kept open: it says more for each connection, and ends where it cannot.
    let mut output = BufReader::new(forward.stdout.take().ok_or("no output")?);
    let read = output.read_line(&mut line);
    let asked = read.map_err(Into::into).and_then(|_| page(&line));
    forward.kill()?;
    forward.wait()?;
    assert_eq!(asked?.trim(), "web");
    Ok(())
}

/// The page behind the address in `Forwarding from 127.0.0.1:1 -> 8080`.
fn page(line: &str) -> Outcome<String> {
    let address = line
        .split_whitespace()
        .nth(2)
        .ok_or_else(|| format!("no address in {line:?}"))?;
    Ok(ureq::get(format!("http://{address}/"))
        .call()?
        .body_mut()
        .read_to_string()?)
}

fn pod_has_the_restrictions_that_it_asks_for(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "restrictions")?;
    let status = namespace.kubectl(&["exec", "web", "--", "cat", "/proc/1/status"])?;
    for line in [
        "Uid:\t1000\t1000\t1000\t1000",
        "CapPrm:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        // A filter of system calls.
        "Seccomp:\t2",
    ] {
        assert!(status.contains(line), "{line} in {status}");
    }
    Ok(())
}

fn network_policy_is_enforced(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "policy")?;
    let other = Namespace::with_pod(world, "policy-other")?;
    let address = namespace.kubectl(&["get", "pod", "web", "--output=jsonpath={.status.podIP}"])?;
    let url = format!("http://{address}:8080");
    let asks = || other.kubectl(&["exec", "web", "--", "timeout", "2", "wget", "-q", "-O-", &url]);
    assert_eq!(asks()?.trim(), "web");
    let file = world.new_folder("policy")?.join("policy.yaml");
    std::fs::write(
        &file,
        r#"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "none"},
            "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}"#,
    )?;
    namespace.kubectl(&["apply", "--filename", &file.display().to_string()])?;
    wait::until_true("no other pod gets through", || Ok(asks().is_err()))?;
    namespace.kubectl(&["delete", "networkpolicy", "none"])?;
    wait::until_true("others get through again", || Ok(asks().is_ok()))
}

/// The image of `tka` has nothing but the program and what the C library reads to resolve names.
fn image_without_a_shell_resolves_names(world: &World) -> Outcome {
    let namespace = Namespace::with_pod(world, "names")?;
    for (pod, host, expected) in [
        ("known", "kubernetes.default.svc.cluster.local", "certificate"),
        ("unknown", "nothing.default.svc.cluster.local", "does not resolve"),
    ] {
        let image = concat!("--image=localhost/tka:", env!("CARGO_PKG_VERSION"));
        let server = format!("--server=https://{host}");
        namespace.kubectl(&[
            "run",
            pod,
            image,
            "--restart=Never",
            "--image-pull-policy=Never",
            "--",
            "get",
            "login",
            &server,
        ])?;
        let ended = "--for=jsonpath={.status.phase}=Failed";
        namespace.kubectl(&["wait", ended, &format!("pod/{pod}"), "--timeout=60s"])?;
        let said = namespace.kubectl(&["logs", pod])?;
        assert!(said.contains(expected), "{host}: {said}");
    }
    Ok(())
}
