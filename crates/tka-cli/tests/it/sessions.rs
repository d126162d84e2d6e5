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
        // Without oversight there is no such path.
        (
            "DELETE /oversight/sessions/a%2Fb",
            Answer::json(404, &json!({"message": "no such path"})),
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
    let outcome = User::new().run(&["sessions", "--user", "bob@example.com"]);
    assert_eq!(outcome.status, 2);
}

fn of_bob(name: &str) -> Value {
    let mut session = session(name, false);
    session["username"] = json!("bob@example.com");
    session
}

fn none_of_yours() -> Answer {
    Answer::json(404, &json!({"message": "you have no session of that name"}))
}

#[test]
fn shows_those_of_all_page_by_page() {
    let pages = || {
        let first = json!({"items": [session("tka-alice-one", true)], "next": "a+b"});
        [
            ("GET /oversight/sessions", Answer::json(200, &first)),
            (
                "GET /oversight/sessions",
                Answer::json(200, &json!({"items": [of_bob("tka-bob-one")]})),
            ),
        ]
    };
    insta::with_settings!({filters => [(r"\d+ d", "AGES")]}, {
        insta::assert_snapshot!(shown(&pages(), &["--everyone"]), @"
        status 0
        --- stdout
        NAME           USER               ROLE  DEVICE                               UNTIL
        tka-alice-one  alice@example.com  view  laptop.example.ts.net (this device)  ended AGES ago (1901-01-02 16:04:05 UTC)
        tka-bob-one    bob@example.com    view  laptop.example.ts.net                ended AGES ago (1901-01-02 16:04:05 UTC)
        --- stderr
        ");
    });
    insta::assert_snapshot!(shown(&pages(), &["--everyone", "-o", "name"]), @"
    status 0
    --- stdout
    tka-alice-one
    tka-bob-one
    --- stderr
    ");
    let fake = FakeServer::new(&pages());
    let asked = User::new().run_with(
        &fake,
        &["sessions", "--everyone", "--user", "bob@example.com", "-o", "json"],
    );
    let lines: Vec<String> = fake.requests().into_iter().map(|request| request.line).collect();
    assert_eq!(asked.status, 0, "{asked:?}");
    let path = "GET /api/v1alpha1/oversight/sessions?user=bob%40example%2Ecom";
    assert_eq!(lines, [path.to_owned(), format!("{path}&after=a%2Bb")]);
}

#[test]
fn one_page_is_all_of_them() {
    let page = json!({"items": [session("tka-alice-one", true), of_bob("tka-bob-one")]});
    let script = [("GET /oversight/sessions", Answer::json(200, &page))];
    let shown = shown(&script, &["--everyone", "-o", "name"]);
    assert!(shown.contains("tka-alice-one\ntka-bob-one\n"), "{shown}");
    let none = [("GET /oversight/sessions", Answer::json(200, &json!({"items": []})))];
    let outcome = self::shown(&none, &["--everyone"]);
    assert!(outcome.contains("there is no such session"), "{outcome}");
}

#[test]
fn server_that_shows_the_same_page_again_is_left() {
    let page = json!({"items": [session("tka-alice-one", true)], "next": "two"});
    let empty = json!({"items": [], "next": "two"});
    for (again, status) in [(&page, 0), (&empty, 0)] {
        let script = [
            ("GET /oversight/sessions", Answer::json(200, again)),
            ("GET /oversight/sessions", Answer::json(200, again)),
        ];
        let fake = FakeServer::new(&script);
        let outcome = User::new().run_with(&fake, &["sessions", "--everyone", "-o", "name"]);
        fake.requests();
        assert_eq!(outcome.status, status, "{outcome:?}");
        assert!(outcome.stdout.lines().count() < 2, "{outcome:?}");
    }
}

#[test]
fn those_of_all_are_refused_without_oversight() {
    let script = [(
        "GET /oversight/sessions",
        Answer::json(
            404,
            &json!({"message": "no such path", "advice": ["see /swagger for what there is"]}),
        ),
    )];
    insta::assert_snapshot!(shown(&script, &["--everyone"]), @"
    status 4
    --- stdout
    --- stderr
    ✗ http://127.0.0.1:PORT refuses to show the sessions of all
      why  no such path
      do   ask an administrator of the tailnet for oversight of sessions (docs/oversight.md): without it a server says no more
           if you have it, check with `tka doctor` that the server is not an older one
    ");
}

#[test]
fn ends_that_of_another_where_there_is_oversight() {
    let named = "DELETE /sessions/tka-bob-one";
    let of_other = "DELETE /oversight/sessions/tka-bob-one";
    let script = [
        (named, none_of_yours()),
        (of_other, Answer::json(200, &of_bob("tka-bob-one"))),
    ];
    let fake = FakeServer::new(&script);
    let ended = User::new().run_with(&fake, &["sessions", "end", "tka-bob-one", "--reason", "laptop lost"]);
    let lines: Vec<String> = fake.requests().into_iter().map(|request| request.line).collect();
    assert!(
        lines[1].ends_with("/oversight/sessions/tka-bob-one?reason=laptop%20lost"),
        "{lines:?}"
    );
    insta::assert_snapshot!(ended.shown(&fake), @"
    status 0
    --- stdout
    --- stderr
    ✓ ended tka-bob-one (view, from laptop.example.ts.net), of bob@example.com
    ");
    // Whose own rules are gone may still have oversight.
    let no_rule = Answer::json(403, &json!({"message": "no rule of the tailnet policy reaches you"}));
    let script = [
        (named, no_rule.clone()),
        (of_other, Answer::json(200, &of_bob("tka-bob-one"))),
    ];
    assert!(shown(&script, &["end", "tka-bob-one"]).starts_with("status 0"));
    let script = [
        (named, no_rule),
        (of_other, Answer::json(404, &json!({"message": "no such path"}))),
    ];
    insta::assert_snapshot!(shown(&script, &["end", "tka-bob-one"]), @"
    status 4
    --- stdout
    --- stderr
    ✗ http://127.0.0.1:PORT refuses to end that session
      why  no rule of the tailnet policy reaches you
      do   ask an administrator of the tailnet for a grant that reaches you
    ");
    let only_read = json!({"message": "your oversight shows sessions, and ends none", "advice": ["ask for more"]});
    let script = [(named, none_of_yours()), (of_other, Answer::json(403, &only_read))];
    insta::assert_snapshot!(shown(&script, &["end", "tka-bob-one"]), @"
    status 4
    --- stdout
    --- stderr
    ✗ http://127.0.0.1:PORT refuses to end that session
      why  your oversight shows sessions, and ends none
      do   ask for more
    ");
    let none = json!({"message": "there is no session of that name", "advice": ["list all sessions"]});
    let script = [(named, none_of_yours()), (of_other, Answer::json(404, &none))];
    insta::assert_snapshot!(shown(&script, &["end", "tka-bob-one"]), @"
    status 3
    --- stdout
    --- stderr
    ✗ http://127.0.0.1:PORT could not end that session
      why  there is no session of that name
      do   list all sessions
    ");
}
