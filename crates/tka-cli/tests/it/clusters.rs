//! `tka clusters`, `tka clusters use`

use std::fs;

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tailscaled::Tailscaled;
use crate::tka::{Outcome, SESSION, User, signed_in};

/// Since `login` says until when, a time that no test will see.
const AGES: (&str, &str) = (r"\d+ d", "AGES");

fn rules() -> Answer {
    let rule = |name: &str, role: &str| {
        json!({"name": name, "role": role, "namespaces": [], "period": "8h0m0s", "priority": 0, "require_reason": false,
               "default": false})
    };
    Answer::json(
        200,
        &json!({"items": [rule("daily", "view"), rule("oncall", "cluster-admin")]}),
    )
}

fn sessions(items: &[Value]) -> Answer {
    Answer::json(200, &json!({"items": items}))
}

fn session() -> Value {
    json!({
        "name": SESSION, "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": true,
        "role": "view", "namespaces": [], "rule": null, "provisioned": true,
        "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    })
}

fn cluster(name: &str) -> Answer {
    let url = format!("https://{name}.example.com:6443");
    Answer::json(
        200,
        &json!({"server_url": url, "insecure_skip_tls_verify": false, "ca_data": "", "labels": {"env": name}}),
    )
}

/// What a server is asked that lets the caller in.
pub(crate) fn answering(name: &str, items: &[Value]) -> Vec<(&'static str, Answer)> {
    vec![
        ("GET /rules", rules()),
        ("GET /sessions", sessions(items)),
        ("GET /cluster-info", cluster(name)),
    ]
}

fn signs_in() -> (&'static str, Answer) {
    ("POST /login", Answer::json(200, &signed_in()))
}

/// A tailscaled with one other node, `localhost`, at an address that is not this machine's.
pub(crate) fn tailnet(online: bool) -> Tailscaled {
    Tailscaled::new(&json!({
        "BackendState": "Running",
        "Self": {"DNSName": "laptop.example.ts.net.", "TailscaleIPs": ["100.64.0.1"], "Online": true},
        "Peer": {"1": {"DNSName": "localhost.", "TailscaleIPs": ["100.64.0.9"], "Tags": ["tag:tka"], "Online": online}}
    }))
}

/// Without a tailscaled, whatever this machine has.
fn alone(user: &User, fake: &FakeServer, arguments: &[&str]) -> Outcome {
    let mut command = user.command_with(fake, arguments);
    command.env("TKA_TAILSCALE_SOCKET", "/nowhere");
    command.output().unwrap().into()
}

/// With a default that is nowhere, whose port is that of the fake server.
fn at_nodes(user: &User, fake: &FakeServer, tailscaled: &Tailscaled, arguments: &[&str]) -> Outcome {
    let mut command = user.command_with(fake, arguments);
    command.env("TKA_TAILSCALE_HOSTNAME", "nowhere.invalid");
    command.env("TKA_TAILSCALE_SOCKET", tailscaled.socket());
    command.output().unwrap().into()
}

/// Without what differs from run to run.
fn shown(outcome: &Outcome, fakes: &[(&FakeServer, &str)]) -> String {
    let text = format!(
        "status {}\n--- stdout\n{}--- stderr\n{}",
        outcome.status, outcome.stdout, outcome.stderr
    );
    fakes.iter().fold(text, |text, (fake, name)| {
        text.replace(&fake.address.port().to_string(), name)
    })
}

#[test]
fn servers_are_asked_side_by_side_what_they_are_for() {
    let user = User::new();
    let prod = FakeServer::new(&[vec![signs_in()], answering("prod", &[session()])].concat());
    let refusing = FakeServer::new(&[
        signs_in(),
        (
            "GET /rules",
            Answer::json(403, &json!({"message": "no rule of the tailnet policy reaches you"})),
        ),
    ]);
    let original = FakeServer::new(&[
        ("GET /rules", Answer::html(404)),
        ("GET /login", Answer::json(401, &json!({"message": "not signed in"}))),
        ("GET /sessions", Answer::html(404)),
        ("GET /login", Answer::json(401, &json!({"message": "not signed in"}))),
        ("GET /cluster-info", cluster("old")),
    ]);
    for fake in [&prod, &refusing] {
        assert_eq!(user.run_with(fake, &["login"]).status, 0);
    }
    let outcome = alone(&user, &original, &["clusters"]);
    let fakes = [(&original, "OLD"), (&prod, "PROD"), (&refusing, "REFUSING")];
    let mut lines: Vec<_> = outcome.stdout.lines().collect();
    // Beside each other they are in the order of their ports.
    lines[2..].sort_by_key(|line| !line.contains(&prod.address.port().to_string()));
    let stdout = lines.join("\n") + "\n";
    // What stands behind ages is as far away as they are wide: they have hours at some hours only.
    insta::with_settings!({filters => [AGES, (" +(NOTES|no rule)", "  $1")]}, {
        insta::assert_snapshot!("clusters_human", shown(&Outcome { stdout, ..outcome }, &fakes));
    });
    for fake in [&prod, &refusing, &original] {
        fake.requests();
    }
}

#[test]
fn forms_for_programs() {
    for form in ["json", "yaml", "name"] {
        let fake = FakeServer::new(&answering("prod", &[session()]));
        let outcome = alone(&User::new(), &fake, &["clusters", "-o", form]);
        insta::assert_snapshot!(format!("clusters_{form}"), outcome.shown(&fake));
    }
}

#[test]
fn gateway_of_a_server_is_shown() {
    let url = "https://tka.example.ts.net/k8s";
    let info = json!({
        "server_url": "https://k8s.example.com:6443", "ca_data": "", "labels": {},
        "gateway": {"url": url, "default": true, "elevation": true}
    });
    let script = [
        ("GET /rules", rules()),
        ("GET /sessions", sessions(&[])),
        ("GET /cluster-info", Answer::json(200, &info)),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let outcome = alone(&user, &fake, &["clusters", "--output", "json"]);
    let found: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(found["items"][0]["gateway"]["url"], url, "{found}");
    fake.requests();
}

#[test]
fn nodes_with_the_tag_are_looked_at() {
    let fake = FakeServer::new(&answering("west", &[]));
    let outcome = at_nodes(&User::new(), &fake, &tailnet(true), &["clusters"]);
    insta::assert_snapshot!(outcome.shown(&fake));
    fake.requests();
}

#[test]
fn node_without_a_server_is_shown_when_it_may_have_one() {
    let user = User::new();
    let names = |fake: &FakeServer, online: bool, long: bool| {
        let flags: &[&str] = if long { &["clusters", "--long"] } else { &["clusters"] };
        let outcome = at_nodes(&user, fake, &tailnet(online), flags);
        assert_eq!(outcome.status, 5, "{outcome:?}");
        let lines = outcome.stdout.lines().filter(|line| line.contains("localhost"));
        lines
            .map(ToOwned::to_owned)
            .collect::<Vec<_>>()
            .join("\n")
            .replace(&fake.address.port().to_string(), "PORT")
    };
    let hotel = || FakeServer::new(&[("GET /rules", Answer::html(200))]);
    // What answers at 443 is not ours to say.
    assert!(!names(&hotel(), true, false).contains("http://localhost:PORT"));
    let all = names(&hotel(), true, true);
    assert!(
        all.contains("http://localhost:PORT") && all.contains("no TKA server: HTTP status 200"),
        "{all}"
    );
    let silent = names(&FakeServer::new(&[("GET /rules", Answer::Silence)]), false, false);
    assert!(silent.contains("does not answer: its node is offline"), "{silent}");
}

#[test]
fn limit_holds_for_each() {
    let fake = FakeServer::new(&[("GET /rules", Answer::Silence)]);
    let outcome = alone(&User::new(), &fake, &["clusters", "--timeout", "0.1"]);
    assert_eq!(outcome.status, 5);
    assert!(
        outcome.stdout.contains("does not answer: no answer within 0.1 s"),
        "{outcome:?}"
    );
}

/// A user whose configuration file names the fake server, with a comment.
fn configured(fake: &FakeServer) -> (User, Vec<String>) {
    let user = User::new();
    let path = user.home().join("config.yaml");
    let port = fake.address.port();
    fs::write(
        &path,
        format!("# Mine.\ntailscale:\n  hostname: 127.0.0.1 # here\n  port: {port}\n"),
    )
    .unwrap();
    (user, vec!["--config".to_owned(), path.display().to_string()])
}

fn run(user: &User, config: &[String], arguments: &[&str]) -> Outcome {
    let config = config.iter().map(String::as_str).collect::<Vec<_>>();
    let mut command = user.command(&[&config, arguments].concat());
    command.env("TKA_TAILSCALE_SOCKET", "/nowhere");
    command.output().unwrap().into()
}

#[test]
fn chosen_one_becomes_the_default_and_its_kubeconfig_is_named() {
    let east = FakeServer::new(&[]);
    let west = FakeServer::new(&[vec![signs_in()], answering("west", &[session()])].concat());
    let (user, config) = configured(&east);
    assert_eq!(user.run_with(&west, &["login"]).status, 0);
    let name = format!("127.0.0.1:{}", west.address.port());
    let outcome = run(&user, &config, &["clusters", "use", &name]);
    let text = fs::read_to_string(user.home().join("config.yaml")).unwrap();
    assert_eq!(
        outcome.stdout,
        format!("export KUBECONFIG={}\n", user.kubeconfig(&west).display()),
        "{outcome:?}"
    );
    assert_eq!(
        text,
        format!(
            "# Mine.\ntailscale:\n  hostname: \"127.0.0.1\" # here\n  port: {}\n",
            west.address.port()
        )
    );
    assert_eq!((outcome.status, west.requests().len()), (0, 4));
}

#[test]
fn chosen_one_becomes_current_where_it_was_merged() {
    let signs_in = || vec![signs_in(), ("POST /logout", Answer::json(200, &crate::tka::login()))];
    let east = FakeServer::new(&[signs_in()].concat());
    let [first, second] = <[_; 2]>::try_from(signs_in()).unwrap();
    let west = FakeServer::new(&[vec![first], answering("west", &[session()]), vec![second]].concat());
    let (user, config) = configured(&east);
    let kubeconfig = user.home().join(".kube/config");
    fs::create_dir(user.home().join(".kube")).unwrap();
    fs::write(&kubeconfig, "current-context: mine\n").unwrap();
    let current = || {
        let text = fs::read_to_string(&kubeconfig).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("current-context: "));
        line.unwrap().trim_matches('"').to_owned()
    };
    for fake in [&west, &east] {
        assert_eq!(user.run_with(fake, &["login", "--merge"]).status, 0);
    }
    assert_eq!(current(), "tka-context-alice@127.0.0.1");
    let name = format!("127.0.0.1:{}", west.address.port());
    let outcome = run(&user, &config, &["clusters", "use", &name]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
    assert!(
        outcome.stderr.contains("tka-context-alice is the current context of"),
        "{outcome:?}"
    );
    assert_eq!(current(), "tka-context-alice");
    for fake in [&west, &east] {
        assert_eq!(user.run_with(fake, &["logout"]).status, 0);
        assert_eq!(current(), "mine");
    }
}

#[test]
fn without_a_file_one_is_made_and_what_wins_over_it_is_said() {
    let west = FakeServer::new(&answering("west", &[]));
    let user = User::new();
    let outcome = alone(&user, &west, &["clusters", "use", "127.0.0.1"]);
    insta::assert_snapshot!(outcome.shown(&west).replace(&user.home().display().to_string(), "HOME"));
    assert_eq!(
        fs::read_to_string(user.home().join(".config/tka/config.yaml")).unwrap(),
        format!(
            "tailscale:\n  port: {}\n  hostname: \"127.0.0.1\"\n",
            west.address.port()
        )
    );
}

#[test]
fn name_that_means_none_or_several_changes_nothing() {
    let east = FakeServer::new(&[answering("east", &[]), answering("east", &[])].concat());
    let west = FakeServer::new(&[vec![signs_in()], answering("west", &[]), answering("west", &[])].concat());
    let (user, config) = configured(&east);
    assert_eq!(user.run_with(&west, &["login"]).status, 0);
    let before = user.files();
    let text = fs::read_to_string(user.home().join("config.yaml")).unwrap();
    let error = |name: &str| {
        let outcome = run(&user, &config, &["clusters", "use", name]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (2, "false\n"), "{outcome:?}");
        let [east, west] = [&east, &west].map(|fake| fake.address.port().to_string());
        outcome.stderr.replace(&east, "EAST").replace(&west, "WEST")
    };
    insta::assert_snapshot!("clusters_use_unknown", error("north"));
    insta::assert_snapshot!("clusters_use_ambiguous", error("127.0.0.1"));
    assert_eq!(user.files(), before);
    assert_eq!(fs::read_to_string(user.home().join("config.yaml")).unwrap(), text);
}

#[test]
fn one_that_does_not_answer_is_taken_if_it_is_known() {
    let west = FakeServer::new(&[signs_in(), ("GET /rules", Answer::html(502))]);
    let (user, config) = configured(&FakeServer::new(&[]));
    assert_eq!(user.run_with(&west, &["login"]).status, 0);
    let name = format!("127.0.0.1:{}", west.address.port());
    let outcome = run(&user, &config, &["clusters", "use", &name]);
    assert_eq!(outcome.status, 0);
    assert!(outcome.stderr.contains("no TKA server answers at"), "{outcome:?}");

    let fake = FakeServer::new(&[("GET /rules", Answer::Silence)]);
    let outcome = at_nodes(
        &user,
        &fake,
        &tailnet(true),
        &["clusters", "use", "localhost", "--timeout", "0.1"],
    );
    assert_eq!(outcome.status, 5, "{outcome:?}");
    assert!(
        outcome.stderr.contains("no TKA server answers at http://localhost:"),
        "{outcome:?}"
    );
}
