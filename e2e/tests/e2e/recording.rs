//! Rules that require recording: what cannot be recorded is refused, in words that lead on. What can be is tried on the node, where there are pods.

use std::fs;
use std::path::{Path, PathBuf};

use e2e::user::ALICE;
use e2e::{Answer, Caller, Outcome, Site, World};
use serde_json::{Value, json};
use testbed::{ServerOptions, with_gateway, with_recordings};

crate::tests![
    what_cannot_be_recorded_is_refused,
    refusal_by_spdy_repeats_the_first_reason,
    nothing_goes_on_without_a_place_for_recordings,
];

const WEBSOCKET: [(&str, &str); 5] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Protocol", "v5.channel.k8s.io, channel.k8s.io"),
];
const SPDY: [(&str, &str); 3] = [
    ("Connection", "Upgrade"),
    ("Upgrade", "SPDY/3.1"),
    ("X-Stream-Protocol-Version", "v4.channel.k8s.io"),
];

fn rule(recording: &str) -> Value {
    json!({"role": "cluster-admin", "period": "10m", "recording": recording})
}

/// A server that keeps recordings in a folder of its own, and Alice, who is signed in through a rule that requires them.
fn site<'w>(world: &'w World, name: &str) -> Outcome<(Site<'w>, Caller, PathBuf)> {
    let folder = world.new_folder(&format!("{name}-recordings"))?;
    let site = at(world, name, with_recordings(&folder))?;
    let caller = site.caller("ALICE")?;
    Ok((site, caller, folder))
}

fn at<'w>(world: &'w World, name: &str, config: Value) -> Outcome<Site<'w>> {
    let site = world.site_with(ServerOptions {
        config,
        ..ServerOptions::new(name)
    })?;
    site.grant(&[(ALICE, rule("required"))])?;
    site.caller("ALICE")?.sign_in_waiting()?.expect(202)?;
    Ok(site)
}

fn ask(caller: &Caller, method: &str, path: &str, headers: &[(&str, &str)]) -> Outcome<Answer> {
    caller.send_body(method, &format!("/k8s{path}"), headers, b"")
}

fn message(answer: &Answer) -> Outcome<String> {
    Ok(answer.json()?["message"].as_str().unwrap_or_default().to_owned())
}

fn is_empty(folder: &Path) -> Outcome<bool> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

fn what_cannot_be_recorded_is_refused(world: &World) -> Outcome {
    let (_site, alice, folder) = site(world, "recording-refused")?;
    let pod = "/api/v1/namespaces/default/pods/none";
    let other = [
        WEBSOCKET[0],
        WEBSOCKET[1],
        WEBSOCKET[2],
        WEBSOCKET[3],
        ("Sec-WebSocket-Protocol", "base64.channel.k8s.io, channel.k8s.io"),
    ];
    for (method, path, headers, expected) in [
        ("POST", format!("{pod}/exec?command=sh"), &SPDY[..], "kubectl 1.31"),
        ("POST", format!("{pod}/%65xec?command=sh"), &SPDY[..], "kubectl 1.31"),
        ("POST", format!("{pod}%2fattach"), &SPDY[..], "kubectl 1.31"),
        ("GET", format!("{pod}/exec?command=sh"), &[][..], "kubectl 1.31"),
        ("GET", format!("{pod}/exec?command=sh"), &other[..], "v4.channel.k8s.io"),
        ("POST", format!("{pod}/portforward"), &SPDY[..], "port-forward"),
        ("GET", format!("{pod}/portforward"), &WEBSOCKET[..], "port-forward"),
        ("GET", format!("{pod}/proxy/"), &[][..], "proxy"),
        (
            "GET",
            "/api/v1/nodes/none/proxy/exec/default/none/c?command=sh".to_owned(),
            &WEBSOCKET[..],
            "proxy",
        ),
        (
            "POST",
            "/api/v1/nodes/none/proxy/run/default/none/c".to_owned(),
            &[][..],
            "proxy",
        ),
        ("PATCH", format!("{pod}/ephemeralcontainers"), &[][..], "ephemeral"),
        (
            "GET",
            "/apis/a.example/v1/namespaces/default/machines/m/console".to_owned(),
            &WEBSOCKET[..],
            "upgrade",
        ),
    ] {
        let answer = ask(&alice, method, &path, headers)?.expect(403)?;
        let said = message(&answer)?;
        assert!(
            said.contains("must be recorded") && said.contains(expected),
            "{method} {path}: {said}"
        );
    }
    // What is not interactive is carried.
    ask(&alice, "GET", "/api/v1/namespaces/default/pods", &[])?.expect(200)?;
    alice.post("/credential")?.expect(403)?;
    assert!(is_empty(&folder)?);
    Ok(())
}

fn refusal_by_spdy_repeats_the_first_reason(world: &World) -> Outcome {
    let (site, alice, folder) = site(world, "recording-again")?;
    let exec = "/api/v1/namespaces/default/pods/none/exec?command=sh&stdout=true";
    let first = ask(&alice, "GET", exec, &WEBSOCKET)?.expect(404)?;
    assert_eq!(message(&first)?, "pods \"none\" not found");
    let second = ask(&alice, "POST", exec, &SPDY)?.expect(404)?;
    assert_eq!(message(&second)?, "TKA: pods \"none\" not found");
    let other = ask(&alice, "POST", &exec.replace("sh&", "ls&"), &SPDY)?.expect(403)?;
    assert!(message(&other)?.contains("kubectl 1.31"));
    // The same with kubectl itself, of a pod that no node has.
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits", "namespace": "default"},
        "spec": {"nodeName": "", "schedulerName": "none", "containers": [{"name": "c", "image": "none"}]},
    });
    let file = world.new_folder("recording-pod")?.join("pod.json");
    fs::write(&file, pod.to_string())?;
    world
        .testbed
        .kubectl(&["apply", "--filename", &file.display().to_string()])?;
    let person = site.person("ALICE")?;
    let config = person.kubeconfig_of(&format!("{}/k8s", site.server.url()))?;
    let said = person.kubectl(&config, &["exec", "--namespace=default", "waits", "--", "true"])?;
    world.testbed.kubectl(&[
        "delete",
        "pod",
        "waits",
        "--namespace=default",
        "--force",
        "--wait=false",
    ])?;
    assert!(
        said.status == Some(1) && said.err.contains("does not have a host assigned"),
        "{said:?}"
    );
    // What did not begin leaves no recording.
    e2e::wait::until_true("recordings of refused streams are gone", || is_empty(&folder))
}

fn nothing_goes_on_without_a_place_for_recordings(world: &World) -> Outcome {
    let exec = "/api/v1/namespaces/default/pods/none/exec?command=sh";
    let without = at(world, "recording-nowhere", with_gateway())?;
    let answer = ask(&without.caller("ALICE")?, "GET", exec, &WEBSOCKET)?.expect(403)?;
    assert!(message(&answer)?.contains("keeps no recordings"), "{}", answer.body);
    let missing = world.new_folder("recording-missing")?.join("not-mounted");
    let site = at(world, "recording-missing", with_recordings(&missing))?;
    let alice = site.caller("ALICE")?;
    let first = ask(&alice, "GET", exec, &WEBSOCKET)?.expect(503)?;
    assert!(
        message(&first)?.contains("this must be recorded, and cannot be"),
        "{}",
        first.body
    );
    let second = ask(&alice, "POST", exec, &SPDY)?.expect(503)?;
    assert!(
        message(&second)?.contains("No such file or directory"),
        "{}",
        second.body
    );
    assert!(!missing.exists());
    // With best effort the cluster answers.
    site.grant(&[(ALICE, rule("best_effort"))])?;
    ask(&alice, "GET", exec, &WEBSOCKET)?.expect(404)?;
    ask(&alice, "POST", exec, &SPDY)?.expect(404)?;
    Ok(())
}
