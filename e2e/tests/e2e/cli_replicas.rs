//! `tka` with two replicas, of which one does not answer.

use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::pair::caller;
use e2e::paused::Paused;
use e2e::user::ALICE;
use e2e::{Outcome, Pair, Person, Site, World, rule, wait};
use serde_json::{Value, json};

crate::tests![next_replica_answers_when_one_hangs_or_is_killed];

/// How long there may be no answer.
const PROMISED: Duration = Duration::from_secs(5);

fn next_replica_answers_when_one_hangs_or_is_killed(world: &World) -> Outcome {
    let pair = Pair::new(world, "cli-replicas", &json!({}))?;
    pair.grant(&[(ALICE, rule("view", "1h"))])?;
    let [a, b] = pair.sites();
    for site in [a, b] {
        caller(site, "ALICE")?;
    }
    let alice = a.person("ALICE")?;
    let kubeconfig = run(a, b, &alice, &["login", "--quiet"])?;
    let kubeconfig = kubeconfig.trim().trim_start_matches("export KUBECONFIG=").to_owned();
    alice.remember(kubeconfig.as_ref())?;
    // A sign-in waits only a moment for what the other one says, which a busy machine exceeds.
    wait::until_true("the device knows both replicas", || {
        run(a, b, &alice, &["login", "--quiet"])?;
        Ok(known(&kubeconfig).unwrap_or_default() == [a.server.url(), b.server.url()])
    })?;

    let hangs = Paused::server(&a.server)?;
    let longest = [
        &["rules"][..],
        &["get", "login"],
        &["sessions"],
        &["exec", "kubectl", "get", "namespaces"],
    ];
    for args in longest {
        // As if each were the first to find out.
        prefer(&kubeconfig, &a.server.url())?;
        run(a, b, &alice, args)?;
    }
    assert_eq!(
        known(&kubeconfig)?[0],
        b.server.url(),
        "the one that answers is asked first"
    );
    prefer(&kubeconfig, &a.server.url())?;
    // Nothing is kept, so kubectl's plugin has to ask.
    fs::remove_dir_all(alice.runtime().join("tka"))?;
    let start = Instant::now();
    let mut kubectl = alice.kubectl_command(kubeconfig.as_ref(), &["get", "pods"]);
    let socket = world.testbed.node("ALICE")?.socket().to_owned();
    let output = kubectl
        .env("TKA_TAILSCALE_SOCKET", socket)
        .stdin(Stdio::null())
        .output()?;
    assert!(output.status.success(), "{output:?}");
    wait::within(PROMISED, "kubectl has a credential", start.elapsed())?;
    alice.remember(kubeconfig.as_ref())?;
    // Signing in again extends the session that there is.
    prefer(&kubeconfig, &a.server.url())?;
    run(a, b, &alice, &["login"])?;
    assert_eq!(a.counts()?, [1, 1, 1]);
    drop(hangs);

    b.server.kill()?;
    prefer(&kubeconfig, &b.server.url())?;
    run(a, b, &alice, &["rules"])?;
    run(a, b, &alice, &["logout"])?;
    wait::until_true("the session is gone", || Ok(a.counts()? == [0, 0, 0]))
}

/// What a command says when it goes well and is fast enough. Replicas of the testbed have ports of their own, so the other's is told.
fn run(a: &Site<'_>, b: &Site<'_>, person: &Person, args: &[&str]) -> Outcome<String> {
    let url = b.server.url();
    let (_, port) = url.rsplit_once(':').ok_or("no port")?;
    let start = Instant::now();
    let output = person
        .typed(args)
        .env("TKA_TAILSCALE_PORT", port)
        .env("TKA_TAILSCALE_SOCKET", a.world.testbed.node("ALICE")?.socket())
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(format!("tka {args:?}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    wait::within(PROMISED, &format!("tka {args:?} has its answer"), start.elapsed())?;
    Ok(String::from_utf8(output.stdout)?)
}

fn file(kubeconfig: &str) -> String {
    kubeconfig.replace(".yaml", ".replicas")
}

/// The replicas that the person's device knows, in the order in which it asks.
pub(super) fn known(kubeconfig: &str) -> Outcome<Vec<String>> {
    let known: Value = serde_json::from_slice(&fs::read(file(kubeconfig))?)?;
    Ok(serde_json::from_value(known["servers"].clone())?)
}

/// Has the device ask that one first.
fn prefer(kubeconfig: &str, url: &str) -> Outcome {
    let mut known: Value = serde_json::from_slice(&fs::read(file(kubeconfig))?)?;
    let servers = known["servers"].as_array_mut().ok_or("no replicas")?;
    servers.sort_by_key(|server| server != url);
    Ok(fs::write(file(kubeconfig), known.to_string())?)
}
