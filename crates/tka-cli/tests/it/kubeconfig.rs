//! `tka kubeconfig`, `tka get kubeconfig`

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{BEFORE, Outcome, SESSION, TOKEN, User, kubeconfig, login};

#[test]
fn fetches_and_writes_like_login() {
    for spelling in [
        &["kubeconfig", "--quiet"][..],
        &["get", "--quiet", "kubeconfig"],
        &["-q", "get", "kubeconfig"],
    ] {
        let fake = FakeServer::new(&[("GET /kubeconfig", Answer::json(200, &kubeconfig()))]);
        let user = User::new();
        let outcome = user.run_with(&fake, spelling);
        assert_eq!(
            outcome.stdout,
            format!("export KUBECONFIG={}\n", user.kubeconfig(&fake).display())
        );
        assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 0));
        assert!(std::fs::read_to_string(user.kubeconfig(&fake)).unwrap().contains(TOKEN));
    }
}

#[test]
fn the_session_is_remembered() {
    let mut sent = kubeconfig();
    let args = ["credential", "--server", "x", "--session", SESSION];
    sent["users"]["tka-user-alice"] = json!({"exec": {"apiVersion": "v1", "command": "tka", "args": args,
        "interactiveMode": "IfAvailable", "installHint": ""}});
    let session = json!({
        "name": SESSION, "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": true, "role": "view",
        "namespaces": [], "provisioned": true, "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    });
    let ours = [
        ("GET /kubeconfig", Answer::json(200, &sent)),
        ("GET /sessions", Answer::json(200, &json!({"items": [session]}))),
    ];
    let with_token = [
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
        ("GET /sessions", Answer::json(200, &json!({"items": [session]}))),
        ("GET /login", Answer::json(200, &login())),
    ];
    let originals = [
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
        ("GET /sessions", Answer::html(404)),
        ("GET /login", Answer::json(200, &login())),
    ];
    for (script, name) in [(&ours[..], SESSION), (&with_token, SESSION), (&originals, "null")] {
        let (user, fake) = (User::new(), FakeServer::new(script));
        assert_eq!(user.run_with(&fake, &["kubeconfig"]).status, 0);
        fake.requests();
        let mut prompt = user.command_with(&fake, &["status", "--prompt"]);
        prompt.env("KUBECONFIG", user.kubeconfig(&fake));
        let prompt = Outcome::from(prompt.output().unwrap());
        assert!(prompt.stdout.starts_with("view@127.0.0.1 "), "{prompt:?}");
        let known = std::fs::read_to_string(user.kubeconfig(&fake).with_extension("json")).unwrap();
        assert!(
            known.contains(&format!(
                "\"name\":{}",
                name.replace(SESSION, &format!("\"{SESSION}\""))
            )),
            "{known}"
        );
    }
}

#[test]
fn without_a_session_it_says_what_to_do() {
    let answer = json!({"message": "you are not signed in", "advice": ["run tka login"]});
    let fake = FakeServer::new(&[("GET /kubeconfig", Answer::json(401, &answer))]);
    let user = User::new();
    let outcome = user.run_with(&fake, &["kubeconfig"]);
    insta::assert_snapshot!(outcome.shown(&fake), @"
    status 3
    --- stdout
    false
    --- stderr
    ✗ you are not signed in at http://127.0.0.1:PORT
      do  run tka login
    ");
}

#[test]
fn an_answer_that_would_not_work_changes_nothing() {
    let change = |pointer: &str, value| {
        let mut sent = kubeconfig();
        *sent.pointer_mut(pointer).unwrap() = value;
        Answer::json(200, &sent)
    };
    for answer in [
        change("/clusters", json!({})),
        change("/users/tka-user-alice", json!({})),
        change("/users/tka-user-alice/token", json!("")),
        change("/clusters", json!([{"name": "a", "cluster": {"server": "https://k"}}])),
        change("/current-context", json!("other")),
        Answer::json(200, &json!({"message": "hm"})),
        Answer::json(200, &json!([])),
        Answer::html(200),
        Answer::html(404),
        Answer::Truncated,
        Answer::Http {
            status: 200,
            headers: vec![],
            body: String::new(),
        },
        Answer::Http {
            status: 200,
            headers: vec![],
            body: "x".repeat(2 * 1024 * 1024),
        },
        Answer::Http {
            status: 302,
            headers: vec!["Location: http://127.0.0.1:1/".into()],
            body: String::new(),
        },
    ] {
        let fake = FakeServer::new(&[("GET /kubeconfig", answer.clone())]);
        let user = User::new();
        user.has_kubeconfig(&fake);
        let before = user.files();
        let outcome = user.run_with(&fake, &["kubeconfig"]);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (1, "false\n"),
            "{answer:?} {outcome:?}"
        );
        assert_eq!(std::fs::read_to_string(user.kubeconfig(&fake)).unwrap(), BEFORE);
        assert_eq!(user.files(), before);
        assert!(!outcome.stderr.contains("secret"), "{outcome:?}");
    }
}
