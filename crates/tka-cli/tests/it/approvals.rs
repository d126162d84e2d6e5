//! `tka approvals`: what waits for others, and deciding about it.

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::User;

const SESSION: &str = "tka-bob-one";

/// A sign-in of Bob's in that state.
fn waits(state: &str) -> Value {
    json!({
        "count": 0, "needed": 1, "expires": "2999-01-02T15:19:00Z", "session": SESSION, "request": "r1", "state": state,
        "username": "bob@example.com", "device": "desk.example.ts.net", "own": false, "may_decide": true, "role": "edit",
        "namespaces": [], "rule": "oncall", "period": "1h0m0s", "reason": "pager 4711", "extends": false,
        "requested": "2001-01-02T15:04:00Z", "approvals": []
    })
}

fn list(items: &[Value]) -> (&'static str, Answer) {
    ("GET /approvals", Answer::json(200, &json!({"items": items})))
}

/// The answer to a decision.
fn decided(status: u16, body: &Value) -> (&'static str, Answer) {
    ("POST /approvals/tka-bob-one", Answer::json(status, body))
}

fn refused(status: u16, message: &str) -> (&'static str, Answer) {
    decided(
        status,
        &json!({"message": message, "advice": ["look at it with `tka approvals`"]}),
    )
}

/// What was sent with the last request.
fn sent(fake: &FakeServer) -> Value {
    let requests = fake.requests();
    serde_json::from_str(&requests.last().unwrap().body).unwrap()
}

#[test]
fn decision_is_about_the_request_that_was_seen() {
    for (action, state, decision) in [
        ("approve", "granted", "approve"),
        ("deny", "denied", "deny"),
        ("acknowledge", "acknowledged", "acknowledge"),
    ] {
        let before = if action == "acknowledge" {
            "unacknowledged"
        } else {
            "waiting"
        };
        let (user, fake) = (
            User::new(),
            FakeServer::new(&[list(&[waits(before)]), decided(200, &waits(state))]),
        );
        let outcome = user.run_with(&fake, &["approvals", action, SESSION, "--comment", "go ahead"]);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(outcome.stderr.contains("bob@example.com"), "{}", outcome.stderr);
        let body = json!({"decision": decision, "comment": "go ahead", "request": "r1"});
        assert_eq!(sent(&fake), body);
    }
}

#[test]
fn what_others_must_approve_too_is_said() {
    let mut more = waits("waiting");
    (more["count"], more["needed"]) = (json!(1), json!(2));
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[list(&[waits("waiting")]), decided(200, &more)]),
    );
    let outcome = user.run_with(&fake, &["approvals", "approve", SESSION]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(
        outcome.stderr.contains("others must approve it too"),
        "{}",
        outcome.stderr
    );
    assert_eq!(sent(&fake), json!({"decision": "approve", "request": "r1"}));
}

#[test]
fn refusals_of_the_server_are_told_with_their_status() {
    for (status, message, exit) in [
        (403, "this sign-in is your own, and others decide about it", 4),
        (404, "no such sign-in waits for your approval", 1),
        (409, "another request waits by now", 1),
        (410, "it waits no more", 1),
    ] {
        let (user, fake) = (
            User::new(),
            FakeServer::new(&[list(&[waits("waiting")]), refused(status, message)]),
        );
        let outcome = user.run_with(&fake, &["approvals", "approve", SESSION]);
        assert!(outcome.stderr.contains(message), "{}", outcome.stderr);
        assert_eq!(outcome.status, exit, "{status}: {outcome:?}");
        fake.requests();
    }
}

#[test]
fn what_does_not_wait_is_not_decided() {
    let (user, fake) = (User::new(), FakeServer::new(&[list(&[waits("unacknowledged")])]));
    let outcome = user.run_with(&fake, &["approvals", "approve", SESSION]);
    assert_eq!(outcome.status, 3, "{outcome:?}");
    assert_eq!(
        fake.requests().len(),
        1,
        "an emergency is acknowledged, and not approved"
    );
    let (user, fake) = (User::new(), FakeServer::new(&[list(&[])]));
    let outcome = user.run_with(&fake, &["approvals"]);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, ""), "{outcome:?}");
    assert!(outcome.stderr.contains("no sign-in waits"), "{}", outcome.stderr);
    fake.requests();
}

#[test]
fn own_sign_in_is_withdrawn_and_shows_who_may_approve_it() {
    let mut own = waits("waiting");
    own["own"] = json!(true);
    own["approvers"] = json!(["alice@example.com", "carol@example.com"]);
    let (user, fake) = (User::new(), FakeServer::new(&[list(std::slice::from_ref(&own))]));
    let outcome = user.run_with(&fake, &["approvals", "show", SESSION]);
    assert!(
        outcome.stdout.contains("alice@example.com, carol@example.com"),
        "{outcome:?}"
    );
    fake.requests();
    let script = [("DELETE /approvals/tka-bob-one", Answer::json(200, &own))];
    let (user, fake) = (User::new(), FakeServer::new(&script));
    let outcome = user.run_with(&fake, &["approvals", "withdraw", SESSION]);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    assert!(outcome.stderr.contains("waits no more"), "{}", outcome.stderr);
    fake.requests();
}
