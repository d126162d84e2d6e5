//! cases.md 8: this machine's clock and the server's do not agree.

use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, User, credential, signed_in};

/// How long the session lasts: a quarter of an hour, and what a busy machine may take until it is looked at.
const PERIOD: SignedDuration = SignedDuration::from_secs(15 * 60 + 45);

/// An answer of a server whose clock is `ahead` of this machine's; without `Date` where that is not said.
fn dated(ahead: Option<SignedDuration>, body: &Value) -> Answer {
    let mut headers = vec!["Content-Type: application/json".to_owned()];
    if let Some(ahead) = ahead {
        let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&(Timestamp::now() + ahead));
        headers.push(format!("Date: {}", date.unwrap()));
    }
    Answer::Http {
        status: 200,
        headers,
        body: body.to_string(),
    }
}

/// A sign-in, a list of sessions, and a credential by that server's clock.
fn script(ahead: SignedDuration, tells: bool) -> Vec<(&'static str, Answer)> {
    let until = Timestamp::now() + ahead + PERIOD;
    let mut login = signed_in();
    login["until"] = json!(until);
    login.as_object_mut().unwrap().remove("credential");
    let mut session = crate::shell::session();
    session["until"] = json!(until);
    (session["name"], session["this_device"]) = (json!(SESSION), json!(true));
    let mut credential = credential();
    credential["status"]["expirationTimestamp"] = json!(until);
    let ahead = tells.then_some(ahead);
    vec![
        ("POST /login", dated(ahead, &login)),
        ("GET /sessions", dated(ahead, &json!({"items": [session]}))),
        ("POST /credential", dated(ahead, &credential)),
    ]
}

#[test]
fn session_is_shown_and_the_clock_is_named() {
    for (minutes, way) in [(-20, "ahead of"), (20, "behind")] {
        let fake = FakeServer::new(&script(SignedDuration::from_mins(minutes), true));
        let user = User::new();
        let told = format!("this machine's clock is 20 min {way} the server's: set the clock");
        // A second may pass until it answers.
        let told = [told.clone(), told.replace("20 min", "19 min")];
        let is_told = |outcome: &Outcome| told.iter().any(|told| outcome.stderr.contains(told));
        let outcome = user.run_with(&fake, &["login"]);
        assert!(outcome.status == 0 && is_told(&outcome), "{outcome:?}");
        assert!(
            outcome.stderr.contains("in 15 min ("),
            "by this machine's clock: {outcome:?}"
        );
        let outcome = user.run_with(&fake, &["status"]);
        assert!(outcome.status == 0 && is_told(&outcome), "{outcome:?}");
        assert!(outcome.stdout.contains("in 15 min ("), "{outcome:?}");
        let mut prompt = user.command(&["status", "--prompt"]);
        prompt.env("KUBECONFIG", user.kubeconfig(&fake));
        assert_eq!(Outcome::from(prompt.output().unwrap()).stdout, "view@127.0.0.1 15m\n");
        // kubectl compares it with its own clock, and it is kept.
        let url = format!("http://{}", fake.address);
        for _ in 0..3 {
            let outcome = user.run(&["credential", "--server", &url, "--session", SESSION]);
            let printed: Value = serde_json::from_str(&outcome.stdout).unwrap();
            let expires = printed["status"]["expirationTimestamp"].as_str().unwrap();
            let left = expires.parse::<Timestamp>().unwrap().duration_since(Timestamp::now());
            assert!(
                left > SignedDuration::from_mins(14) && left <= PERIOD + SignedDuration::from_secs(1),
                "{left}"
            );
        }
        fake.requests();
    }
}

/// The server has just said that it goes on.
#[test]
fn session_is_shown_where_no_time_is_told() {
    let script = script(SignedDuration::from_mins(-20), false);
    let fake = FakeServer::new(&script[..2]);
    let user = User::new();
    for arguments in [["login"], ["status"]] {
        let outcome = user.run_with(&fake, &arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        assert!(
            outcome.stderr.contains("the session has ended by this machine's clock"),
            "{outcome:?}"
        );
    }
    fake.requests();
}
