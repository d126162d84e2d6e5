//! What a refusal looks like, and its exit status.

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, User};

fn account() -> Value {
    json!({
        "message": "no rule of the tailnet policy reaches you",
        "advice": ["ask your administrator for a grant of specht-labs.de/cap/tka", "see https://example.com/grants"],
        "cause": {"message": "capability map is empty", "cause": {"message": "WhoIs knows carol@example.com"}}
    })
}

#[test]
fn refusals_show_what_why_and_what_to_do() {
    for (name, status, exit) in [
        ("ambiguous", 400, 7),
        ("not_signed_in", 401, 3),
        ("forbidden", 403, 4),
        ("not_found", 404, 1),
        ("period_too_short", 422, 7),
        ("internal", 500, 1),
    ] {
        let fake = FakeServer::new(&[("POST /login", Answer::json(status, &account()))]);
        let user = User::new();
        let outcome = user.run_with(&fake, &["login"]);
        assert_eq!((outcome.status, outcome.stdout.as_str()), (exit, "false\n"), "{name}");
        insta::assert_snapshot!(name, outcome.shown(&fake));
        assert!(user.files().is_empty(), "{name}");
    }
}

#[test]
fn what_is_no_tka_server_is_named_so() {
    for (name, answer, exit) in [
        ("captive_portal", Answer::html(200), 1),
        ("bad_gateway", Answer::html(502), 5),
        (
            "plain_not_found",
            Answer::Http {
                status: 404,
                headers: vec![],
                body: "404 page not found".into(),
            },
            1,
        ),
        ("truncated", Answer::Truncated, 1),
    ] {
        let fake = FakeServer::new(&[("POST /login", answer)]);
        let outcome = User::new().run_with(&fake, &["login"]);
        assert_eq!(outcome.status, exit, "{name}");
        insta::assert_snapshot!(name, outcome.shown(&fake));
    }
}

#[test]
fn quiet_keeps_errors() {
    let fake = FakeServer::new(&[("POST /login", Answer::json(403, &account()))]);
    let outcome = User::new().run_with(&fake, &["login", "-q"]);
    assert!(
        outcome.stderr.contains("no rule of the tailnet policy reaches you"),
        "{outcome:?}"
    );
    assert_eq!(outcome.stdout, "false\n", "for the shell that evaluates it");
}

#[test]
fn themes_and_pipes_decide_on_signs_and_colours() {
    let shown = |theme: &str| {
        let fake = FakeServer::new(&[("POST /login", Answer::json(403, &account()))]);
        User::new().run_with(&fake, &["login", "-t", theme]).stderr
    };
    assert!(shown("ascii").starts_with("error: http://"));
    assert!(shown("dracula").starts_with("✗ http://"), "a pipe has no colours");
    let fake = FakeServer::new(&[("POST /login", Answer::json(403, &account()))]);
    let output = User::new()
        .command_with(&fake, &["login"])
        .env("CLICOLOR_FORCE", "1")
        .output()
        .unwrap();
    assert!(Outcome::from(output).stderr.starts_with("\u{1b}["));
}
