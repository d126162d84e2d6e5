//! Sign-ins that succeed, and whose answer is of no use. No session stays that the user does not know of.

use serde_json::{Value, json};

use crate::fake_server::{Answer, FakeServer};
use crate::shell::session;
use crate::tka::{SESSION, User, kubeconfig, login, signed_in};

fn with_kubeconfig(change: impl Fn(&mut Value)) -> Answer {
    let mut answer = signed_in();
    change(&mut answer["kubeconfig"]);
    Answer::json(200, &answer)
}

fn ended() -> (&'static str, Answer) {
    let name = format!("DELETE /sessions/{SESSION}");
    (name.leak(), Answer::json(200, &session()))
}

/// What the server says of the session, which began at that time.
fn listed(signed_in: jiff::Timestamp) -> (&'static str, Answer) {
    let mut session = session();
    session["name"] = json!(SESSION);
    session["signed_in"] = json!(signed_in.to_string());
    ("GET /sessions", Answer::json(200, &json!({"items": [session]})))
}

#[test]
fn a_session_whose_kubeconfig_is_unusable_is_ended() {
    let unnamed = |sent: &mut Value| {
        sent["contexts"][""] = sent["contexts"]["tka-context-alice"].clone();
        sent["current-context"] = json!("");
    };
    for answer in [
        with_kubeconfig(|sent| sent["clusters"]["tka-cluster"]["server"] = json!("http://k")),
        with_kubeconfig(|sent| sent["clusters"]["tka-cluster"]["certificate-authority-data"] = json!("UEVN")),
        with_kubeconfig(|sent| {
            let cluster = sent["clusters"]["tka-cluster"].take();
            sent["clusters"] = json!({"a\u{2028}b": cluster});
            sent["contexts"]["tka-context-alice"]["cluster"] = json!("a\u{2028}b");
        }),
        with_kubeconfig(unnamed),
    ] {
        for arguments in [&["login"][..], &["login", "--merge"]] {
            let (user, fake) = (
                User::new(),
                FakeServer::new(&[("POST /login", answer.clone()), listed(jiff::Timestamp::now()), ended()]),
            );
            let outcome = user.run_with(&fake, arguments);
            assert_eq!((outcome.status, &*outcome.stdout), (1, "false\n"), "{outcome:?}");
            assert!(outcome.stderr.contains("the session was ended again"), "{outcome:?}");
            assert_eq!(fake.requests().len(), 3);
            assert!(user.files().is_empty(), "{:?}", user.files());
        }
    }
}

/// Where it cannot be ended, it is told.
#[test]
fn a_session_that_cannot_be_ended_is_told() {
    let answer = with_kubeconfig(|sent| sent["clusters"]["tka-cluster"]["server"] = json!("http://k"));
    let (user, fake) = (User::new(), FakeServer::new(&[("POST /login", answer)]));
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("you are signed in"), "{outcome:?}");
}

/// Nothing says which one it is.
#[test]
fn an_answer_without_a_name_is_told() {
    for body in ["{}", "[]", "{\"username\": 5}"] {
        let answer = Answer::Http {
            status: 200,
            headers: vec!["Content-Type: application/json".into()],
            body: body.into(),
        };
        let (user, fake) = (User::new(), FakeServer::new(&[("POST /login", answer)]));
        let outcome = user.run_with(&fake, &["login"]);
        assert_ne!(outcome.status, 0, "{outcome:?}");
        assert!(outcome.stderr.contains("a session may have begun"), "{outcome:?}");
        assert!(outcome.stderr.contains("`tka logout` ends it"), "{outcome:?}");
    }
}

/// A signal while the answer is waited for: the request is made already.
#[test]
fn a_sign_in_that_a_signal_ends_is_told() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::os::unix::process::ExitStatusExt;
    use std::process::Stdio;
    use std::sync::{Arc, Barrier};

    for arguments in [&["login"][..], &["login", "--merge"]] {
        let meeting = Arc::new(Barrier::new(2));
        let answer = Answer::Meeting(Arc::clone(&meeting), Answer::json(200, &signed_in()).into());
        let (user, fake) = (User::new(), FakeServer::new(&[("POST /login", answer)]));
        let mut command = user.command_with(&fake, arguments);
        let tka = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        meeting.wait();
        kill_process(Pid::from_child(&tka), Signal::INT).unwrap();
        let ended = tka.wait_with_output().unwrap();
        meeting.wait();
        assert_eq!(ended.status.signal(), Some(2), "{ended:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("a session may have begun"), "{said}");
        assert_eq!(ended.stdout, b"false\n");
    }
}

/// A session that was there before may be in use in another home folder of this device, of which nothing is known here.
#[test]
fn a_session_of_another_home_stays() {
    let answer = with_kubeconfig(|sent| sent["clusters"]["tka-cluster"]["server"] = json!("http://k"));
    let before = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(1);
    let (user, fake) = (User::new(), FakeServer::new(&[("POST /login", answer), listed(before)]));
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("you are signed in"), "{outcome:?}");
    assert_eq!(fake.requests().len(), 2);
}

/// A session that was there before may be in use.
#[test]
fn a_session_that_was_there_before_stays() {
    let unusable = with_kubeconfig(|sent| sent["clusters"]["tka-cluster"]["server"] = json!("http://k"));
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[
            ("POST /login", Answer::json(200, &signed_in())),
            ("POST /login", unusable),
        ]),
    );
    assert_eq!(user.run_with(&fake, &["login"]).status, 0);
    let before = std::fs::read_to_string(user.kubeconfig(&fake)).unwrap();
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("you are signed in"), "{outcome:?}");
    assert_eq!(std::fs::read_to_string(user.kubeconfig(&fake)).unwrap(), before);
}

/// The original's server sends no kubeconfig and no name.
#[test]
fn a_kubeconfig_that_comes_later_may_be_unusable_too() {
    let mut sent = kubeconfig();
    sent["clusters"]["tka-cluster"]["server"] = json!("http://k");
    let (user, fake) = (
        User::new(),
        FakeServer::new(&[
            ("POST /login", Answer::json(202, &login())),
            ("GET /kubeconfig", Answer::json(200, &sent)),
        ]),
    );
    let outcome = user.run_with(&fake, &["login"]);
    assert_eq!(outcome.status, 1, "{outcome:?}");
    assert!(outcome.stderr.contains("you are signed in"), "{outcome:?}");
}
