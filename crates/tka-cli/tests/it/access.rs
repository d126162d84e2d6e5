//! What is asked for at a sign-in: rule, role, time, reason, namespace.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{User, kubeconfig, login, signed_in};

fn rule(name: Option<&str>, role: &str, priority: i64, namespaces: &[&str]) -> Value {
    json!({"name": name, "role": role, "priority": priority, "namespaces": namespaces, "period": "8h0m0s",
        "require_reason": name == Some("oncall"), "default": priority == 100})
}

pub(crate) fn rules() -> Answer {
    let items = [
        rule(Some("oncall"), "cluster-admin", 100, &[]),
        rule(Some("shop"), "edit", 50, &["shop", "web"]),
        rule(None, "view", 10, &[]),
    ];
    Answer::json(200, &json!({"items": items}))
}

fn usable() -> Answer {
    let mut answer = login();
    answer["kubeconfig"] = kubeconfig();
    Answer::json(200, &answer)
}

fn session(since: &str, named: Option<&str>, role: &str, this_device: bool, label: Option<&str>) -> Value {
    json!({
        "name": "tka-alice-one", "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": this_device,
        "role": role, "namespaces": if role == "edit" { vec!["shop", "web"] } else { vec![] }, "rule": named, "label": label,
        "reason": "pager 4711", "provisioned": true, "signed_in": since, "until": "2999-01-02T16:04:05Z"
    })
}

/// The refusal of a server whose rule asks for a reason.
pub(crate) fn reason_required() -> Answer {
    let refusal = json!({
        "message": "the rule for the role cluster-admin requires a reason",
        "advice": ["give a reason: `tka login --reason \"…\"`"]
    });
    Answer::json(400, &refusal)
}

fn shown(script: &[(&str, Answer)], arguments: &[&str]) -> String {
    let fake = FakeServer::new(script);
    let outcome = User::new().run_with(&fake, arguments);
    fake.requests();
    outcome.shown(&fake)
}

#[test]
fn requested_options_are_sent() {
    let fake = FakeServer::new(&[("GET /rules", rules()), ("POST /login", usable())]);
    let options = [
        "--rule",
        "oncall",
        "--role",
        "cluster-admin",
        "--for",
        "1h30m",
        "--reason",
        "pager 4711",
    ];
    let outcome = User::new().run_with(&fake, &[&["login"], &options[..]].concat());
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let sent = &fake.requests()[1];
    assert!(sent.has("Content-Type: application/json; charset=utf-8"), "{sent:?}");
    assert_eq!(
        serde_json::from_str::<Value>(&sent.body).unwrap(),
        json!({"rule": "oncall", "role": "cluster-admin", "period": "1h30m0s", "reason": "pager 4711"})
    );
}

#[test]
fn request_without_options_has_no_body() {
    let fake = FakeServer::new(&[("POST /login", usable())]);
    assert_eq!(User::new().run_with(&fake, &["login"]).status, 0);
    assert_eq!(fake.requests()[0].body, "");
}

#[test]
fn session_that_is_not_usable_yet_is_requested_again() {
    // A kubeconfig without a name may be of another session than the one that was chosen.
    let script = [
        ("GET /rules", rules()),
        ("POST /login", Answer::json(202, &login())),
        ("POST /login", usable()),
    ];
    let fake = FakeServer::new(&script);
    assert_eq!(User::new().run_with(&fake, &["login", "--role", "view"]).status, 0);
    fake.requests();
}

#[test]
fn the_namespace_is_the_one_of_the_context() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("GET /rules", rules()), ("POST /login", usable())]),
    );
    let outcome = user.run_with(&fake, &["login", "--rule", "shop", "--namespace", "web"]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(file.contains("namespace: 'web'"), "{file}");
}

#[test]
fn the_namespace_that_the_server_names_is_kept() {
    let mut answer = login();
    answer["kubeconfig"] = kubeconfig();
    answer["kubeconfig"]["contexts"]["tka-context-alice"]["namespace"] = json!("shop");
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /login", Answer::json(200, &answer))]),
    );
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(file.contains("namespace: 'shop'"), "{file}");
}

#[test]
fn a_namespace_outside_the_rule_begins_nothing() {
    insta::assert_snapshot!(
        "namespace_outside_the_rule",
        shown(
            &[("GET /rules", rules())],
            &["login", "--rule", "shop", "-n", "kube-system"]
        )
    );
}

#[test]
fn the_originals_server_works_in_any_namespace() {
    let script = [
        ("GET /rules", Answer::html(404)),
        ("POST /login", Answer::json(202, &login())),
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    assert_eq!(user.run_with(&fake, &["login", "-n", "web"]).status, 0);
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(file.contains("namespace: 'web'"), "{file}");
}

#[test]
fn original_server_gets_no_option_that_it_ignores() {
    let script = || [("GET /rules", Answer::html(404))];
    insta::assert_snapshot!("original_cannot_choose", shown(&script(), &["login", "--role", "view"]));
    for command in [
        &["login", "--rule", "oncall"][..],
        &["login", "--for", "30m"],
        &["login", "--reason", "x"],
        &["reauthenticate", "--role", "view"],
    ] {
        assert!(shown(&script(), command).starts_with("status 8\n"), "{command:?}");
    }
}

#[test]
fn missing_reason_is_an_error_without_a_terminal() {
    insta::assert_snapshot!(
        "missing_reason",
        shown(&[("POST /login", reason_required())], &["login"])
    );
}

#[test]
fn equal_priorities_are_answered_with_a_choice() {
    let refusal = json!({
        "message": "several rules of the tailnet policy reach you with the same priority 5: edit, view",
        "advice": [
            "ask an administrator of the tailnet to give these rules different priorities",
            "or say which one you mean, of those that `tka rules` shows: `tka login --rule NAME`, or `--role ROLE`"
        ]
    });
    insta::assert_snapshot!(
        "equal_priorities",
        shown(&[("POST /login", Answer::json(400, &refusal))], &["login"])
    );
}

#[test]
fn what_cannot_be_meant_is_a_mistake_on_the_command_line() {
    for (name, option, value) in [
        ("wrong_duration", "--for", "soon"),
        ("no_duration", "--for", "0s"),
        ("wrong_rule", "--rule", "On Call"),
        ("wrong_role", "--role", "a/b"),
        ("wrong_reason", "--reason", " "),
        ("wrong_namespace", "--namespace", "../x"),
    ] {
        let outcome = User::new().run(&["login", option, value]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (2, "false\n"), "{name}");
        insta::assert_snapshot!(name, outcome.stderr);
    }
}

fn reauthenticated(sessions: &[Value], options: &[&str]) -> Value {
    let script = [
        ("GET /sessions", Answer::json(200, &json!({"items": sessions}))),
        ("GET /rules", rules()),
        (
            "DELETE /sessions/tka-alice-one",
            Answer::json(200, &session("2001-01-02T15:04:05Z", None, "view", true, None)),
        ),
        ("POST /login", usable()),
    ];
    let fake = FakeServer::new(&script);
    let outcome = User::new().run_with(&fake, &[&["reauthenticate"], options].concat());
    assert_eq!(outcome.status, 0, "{outcome:?}");
    let body = fake.requests().pop().unwrap().body;
    serde_json::from_str(if body.is_empty() { "{}" } else { &body }).unwrap()
}

#[test]
fn reauthenticating_keeps_the_rule_and_the_reason() {
    let sessions = [
        session("2001-01-02T15:04:05Z", None, "view", true, None),
        session("2001-01-02T16:04:05Z", Some("shop"), "edit", true, None),
        session("2001-01-02T17:04:05Z", Some("oncall"), "cluster-admin", false, None),
        session(
            "2001-01-02T18:04:05Z",
            Some("oncall"),
            "cluster-admin",
            true,
            Some("shell-1"),
        ),
    ];
    let expected = json!({"rule": "shop", "role": "edit", "reason": "pager 4711"});
    assert_eq!(reauthenticated(&sessions, &[]), expected);
}

#[test]
fn reauthenticating_ends_the_session_and_keeps_its_context() {
    let of = |name: &str, since: &str, rule: &str, role: &str| {
        let mut session = session(since, Some(rule), role, true, None);
        session["name"] = json!(name);
        session
    };
    let sessions = json!({"items": [
        of("tka-alice-shop", "2001-01-02T15:04:05Z", "shop", "edit"),
        of("tka-alice-oncall", "2001-01-02T16:04:05Z", "oncall", "cluster-admin"),
    ]});
    let answer = |name: &str| {
        let mut answer = signed_in();
        answer["session"]["name"] = json!(name);
        Answer::json(200, &answer)
    };
    let end = |name: &str| Answer::json(200, &of(name, "2001-01-02T15:04:05Z", "shop", "edit"));
    let fake = FakeServer::new(&[
        ("POST /login", answer("tka-alice-oncall")),
        ("GET /rules", rules()),
        ("POST /login", answer("tka-alice-shop")),
        // Without a word, the last one: its context had the plain name.
        ("GET /sessions", Answer::json(200, &sessions)),
        ("GET /rules", rules()),
        ("DELETE /sessions/tka-alice-oncall", end("tka-alice-oncall")),
        ("POST /login", answer("tka-alice-oncall")),
        // The one that is named.
        ("GET /rules", rules()),
        ("GET /sessions", Answer::json(200, &sessions)),
        // Whether it still offers the way that the session had.
        ("GET /rules", rules()),
        ("DELETE /sessions/tka-alice-shop", end("tka-alice-shop")),
        ("POST /login", answer("tka-alice-shop")),
        // Another in the place of the last one.
        ("GET /rules", rules()),
        ("GET /sessions", Answer::json(200, &sessions)),
        ("DELETE /sessions/tka-alice-oncall", end("tka-alice-oncall")),
        ("POST /login", answer("tka-alice-view")),
    ]);
    let user = User::new();
    let contexts = |arguments: &[&str]| {
        let outcome = user.run_with(&fake, arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
        let names = file
            .lines()
            .filter_map(|line| line.strip_prefix("- name: 'tka-context-alice"));
        let (mut names, current): (Vec<_>, _) = (
            names.map(|name| name.trim_end_matches('\'').to_owned()).collect(),
            file.lines().last().unwrap().to_owned(),
        );
        names.sort();
        (
            names.join(" "),
            current
                .replace("current-context: \"tka-context-alice", "")
                .replace('"', ""),
        )
    };
    contexts(&["login"]);
    let both = |current: &str| (" -shop".to_owned(), current.to_owned());
    assert_eq!(contexts(&["login", "--rule", "shop"]), both("-shop"));
    assert_eq!(contexts(&["reauthenticate"]), both(""));
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    assert!(!file.contains("- '--role'"), "the role was not requested: {file}");
    assert_eq!(contexts(&["reauthenticate", "--rule", "shop"]), both("-shop"));
    assert_eq!(
        contexts(&["reauthenticate", "--role", "view"]),
        ("-shop .view".to_owned(), ".view".to_owned())
    );
    fake.requests();
}

#[test]
fn a_rule_and_a_role_of_one_name_are_side_by_side() {
    let answer = |name: &str| {
        let mut answer = signed_in();
        answer["session"]["name"] = json!(name);
        ("POST /login", Answer::json(200, &answer))
    };
    let script = [
        ("GET /rules", rules()),
        answer("tka-alice-rule"),
        ("GET /rules", rules()),
        answer("tka-alice-role"),
    ];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    for option in ["--rule", "--role"] {
        let outcome = user.run_with(&fake, &["login", option, "view"]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
    }
    let file = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    for (context, session) in [("-view", "rule"), (".view", "role")] {
        assert!(
            file.contains(&format!("- name: 'tka-context-alice{context}'")),
            "{file}"
        );
        assert!(file.contains(&format!("- 'tka-alice-{session}'")), "{file}");
    }
}

#[test]
fn reauthenticating_replaces_a_rule_that_is_gone() {
    let gone = session("2001-01-02T15:04:05Z", Some("gone"), "edit", true, None);
    assert_eq!(reauthenticated(&[gone], &[]), json!({}));
}

#[test]
fn reauthenticating_ends_nothing_if_options_are_unsupported() {
    let script = [("GET /rules", rules())];
    let shown = shown(&script, &["reauthenticate", "--rule", "shop", "-n", "x"]);
    assert!(shown.starts_with("status 4\n"), "{shown}");
}

#[test]
fn all_requests_of_a_command_have_one_time_limit() {
    let fake = FakeServer::new(&[
        ("GET /rules", Answer::busy(429, 2)),
        ("GET /rules", rules()),
        ("POST /login", Answer::busy(429, 2)),
    ]);
    let outcome = User::new().run_with(&fake, &["login", "--role", "view", "--timeout", "3"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert_eq!(fake.requests().len(), 3, "there is one second left, and not three");
}

/// A user at a terminal signs in, is asked for a reason and answers with `line`.
fn prompted(script: &[(&str, Answer)], line: &str) -> (String, FakeServer) {
    prompted_within(30, Duration::ZERO, script, line)
}

/// The same with an answer `after` a while, and a time limit for all requests.
fn prompted_within(limit: u32, after: Duration, script: &[(&str, Answer)], line: &str) -> (String, FakeServer) {
    let (user, fake) = (User::new(), FakeServer::new(script));
    let command = user.command_with(&fake, &["login", "-q", "--timeout", &limit.to_string()]);
    let mut terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    terminal.exp_string("what do you need cluster-admin for? ").unwrap();
    std::thread::sleep(after);
    terminal.send_line(line).unwrap();
    (terminal.exp_eof().unwrap(), fake)
}

#[test]
fn missing_reason_is_prompted_for() {
    let script = [
        ("POST /login", reason_required()),
        ("GET /rules", rules()),
        ("POST /login", usable()),
    ];
    let (shown, fake) = prompted(&script, "pager 4711");
    assert!(shown.contains("export KUBECONFIG="), "{shown}");
    let sent = &fake.requests()[2].body;
    assert_eq!(
        serde_json::from_str::<Value>(sent).unwrap(),
        json!({"reason": "pager 4711"})
    );
}

#[test]
fn prompt_does_not_count_against_the_time_limit() {
    let script = [
        ("POST /login", reason_required()),
        ("GET /rules", rules()),
        ("POST /login", Answer::busy(429, 1)),
        ("POST /login", usable()),
    ];
    let (shown, fake) = prompted_within(3, Duration::from_secs(3), &script, "pager 4711");
    assert!(shown.contains("export KUBECONFIG="), "{shown}");
    fake.requests();
}

#[test]
fn hostile_role_cannot_control_the_terminal() {
    let hostile = rule(Some("oncall"), "cluster\u{202e}\u{1b}[2J\u{200b}-admin", 100, &[]);
    let there = Answer::json(200, &json!({"items": [hostile]}));
    let fake = FakeServer::new(&[("POST /login", reason_required()), ("GET /rules", there)]);
    let user = User::new();
    let command = user.command_with(&fake, &["login", "-q"]);
    let mut terminal = rexpect::session::spawn_command(command, Some(60_000)).unwrap();
    terminal.exp_string("what do you need cluster[2J-admin for? ").unwrap();
    terminal.send_line("").unwrap();
    terminal.exp_eof().unwrap();
    fake.requests();
}

#[test]
fn reason_is_prompted_for_once() {
    let script = [("POST /login", reason_required()), ("GET /rules", rules())];
    let (shown, fake) = prompted(&script, "");
    assert!(shown.contains("requires a reason"), "{shown}");
    fake.requests();
}
