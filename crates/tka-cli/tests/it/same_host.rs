//! Servers at one host and port, which differ in their paths.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, User, login, signed_in};

/// Runs a command with the server at that path.
fn run(user: &User, fake: &FakeServer, path: &str, arguments: &[&str]) -> Outcome {
    let server = format!("http://{}{path}", fake.address);
    user.run(&[arguments, &["--server", &server]].concat())
}

/// The kubeconfig that a sign-in says.
fn exported(outcome: &Outcome) -> PathBuf {
    const EXPORT: &str = "export KUBECONFIG=";
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.stdout.starts_with(EXPORT), "{outcome:?}");
    outcome.stdout.trim()[EXPORT.len()..].into()
}

#[test]
fn each_has_a_kubeconfig_of_its_own() {
    let answer = |session: &str| {
        let mut answer = signed_in();
        answer["session"]["name"] = json!(session);
        Answer::json(200, &answer)
    };
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[
            ("POST /a/login", answer("tka-alice-a")),
            ("POST /b/login", answer("tka-alice-b")),
            ("POST /login", answer("tka-alice-plain")),
            ("POST /b/logout", Answer::json(200, &login())),
        ]),
    );
    let [a, b, plain] = ["/a", "/b", ""].map(|path| exported(&run(&user, &fake, path, &["login"])));
    assert_eq!(plain, user.kubeconfig(&fake));
    let texts = [&a, &b, &plain].map(|path| fs::read_to_string(path).unwrap());
    for (text, session) in texts.iter().zip(["tka-alice-a", "tka-alice-b", "tka-alice-plain"]) {
        assert!(text.contains(session), "{text}");
    }
    // Also where all of them are in one KUBECONFIG.
    let contexts = [&texts[0], &texts[1], &texts[2]].map(|text| {
        let config: serde_json::Value = serde_saphyr::from_str(text).unwrap();
        config["current-context"].as_str().unwrap().to_owned()
    });
    let host = format!("tka-context-alice@{}", fake.address);
    assert_eq!(contexts, ["tka-context-alice", "tka-context-alice@127.0.0.1", &host]);
    assert_eq!(run(&user, &fake, "/b", &["logout"]).status, 0);
    assert!(!b.exists() && !b.with_extension("json").exists());
    assert_eq!(fs::read_to_string(&a).unwrap(), texts[0]);
    assert!(a.with_extension("json").exists(), "its session goes on");
    assert_eq!(fake.requests().len(), 4);
}

/// Earlier versions kept servers with different paths in one file.
#[test]
fn file_of_another_server_is_left_alone() {
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[("POST /logout", Answer::json(200, &login()))]),
    );
    user.has_kubeconfig(&fake);
    let cache = user.kubeconfig(&fake).with_extension("json");
    let server = format!("http://{}/a", fake.address);
    let session = json!({"name": SESSION, "context": "c", "username": "alice@example.com", "role": "view", "until": "2999-01-02T15:04:05Z"});
    let text = json!({"server": server, "sessions": [session]}).to_string();
    fs::write(&cache, &text).unwrap();
    let before = fs::read_to_string(user.kubeconfig(&fake)).unwrap();

    let outcome = run(&user, &fake, "", &["login"]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (1, "false\n"), "{outcome:?}");
    let said = format!("has the sessions of another server, {server}");
    assert!(outcome.stderr.contains(&said), "{outcome:?}");
    let advice = format!("tka logout --server {server}");
    assert!(outcome.stderr.contains(&advice), "{outcome:?}");

    assert_eq!(run(&user, &fake, "", &["logout"]).status, 0);
    assert_eq!(fs::read_to_string(user.kubeconfig(&fake)).unwrap(), before);
    assert_eq!(fs::read_to_string(&cache).unwrap(), text);
    assert_eq!(fake.requests().len(), 1);
}
