//! `tka sessions …`

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::User;

fn session(name: &str, this_device: bool) -> Value {
    json!({
        "name": name, "username": "alice@example.com", "device": "laptop.example.ts.net", "this_device": this_device,
        "role": "view", "namespaces": [], "rule": "daily", "provisioned": true,
        "signed_in": "1901-01-02T15:04:05Z", "until": "1901-01-02T16:04:05Z"
    })
}

fn list() -> Answer {
    Answer::json(
        200,
        &json!({"items": [session("tka-alice-one", true), session("tka-alice-two", false)]}),
    )
}

fn shown(script: &[(&str, Answer)], arguments: &[&str]) -> String {
    let fake = FakeServer::new(script);
    let outcome = User::new().run_with(&fake, &[&["sessions"], arguments].concat());
    fake.requests();
    outcome.shown(&fake)
}

#[test]
fn in_every_form() {
    // What the clock changes.
    insta::with_settings!({filters => [(r"\d+ d", "AGES")]}, {
        insta::assert_snapshot!("sessions_human", shown(&[("GET /sessions", list())], &[]));
        insta::assert_snapshot!("sessions_long", shown(&[("GET /sessions", list())], &["--long"]));
    });
    insta::assert_snapshot!("sessions_json", shown(&[("GET /sessions", list())], &["-o", "json"]));
    insta::assert_snapshot!("sessions_yaml", shown(&[("GET /sessions", list())], &["-o", "yaml"]));
    insta::assert_snapshot!("sessions_name", shown(&[("GET /sessions", list())], &["-o", "name"]));
}

#[test]
fn none_is_said_to_people_only() {
    let none = || [("GET /sessions", Answer::json(200, &json!({"items": []})))];
    insta::assert_snapshot!(shown(&none(), &[]), @"
    status 0
    --- stdout
    --- stderr
    → you have no session at this server: sign in with `tka login`
    ");
    insta::assert_snapshot!(shown(&none(), &["-o", "json"]), @r#"
    status 0
    --- stdout
    {
      "items": []
    }
    --- stderr
    "#);
}

#[test]
fn ends_those_that_are_named() {
    let script = [
        (
            "DELETE /sessions/tka-alice-two",
            Answer::json(200, &session("tka-alice-two", false)),
        ),
        (
            "DELETE /sessions/a%2Fb",
            Answer::json(404, &json!({"message": "you have no session of that name"})),
        ),
        (
            "DELETE /sessions/tka-alice-one",
            Answer::json(200, &session("tka-alice-one", true)),
        ),
    ];
    insta::assert_snapshot!(shown(&script, &["end", "tka-alice-two", "a/b", "tka-alice-one"]), @"
    status 3
    --- stdout
    --- stderr
    ✓ ended tka-alice-two (view, from laptop.example.ts.net)
    ✓ ended tka-alice-one (view, from laptop.example.ts.net)
    ✗ http://127.0.0.1:PORT could not end that session
      why  you have no session of that name
      do   list your sessions with `tka sessions`
    ");
}

#[test]
fn ends_all() {
    let script = [
        ("GET /sessions", list()),
        (
            "DELETE /sessions/tka-alice-one",
            Answer::json(200, &session("tka-alice-one", true)),
        ),
        (
            "DELETE /sessions/tka-alice-two",
            Answer::json(200, &session("tka-alice-two", false)),
        ),
    ];
    insta::assert_snapshot!(shown(&script, &["end", "--all"]), @"
    status 0
    --- stdout
    --- stderr
    ✓ ended tka-alice-one (view, from laptop.example.ts.net)
    ✓ ended tka-alice-two (view, from laptop.example.ts.net)
    ");
}

#[test]
fn says_what_to_end() {
    let outcome = User::new().run(&["sessions", "end"]);
    assert_eq!(outcome.status, 2);
    let outcome = User::new().run(&["sessions", "end", "--all", "tka-alice-one"]);
    assert_eq!(outcome.status, 2);
}
