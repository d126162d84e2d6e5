//! The server in its pod: people sign in through it, and what happens to the pod or the node ends no session.

use std::process::Command;

use e2e::caller::Caller;
use e2e::person::Person;
use e2e::{Outcome, World, wait};
use serde_json::Value;

crate::tests![
    env_file_leads_to_the_pod,
    person_signs_in_through_the_pod,
    pod_is_admitted_under_the_restricted_standard,
    session_outlives_a_killed_pod,
    session_outlives_the_killed_programs_of_the_node,
];

/// The namespace of the server that the testbed installs.
pub(crate) const NAMESPACE: &str = "tka-dev";

/// The URL of the first pod.
pub(crate) fn url(world: &World) -> Outcome<String> {
    wait::until("a pod is on the tailnet", || {
        Ok(world.testbed.pods()?.urls().into_iter().next())
    })
}

/// Alice's programs, towards the pod.
pub(crate) fn alice(world: &World) -> Outcome<Caller> {
    Caller::on(&world.testbed.node("ALICE")?, &url(world)?, &world.tokens)
}

/// Returns when the server answers a sign-in, which is the token then.
pub(crate) fn token(world: &World, alice: &Caller) -> Outcome<String> {
    let mut why = String::new();
    wait::until("the pod lets Alice sign in", || match alice.sign_in_waiting() {
        Ok(answer) if answer.status == 200 => answer.credential().map(Some),
        Ok(answer) => Ok(note(&mut why, &answer.body)),
        Err(error) => Ok(note(&mut why, &error.to_string())),
    })
    .map_err(|error| format!("{error}: {why}; {}", pods(world)).into())
}

fn note(why: &mut String, said: &str) -> Option<String> {
    said.clone_into(why);
    None
}

fn pods(world: &World) -> String {
    let said = world.testbed.kubectl(&["--namespace", NAMESPACE, "get", "pods,events"]);
    said.unwrap_or_else(|error| error.to_string())
}

pub(crate) fn kubectl(world: &World, words: &[&str]) -> Outcome<String> {
    Ok(world.testbed.kubectl(&[&["--namespace", NAMESPACE], words].concat())?)
}

/// As after `cargo xtask up --node`. Each name is one that other tools rely on.
fn env_file_leads_to_the_pod(world: &World) -> Outcome {
    let script = r#"
        . "$1"
        for name in URL HEALTH_URL SERVER_PID GATEWAY_URL NAMESPACE KUBECONFIG APISERVER CA AUDIT BIN POLICY LOGS RECORDINGS RELEASE NODE_EXEC IMAGE_SHELL; do
          eval "test -n \"\$TKA_TESTBED_$name\"" || { echo "no $name" >&2; exit 1; }
        done
        tr '\0' ' ' < "/proc/$TKA_TESTBED_SERVER_PID/cmdline"
        curl --silent --show-error --fail --noproxy '*' "$TKA_TESTBED_HEALTH_URL/readyz"
    "#;
    let output = Command::new("/bin/sh")
        .args(["-euc", script, "sh"])
        .arg(world.testbed.env_file())
        .output()?;
    let [out, err] = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "{out}{err}");
    assert!(
        out.starts_with("/usr/bin/tka-server serve ") && out.contains("[+]sessions ok"),
        "{out}"
    );
    Ok(())
}

fn person_signs_in_through_the_pod(world: &World) -> Outcome {
    let url = url(world)?;
    let person = Person::at(world, &world.testbed.node("ALICE")?, &url)?;
    let kubeconfig = person.login()?;
    let nodes = person
        .kubectl(&kubeconfig, &["get", "nodes", "--output=name"])?
        .expect(0)?;
    assert_eq!(nodes.out.trim(), "node/testbed");
    let logs = person.kubectl(
        &kubeconfig,
        &["--namespace", NAMESPACE, "logs", "tka-0", "--container=server"],
    )?;
    assert!(
        logs.expect(0)?.out.contains("session"),
        "the server's log is read by the session's account"
    );
    person.tka(&["logout"])?.expect(0)?;
    let left = kubectl(world, &["get", "tkasignins,serviceaccounts", "--output=name"])?;
    assert!(!left.contains("tka-alice"), "{left}");
    // Who has nothing gets nothing.
    let carol = Caller::on(&world.testbed.node("CAROL")?, &url, &world.tokens)?;
    carol.post("/login")?.expect(403)?.refusal()?;
    Ok(())
}

fn pod_is_admitted_under_the_restricted_standard(world: &World) -> Outcome {
    let namespace = world
        .testbed
        .kubectl(&["get", "namespace", NAMESPACE, "--output=json"])?;
    let namespace: Value = serde_json::from_str(&namespace)?;
    assert_eq!(
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
    let ready = kubectl(
        world,
        &[
            "exec",
            "tka-0",
            "--container=server",
            "--",
            "/usr/bin/tka-server",
            "ready",
            "--config=/etc/tka/config.yaml",
        ],
    )?;
    assert!(ready.contains("ok"), "{ready}");
    // The state of its node, and a name that no other has.
    let state = kubectl(world, &["get", "secret", "tka-0", "--output=json"])?;
    let state: Value = serde_json::from_str(&state)?;
    assert!(
        state["data"]["device_id"].is_string(),
        "{:?}",
        state["data"].as_object().map(serde_json::Map::len)
    );
    Ok(())
}

fn session_outlives_a_killed_pod(world: &World) -> Outcome {
    let alice = alice(world)?;
    let token = token(world, &alice)?;
    kubectl(world, &["delete", "pod", "tka-0", "--grace-period=0", "--force"])?;
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    let node = kubectl(
        world,
        &["get", "secret", "tka-0", "--output=jsonpath={.data.device_id}"],
    )?;
    self::token(world, &alice)?;
    let after = kubectl(
        world,
        &["get", "secret", "tka-0", "--output=jsonpath={.data.device_id}"],
    )?;
    assert_eq!(node, after, "it is the same node of the tailnet");
    assert_eq!(sessions(world)?, 1);
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    alice.sign_out()?;
    wait::until_true("the credential is worth nothing", || {
        Ok(world.cluster.status(&token, "GET", "/api/v1/pods")? != 200)
    })
}

fn session_outlives_the_killed_programs_of_the_node(world: &World) -> Outcome {
    let alice = alice(world)?;
    let token = token(world, &alice)?;
    for part in ["kubelet", "kube-proxy", "containerd"] {
        world.testbed.kill(part)?;
        world.bring_back()?;
        self::token(world, &alice)?;
    }
    assert_eq!(sessions(world)?, 1);
    assert_eq!(world.cluster.status(&token, "GET", "/api/v1/pods")?, 200);
    alice.sign_out()?;
    Ok(())
}

fn sessions(world: &World) -> Outcome<usize> {
    let names = kubectl(world, &["get", "tkasignins", "--output=name"])?;
    Ok(names.lines().count())
}
