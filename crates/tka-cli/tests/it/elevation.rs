//! `tka elevate`: a higher role for a while, with the context that is there.

use std::fs;

use serde_json::{Value, json};

use crate::access::{reason_required, rules};
use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, User, login, signed_in};

const ELEVATION: &str = "tka-alice-elevated";
/// Since `login` says until when, a time that no test will see.
const AGES: (&str, &str) = (r"\d+ ?d\b", "AGES");

fn cluster_info(gateway: &Value) -> (&'static str, Answer) {
    let info = json!({"server_url": "https://k8s.example.com:6443", "ca_data": "", "labels": {}, "gateway": gateway});
    ("GET /cluster-info", Answer::json(200, &info))
}

fn gateway() -> (&'static str, Answer) {
    let url = "http://tka.example.ts.net:8080/k8s";
    cluster_info(&json!({"url": url, "default": true, "elevation": true}))
}

/// A sign-in that elevates.
fn elevated() -> (&'static str, Answer) {
    let mut answer = login();
    answer["role"] = json!("cluster-admin");
    answer["session"] = json!({"name": ELEVATION, "rule": "oncall"});
    answer["kubeconfig"] = json!({
        "kind": "Config", "apiVersion": "v1",
        "clusters": {"tka-cluster": {"server": "http://tka.example.ts.net:8080/k8s"}},
        "users": {"tka-user-alice": {}},
        "contexts": {"tka-context-alice": {"cluster": "tka-cluster", "user": "tka-user-alice"}},
        "current-context": "tka-context-alice"
    });
    ("POST /login", Answer::json(200, &answer))
}

fn session(name: &str, role: &str, label: Option<&str>, this_device: bool) -> Value {
    json!({
        "name": name, "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": this_device,
        "role": role, "namespaces": [], "rule": null, "label": label, "provisioned": true,
        "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    })
}

fn sessions(items: &[Value]) -> (&'static str, Answer) {
    ("GET /sessions", Answer::json(200, &json!({"items": items})))
}

fn waiting(items: &[Value]) -> (&'static str, Answer) {
    ("GET /approvals", Answer::json(200, &json!({"items": items})))
}

/// All sessions of a person who is elevated on two devices.
fn all() -> (&'static str, Answer) {
    sessions(&[
        session(SESSION, "view", None, true),
        session(ELEVATION, "cluster-admin", Some("elevation"), true),
        session("tka-alice-phone", "cluster-admin", Some("elevation"), false),
        session("tka-alice-shell", "cluster-admin", Some("shell-1"), true),
    ])
}

fn ended() -> (&'static str, Answer) {
    let ended = session(ELEVATION, "cluster-admin", Some("elevation"), true);
    ("DELETE /sessions/tka-alice-elevated", Answer::json(200, &ended))
}

/// A kubeconfig that a team commits, as `KUBECONFIG` names it.
fn committed(user: &User, fake: &FakeServer, below: &str) -> String {
    let path = user.home().join("team.yaml");
    let port = fake.address.port();
    let text = format!(
        "current-context: team\ncontexts: [{{name: team, context: {{cluster: tka, user: tka}}}}]\nusers: [{{name: tka, user: {{}}}}]\n\
         clusters: [{{name: tka, cluster: {{server: 'http://127.0.0.1:{port}/k8s{below}'}}}}]\n"
    );
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn run(user: &User, fake: &FakeServer, kubeconfig: &str, arguments: &[&str]) -> Outcome {
    let mut command = user.command_with(fake, arguments);
    command.env("KUBECONFIG", kubeconfig);
    command.output().unwrap().into()
}

fn prompt(user: &User, fake: &FakeServer, kubeconfig: &str) -> String {
    let shown = run(user, fake, kubeconfig, &["status", "--prompt"]);
    assert_eq!((shown.status, shown.stderr.as_str()), (0, ""));
    shown.stdout
}

#[test]
fn context_that_is_there_has_the_higher_role_until_it_is_ended() {
    let nothing = [waiting(&[]), sessions(&[])];
    let script = [
        &[gateway(), elevated(), all(), waiting(&[]), all(), ended()][..],
        &nothing,
    ];
    let script = script.concat();
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let team = committed(&user, &fake, "");
    assert_eq!(prompt(&user, &fake, &team), "");
    let options = ["elevate", "--rule", "oncall", "--for", "30m", "--reason", "pager 4711"];
    let outcome = run(&user, &fake, &team, &options);
    insta::with_settings!({filters => [AGES]}, {
        insta::assert_snapshot!("elevation_begins", outcome.shown(&fake));
    });
    assert!(prompt(&user, &fake, &team).starts_with("^cluster-admin@127.0.0.1 "));
    assert!(!user.kubeconfig(&fake).exists(), "no kubeconfig is written");
    insta::with_settings!({filters => [AGES]}, {
        insta::assert_snapshot!("elevation_status", run(&user, &fake, &team, &["status"]).shown(&fake));
    });
    assert!(prompt(&user, &fake, &team).starts_with("^cluster-admin@127.0.0.1 "));
    let outcome = run(&user, &fake, &team, &["elevate", "--end"]);
    insta::assert_snapshot!(outcome.shown(&fake), @"
    status 0
    --- stdout
    --- stderr
    ✓ your elevation to cluster-admin is over
    ");
    assert_eq!(prompt(&user, &fake, &team), "");
    let outcome = run(&user, &fake, &team, &["elevate", "--end"]);
    insta::assert_snapshot!(outcome.shown(&fake), @"
    status 3
    --- stdout
    --- stderr
    ✗ this device is not elevated at http://127.0.0.1:PORT
      do  see your sessions on all devices with `tka sessions`, and what waits for approval with `tka approvals`
    ");
    let requests = fake.requests();
    assert!(requests[1].line.ends_with("/login?via=gateway"), "{}", requests[1].line);
    assert!(
        requests[1]
            .headers
            .iter()
            .any(|line| line.starts_with("Prefer: wait=") || line.starts_with("prefer: wait="))
    );
    let body: Value = serde_json::from_str(&requests[1].body).unwrap();
    let expected = json!({"rule": "oncall", "period": "30m0s", "reason": "pager 4711", "elevate": true});
    assert_eq!(body, expected);
}

#[test]
fn elevation_of_this_device_that_waits_is_withdrawn() {
    let waits = |name: &str, this_device: bool, elevation: bool| {
        json!({
            "session": name, "request": "1", "state": "waiting", "count": 0, "needed": 1, "expires": "2999-01-02T15:04:05Z",
            "username": "alice@example.com", "device": "laptop.example.ts.net", "own": true, "this_device": this_device,
            "may_decide": false, "role": "cluster-admin", "namespaces": [], "rule": "oncall", "period": "30m0s", "extends": false,
            "elevation": elevation, "requested": "2001-01-02T15:04:05Z", "approvals": []
        })
    };
    let all = [
        waits("tka-alice-phone", false, true),
        waits("tka-alice", true, false),
        waits(ELEVATION, true, true),
    ];
    let path = "DELETE /approvals/tka-alice-elevated";
    let script = [
        waiting(&all),
        (path, Answer::json(200, &all[2])),
        sessions(&[]),
        waiting(&all),
        (
            path,
            Answer::json(404, &json!({"message": "no sign-in waits for that session"})),
        ),
        sessions(&[]),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let outcome = run(&user, &fake, "", &["elevate", "--end"]);
    insta::assert_snapshot!(outcome.shown(&fake), @"
    status 0
    --- stdout
    --- stderr
    ✓ your elevation to cluster-admin (rule oncall) waits for approval no more
    ");
    let outcome = run(&user, &fake, "", &["elevate", "--end"]);
    assert_eq!(outcome.status, 3, "it was denied meanwhile: {}", outcome.stderr);
}

/// The session of the context goes on beneath the elevation.
#[test]
fn prompt_shows_the_ordinary_role_where_no_elevation_acts() {
    let sign_in = ("POST /login", Answer::json(200, &signed_in()));
    let script = [sign_in, gateway(), elevated(), all()];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let own = user.kubeconfig(&fake).display().to_string();
    let outcome = run(&user, &fake, &own, &["elevate"]);
    assert_eq!(outcome.status, 0);
    let said = "the context that kubectl uses, tka-context-alice, does not go through the gateway of this server";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    assert!(prompt(&user, &fake, &own).starts_with("view@"));
    let named = committed(&user, &fake, "/rule/oncall");
    assert_eq!(prompt(&user, &fake, &named), "");
    let status = run(&user, &fake, &own, &["status", "-o", "json"]);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    let items = status["items"].as_array().unwrap();
    let seen: Vec<_> = items
        .iter()
        .map(|item| (&item["role"], &item["current"], &item["elevation"], &item["via"]))
        .collect();
    let (yes, no) = (&json!(true), &json!(false));
    let (admin, gateway) = (&json!("cluster-admin"), &json!("gateway"));
    assert_eq!(
        seen,
        [
            (&json!("view"), yes, no, &json!("direct")),
            (admin, no, yes, gateway),
            (admin, no, no, &Value::Null)
        ]
    );
}

#[test]
fn context_that_names_a_rule_is_said_not_to_be_reached() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[gateway(), elevated(), gateway(), elevated()]),
    );
    let named = committed(&user, &fake, "/role/view");
    let outcome = run(&user, &fake, &named, &["elevate"]);
    let said = "the context that kubectl uses, team, names a rule or a session in its address";
    assert!(outcome.stderr.contains(said), "{}", outcome.stderr);
    let outcome = run(&user, &fake, "", &["elevate"]);
    assert!(
        outcome.stderr.contains("kubectl uses no context here"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn sign_out_ends_the_elevation_too() {
    let signed_out = ("POST /logout", Answer::json(200, &login()));
    let (user, fake) = (User::new(), FakeServer::new(&[gateway(), elevated(), signed_out]));
    let team = committed(&user, &fake, "");
    assert_eq!(run(&user, &fake, &team, &["elevate"]).status, 0);
    assert!(prompt(&user, &fake, &team).starts_with('^'));
    assert_eq!(run(&user, &fake, &team, &["logout"]).status, 0);
    assert_eq!(prompt(&user, &fake, &team), "");
}

#[test]
fn elevation_that_ended_is_not_in_the_prompt() {
    let nothing = sessions(&[]);
    let script = [gateway(), elevated(), nothing, gateway(), elevated()];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let team = committed(&user, &fake, "");
    assert_eq!(run(&user, &fake, &team, &["elevate"]).status, 0);
    assert_eq!(run(&user, &fake, &team, &["status"]).status, 3);
    assert_eq!(prompt(&user, &fake, &team), "");
    assert_eq!(run(&user, &fake, &team, &["elevate"]).status, 0);
    let cache = user.kubeconfig(&fake).with_extension("json");
    let text = fs::read_to_string(&cache).unwrap();
    fs::write(&cache, text.replace("2999", "1999")).unwrap();
    assert_eq!(prompt(&user, &fake, &team), "");
}

/// It would sign in as ever, or refuse what it does not know.
#[test]
fn server_that_knows_no_elevations_is_not_asked_for_one() {
    let earlier = json!({"url": "http://tka.example.ts.net:8080/k8s", "default": true});
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[cluster_info(&earlier), cluster_info(&Value::Null)]),
    );
    insta::assert_snapshot!(user.run_with(&fake, &["elevate"]).shown(&fake), @"
    status 8
    --- stdout
    --- stderr
    ✗ the server at http://127.0.0.1:PORT cannot elevate you
      why  it has no such endpoint: it may be the original TKA server, an older version, or another service
      do   sign in through the rule instead: `tka login --rule NAME`
           or ask the server's administrator for a newer version
    ");
    insta::assert_snapshot!(user.run_with(&fake, &["elevate"]).shown(&fake), @"
    status 8
    --- stdout
    --- stderr
    ✗ the server at http://127.0.0.1:PORT has no gateway, and an elevation acts through the gateway alone
      do  sign in through the rule instead: `tka login --rule NAME`
          or ask the server's administrator to set gateway.enabled
    ");
    fake.requests();
}

#[test]
fn others_may_have_to_approve() {
    let mut waits = login();
    waits["approval"] = json!({
        "count": 0, "needed": 1, "expires": "2999-01-02T15:04:05Z", "session": ELEVATION, "request": "r1", "state": "waiting"
    });
    let waits = ("POST /login", Answer::json(202, &waits));
    let (user, fake) = (User::new(), FakeServer::new(&[gateway(), waits]));
    let team = committed(&user, &fake, "");
    let outcome = run(&user, &fake, &team, &["elevate", "--no-wait"]);
    assert_eq!(outcome.status, 9, "{outcome:?}");
    assert!(outcome.stderr.contains("tka-alice-elevated"), "{}", outcome.stderr);
    assert_eq!(prompt(&user, &fake, &team), "", "it does not act yet");
}

#[test]
fn missing_reason_is_prompted_for() {
    let script = [
        gateway(),
        ("POST /login", reason_required()),
        ("GET /rules", rules()),
        elevated(),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let mut terminal = rexpect::session::spawn_command(user.command_with(&fake, &["elevate"]), Some(60_000)).unwrap();
    terminal.exp_string("what do you need cluster-admin for? ").unwrap();
    terminal.send_line("pager 4711").unwrap();
    let said = terminal.exp_eof().unwrap();
    assert!(said.contains("elevated to cluster-admin"), "{said}");
    let body: Value = serde_json::from_str(&fake.requests()[3].body).unwrap();
    assert_eq!(body, json!({"reason": "pager 4711", "elevate": true}));
}

#[test]
fn session_that_is_not_usable_yet_is_asked_for_again() {
    let pending = ("POST /login", Answer::json(202, &login()));
    let (user, fake) = (User::new(), FakeServer::new(&[gateway(), pending, elevated()]));
    let outcome = user.run_with(&fake, &["elevate"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    fake.requests();
}

#[test]
fn end_takes_no_other_option() {
    for option in ["--no-wait", "--rule=oncall", "--for=1h"] {
        assert_eq!(User::new().run(&["elevate", "--end", option]).status, 2, "{option}");
    }
    assert_eq!(User::new().run(&["elevate", "--namespace", "shop"]).status, 2);
}
