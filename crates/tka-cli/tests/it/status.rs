//! `tka status`

use std::fs;

use serde_json::{Value, json};

use crate::fake_server::{Answer, Double};
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

/// A user who signed in at a double that goes on as scripted.
fn after_login(script: &[(&'static str, Answer)]) -> (User, Double) {
    let sign_in = ("POST /login", Answer::json(200, &signed_in()));
    let (user, double) = (User::new(), Double::new(&[&[sign_in], script].concat()));
    assert_eq!(user.run_with(&double, &["login"]).status, 0);
    (user, double)
}

/// With the kubeconfig of the sign-in in use.
fn run(user: &User, double: &Double, arguments: &[&str]) -> Outcome {
    let mut command = user.command_with(double, &[&["status"], arguments].concat());
    command.env("KUBECONFIG", user.kubeconfig(double));
    command.output().unwrap().into()
}

#[test]
fn in_every_form() {
    let mut elsewhere = session();
    (elsewhere["name"], elsewhere["this_device"]) = (json!("tka-alice-phone"), json!(false));
    let (user, double) = after_login(&vec![sessions(&[session(), elsewhere]); 5]);
    insta::with_settings!({filters => [AGES]}, {
        insta::assert_snapshot!("status_human", run(&user, &double, &[]).shown(&double));
    });
    for form in ["json", "yaml", "name"] {
        insta::assert_snapshot!(
            format!("status_{form}"),
            run(&user, &double, &["-o", form]).shown(&double)
        );
    }
    let elsewhere = user.run_with(&double, &["status", "-q"]);
    assert_eq!((elsewhere.status, elsewhere.stdout), (0, format!("{SESSION}\n")));
    double.requests();
}

#[test]
fn what_was_known_stands_in_for_a_server_that_does_not_answer() {
    let (user, double) = after_login(&[("GET /sessions", Answer::Silence)]);
    let outcome = run(&user, &double, &["--timeout", "0.1"]);
    // As wide as the ages are: they have hours at some hours only.
    insta::with_settings!({filters => [AGES, (" +NOTES", "  NOTES")]}, {
        insta::assert_snapshot!("status_unconfirmed", outcome.shown(&double));
    });
    let (user, double) = (User::new(), Double::new(&[("GET /sessions", Answer::html(502))]));
    assert_eq!(
        run(&user, &double, &[]).status,
        5,
        "nothing is known, and nobody answers"
    );
}

#[test]
fn none_is_said_and_told_by_the_status() {
    let (user, double) = (User::new(), Double::new(&[sessions(&[])]));
    insta::assert_snapshot!(run(&user, &double, &[]).shown(&double), @"
    status 3
    --- stdout
    --- stderr
    → you are not signed in: sign in with `tka login`
    ");
    assert!(user.files().is_empty(), "{:?}", user.files());
}

#[test]
fn session_that_was_ended_elsewhere_is_forgotten() {
    let (user, double) = after_login(&[sessions(&[])]);
    assert_eq!(
        run(&user, &double, &["--prompt"]).stdout,
        "view@127.0.0.1 AGES\n".replace("AGES", &left())
    );
    assert_eq!(run(&user, &double, &[]).status, 3);
    assert_eq!(run(&user, &double, &["--prompt"]).stdout, "");
}

/// What is left, as prompts say it.
fn left() -> String {
    let until: jiff::Timestamp = login()["until"].as_str().unwrap().parse().unwrap();
    let seconds = until.as_second() - jiff::Timestamp::now().as_second();
    format!("{}d", seconds / 86_400)
}

#[test]
fn prompt_asks_nobody_and_says_nothing_where_there_is_nothing() {
    let (user, double) = after_login(&[("POST /logout", Answer::json(200, &login()))]);
    let prompt = |kubeconfig: &str| {
        let mut command = user.command(&["status", "--prompt", "--config", "/nowhere"]);
        Outcome::from(command.env("KUBECONFIG", kubeconfig).output().unwrap())
    };
    let own = user.kubeconfig(&double).display().to_string();
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
    let known = user.kubeconfig(&double).with_extension("json");
    let text = fs::read_to_string(&known).unwrap();
    assert!(!text.contains(crate::tka::TOKEN), "{text}");
    fs::write(&known, &text[..text.len() / 2]).unwrap();
    nothing(prompt(&own));
    fs::write(&known, text.replace("2999", "1999")).unwrap();
    nothing(prompt(&own));
    assert_eq!(user.run_with(&double, &["logout"]).status, 0);
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
    let (user, double) = (User::new(), Double::new(&script));
    assert_eq!(user.run_with(&double, &["login"]).status, 0);
    insta::with_settings!({filters => [AGES]}, {
        insta::assert_snapshot!("status_original", run(&user, &double, &[]).shown(&double));
    });
    assert_eq!(run(&user, &double, &["--prompt"]).status, 0);
}
