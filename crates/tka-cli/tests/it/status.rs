//! `tka status`

use std::fs;

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, User, login, signed_in, signing_in};

/// Since `login` says until when, a time that no test will see.
const AGES: (&str, &str) = (r"\d+ d", "AGES");

fn session() -> Value {
    json!({
        "name": SESSION, "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": true,
        "role": "view", "namespaces": [], "rule": null, "provisioned": true,
        "signed_in": "2001-01-02T15:04:05Z", "until": "2999-01-02T15:04:05Z"
    })
}

fn sessions(items: &[Value]) -> (&'static str, Answer) {
    ("GET /sessions", Answer::json(200, &json!({"items": items})))
}

/// A user with a session at a fake server, which goes on as scripted.
fn after_login(script: &[(&'static str, Answer)]) -> (User, FakeServer) {
    let sign_in = ("POST /login", Answer::json(200, &signed_in()));
    let (user, fake) = (User::new(), FakeServer::new(&[&[sign_in], script].concat()));
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    (user, fake)
}

/// With the kubeconfig of the sign-in in use.
fn run(user: &User, fake: &FakeServer, arguments: &[&str]) -> Outcome {
    let mut command = user.command_with(fake, &[&["status"], arguments].concat());
    command.env("KUBECONFIG", user.kubeconfig(fake));
    command.output().unwrap().into()
}

#[test]
fn in_every_form() {
    let mut elsewhere = session();
    (elsewhere["name"], elsewhere["this_device"]) = (json!("tka-alice-phone"), json!(false));
    let (user, fake) = after_login(&vec![sessions(&[session(), elsewhere]); 5]);
    insta::with_settings!({filters => [AGES]}, {
        insta::assert_snapshot!("status_human", run(&user, &fake, &[]).shown(&fake));
    });
    for form in ["json", "yaml", "name"] {
        insta::assert_snapshot!(format!("status_{form}"), run(&user, &fake, &["-o", form]).shown(&fake));
    }
    let elsewhere = user.run_with(&fake, &["status", "-q"]);
    assert_eq!((elsewhere.status, elsewhere.stdout), (0, format!("{SESSION}\n")));
    fake.requests();
}

#[test]
fn what_was_known_stands_in_for_a_server_that_does_not_answer() {
    let (user, fake) = after_login(&[("GET /sessions", Answer::Silence)]);
    let outcome = run(&user, &fake, &["--timeout", "0.1"]);
    // As wide as the ages are: they have hours at some hours only.
    insta::with_settings!({filters => [AGES, (" +NOTES", "  NOTES")]}, {
        insta::assert_snapshot!("status_unconfirmed", outcome.shown(&fake));
    });
    let (user, fake) = (User::new(), FakeServer::new(&[("GET /sessions", Answer::html(502))]));
    assert_eq!(
        run(&user, &fake, &[]).status,
        5,
        "the cache is empty, and no server responds"
    );
}

#[test]
fn none_is_said_and_told_by_the_status() {
    let (user, fake) = (User::new(), FakeServer::new(&[sessions(&[])]));
    insta::assert_snapshot!(run(&user, &fake, &[]).shown(&fake), @"
    status 3
    --- stdout
    --- stderr
    → you are not signed in: sign in with `tka login`
    ");
    assert!(user.files().is_empty(), "{:?}", user.files());
}

#[test]
fn session_that_was_ended_elsewhere_is_forgotten() {
    let (user, fake) = after_login(&[sessions(&[])]);
    assert_eq!(
        run(&user, &fake, &["--prompt"]).stdout,
        "view@127.0.0.1 AGES\n".replace("AGES", &left())
    );
    assert_eq!(run(&user, &fake, &[]).status, 3);
    assert_eq!(run(&user, &fake, &["--prompt"]).stdout, "");
}

/// What is left, as prompts say it.
fn left() -> String {
    let until: jiff::Timestamp = login()["until"].as_str().unwrap().parse().unwrap();
    let seconds = until.as_second() - jiff::Timestamp::now().as_second();
    format!("{}d", seconds / 86_400)
}

#[test]
fn prompt_sends_no_request_and_is_empty_without_a_session() {
    let (user, fake) = after_login(&[("POST /logout", Answer::json(200, &login()))]);
    let prompt = |kubeconfig: &str| {
        let mut command = user.command(&["status", "--prompt", "--config", "/nowhere"]);
        Outcome::from(command.env("KUBECONFIG", kubeconfig).output().unwrap())
    };
    let own = user.kubeconfig(&fake).display().to_string();
    for list in [own.clone(), format!("/nowhere:{own}")] {
        let shown = prompt(&list);
        assert_eq!(
            (shown.stdout, shown.stderr.as_str(), shown.status),
            (format!("view@127.0.0.1 {}\n", left()), "", 0)
        );
    }
    let other = user.home().join("other");
    let nothing = |shown: Outcome| {
        assert_eq!(
            (shown.stdout.as_str(), shown.stderr.as_str(), shown.status),
            ("", "", 0)
        );
    };
    for text in ["current-context: kind", "", "\u{0}", "- a", "current-context: [x]"] {
        fs::write(&other, text).unwrap();
        nothing(prompt(&other.display().to_string()));
    }
    nothing(prompt(""));
    let known = user.kubeconfig(&fake).with_extension("json");
    let text = fs::read_to_string(&known).unwrap();
    assert!(!text.contains(crate::tka::TOKEN), "{text}");
    fs::write(&known, &text[..text.len() / 2]).unwrap();
    nothing(prompt(&own));
    fs::write(&known, text.replace("2999", "1999")).unwrap();
    nothing(prompt(&own));
    assert_eq!(user.run_with(&fake, &["logout"]).status, 0);
    assert!(!known.exists());
    nothing(prompt(&own));
}

#[test]
fn original_server_has_one_session() {
    let mut script = signing_in();
    script.extend([
        ("GET /sessions", Answer::html(404)),
        ("GET /login", Answer::json(200, &login())),
    ]);
    let (user, fake) = (User::new(), FakeServer::new(&script));
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    insta::with_settings!({filters => [AGES]}, {
        insta::assert_snapshot!("status_original", run(&user, &fake, &[]).shown(&fake));
    });
    assert_eq!(run(&user, &fake, &["--prompt"]).status, 0);
}
