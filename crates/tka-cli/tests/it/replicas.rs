//! A server of several replicas, of which one does not answer.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::access::rules;
use crate::fake_server::{Answer, FakeServer};
use crate::tailscaled::Tailscaled;
use crate::tka::{Outcome, SESSION, TOKEN, User, credential};

/// How long a replica may be silent.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long there may be no answer.
const PROMISED: Duration = Duration::from_secs(5);

fn url(host: &str, fake: &FakeServer) -> String {
    format!("http://{host}:{}", fake.address.port())
}

/// A tailnet with a node `localhost` of these tags.
pub(crate) fn tailnet(tags: &[&str]) -> Tailscaled {
    Tailscaled::new(&json!({
        "BackendState": "Running",
        "Self": {"DNSName": "laptop.example.ts.net.", "TailscaleIPs": ["100.64.0.1"], "Online": true},
        "Peer": {"1": {"DNSName": "localhost.", "TailscaleIPs": ["100.64.0.9"], "Tags": tags, "Online": true}}
    }))
}

/// A user who knows `other` as a replica of `named`.
pub(crate) fn knows(named: &FakeServer, other: &FakeServer) -> User {
    let user = User::new();
    std::fs::create_dir_all(user.folder()).unwrap();
    let known =
        json!({"instance": "x", "tags": ["tag:tka"], "servers": [url("127.0.0.1", named), url("localhost", other)]});
    std::fs::write(file(&user, named), known.to_string()).unwrap();
    user
}

fn file(user: &User, named: &FakeServer) -> std::path::PathBuf {
    user.kubeconfig(named).with_extension("replicas")
}

/// Which replica is asked first.
fn first(user: &User, named: &FakeServer) -> String {
    let known: Value = serde_json::from_slice(&std::fs::read(file(user, named)).unwrap()).unwrap();
    known["servers"][0].as_str().unwrap().to_owned()
}

fn command(user: &User, named: &FakeServer, tailscaled: &Tailscaled, arguments: &[&str]) -> Command {
    let mut command = user.command_with(named, arguments);
    command.env("TKA_TAILSCALE_SOCKET", tailscaled.socket());
    command
}

pub(crate) fn run(user: &User, named: &FakeServer, tailscaled: &Tailscaled, arguments: &[&str]) -> (Outcome, Duration) {
    let start = Instant::now();
    let outcome = command(user, named, tailscaled, arguments).output().unwrap().into();
    (outcome, start.elapsed())
}

#[test]
fn next_replica_answers_and_is_asked_first_later() {
    let silent = FakeServer::new(&[("GET /rules", Answer::Silence)]);
    let other = FakeServer::new(&[("GET /rules", rules()), ("GET /rules", rules())]);
    let (user, tailscaled) = (knows(&silent, &other), tailnet(&["tag:tka"]));
    assert_eq!(first(&user, &silent), url("127.0.0.1", &silent));
    let (outcome, took) = run(&user, &silent, &tailscaled, &["rules"]);
    assert!(outcome.status == 0 && outcome.stdout.contains("oncall"), "{outcome:?}");
    assert!((PATIENCE..PROMISED).contains(&took), "{took:?}");
    assert_eq!(first(&user, &silent), url("localhost", &other));
    let (outcome, took) = run(&user, &silent, &tailscaled, &["rules"]);
    assert!(outcome.status == 0 && took < PATIENCE, "{outcome:?} {took:?}");
    for fake in [&silent, &other] {
        fake.requests();
    }
}

#[test]
fn replica_that_fails_is_followed_at_once() {
    for trouble in [
        Answer::html(502),
        Answer::Truncated,
        Answer::json(500, &json!({"message": "no disk"})),
    ] {
        let failing = FakeServer::new(&[("GET /rules", trouble)]);
        let other = FakeServer::new(&[("GET /rules", rules())]);
        let (user, tailscaled) = (knows(&failing, &other), tailnet(&["tag:tka"]));
        let (outcome, _) = run(&user, &failing, &tailscaled, &["rules"]);
        assert!(outcome.status == 0 && outcome.stdout.contains("oncall"), "{outcome:?}");
        for fake in [&failing, &other] {
            fake.requests();
        }
    }
}

#[test]
fn refusal_is_an_answer() {
    let refusal = Answer::json(403, &json!({"message": "no rule reaches you"}));
    let (refusing, other) = (FakeServer::new(&[("GET /rules", refusal)]), FakeServer::new(&[]));
    let (user, tailscaled) = (knows(&refusing, &other), tailnet(&["tag:tka"]));
    assert_eq!(run(&user, &refusing, &tailscaled, &["rules"]).0.status, 4);
    assert!(other.requests().is_empty());
}

/// What stands in the file is no permission: the tailnet has to show the node.
#[test]
fn only_nodes_that_the_tailnet_shows_with_their_tags_are_asked() {
    let not_shown = Tailscaled::new(&json!({"BackendState": "Running", "Self": null, "Peer": {}}));
    for tailscaled in [
        tailnet(&["tag:ci"]),
        tailnet(&[]),
        tailnet(&["tag:tka", "tag:ci"]),
        not_shown,
    ] {
        let (failing, other) = (
            FakeServer::new(&[("GET /rules", Answer::html(502))]),
            FakeServer::new(&[]),
        );
        let user = knows(&failing, &other);
        let (outcome, _) = run(&user, &failing, &tailscaled, &["rules"]);
        assert_eq!(outcome.status, 5, "{outcome:?}");
        assert!(other.requests().is_empty());
    }
    // Nor is a node that is shown asked in another way than the server.
    let (failing, other) = (
        FakeServer::new(&[("GET /rules", Answer::html(502))]),
        FakeServer::new(&[]),
    );
    let user = knows(&failing, &other);
    let known = std::fs::read_to_string(file(&user, &failing)).unwrap();
    std::fs::write(
        file(&user, &failing),
        known.replace("http://localhost", "https://localhost"),
    )
    .unwrap();
    assert_eq!(run(&user, &failing, &tailnet(&["tag:tka"]), &["rules"]).0.status, 5);
    assert!(other.requests().is_empty());
}

#[test]
fn plugin_of_kubectl_asks_the_next_too() {
    let silent = FakeServer::new(&[("POST /credential", Answer::Silence)]);
    let other = FakeServer::new(&[("POST /credential", Answer::json(200, &credential()))]);
    let (user, tailscaled) = (knows(&silent, &other), tailnet(&["tag:tka"]));
    let server = url("127.0.0.1", &silent);
    let arguments = ["credential", "--server", &server, "--session", SESSION];
    let (outcome, took) = run(&user, &silent, &tailscaled, &arguments);
    assert!(outcome.status == 0 && outcome.stdout.contains(TOKEN), "{outcome:?}");
    assert!((PATIENCE..PROMISED).contains(&took), "{took:?}");
    for fake in [&silent, &other] {
        fake.requests();
    }
}

#[test]
fn damaged_file_counts_as_none() {
    let (fake, other) = (FakeServer::new(&[("GET /rules", rules())]), FakeServer::new(&[]));
    let user = knows(&fake, &other);
    std::fs::write(file(&user, &fake), "{").unwrap();
    assert_eq!(run(&user, &fake, &tailnet(&["tag:tka"]), &["rules"]).0.status, 0);
    fake.requests();
}
