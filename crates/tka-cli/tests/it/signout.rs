//! `tka signout`

use serde_json::json;

use crate::fake_server::{Answer, FakeServer};
use crate::tka::{Outcome, SESSION, User, kubeconfig, login, signed_in};

/// Signs in and out, with a kubeconfig in between that `change` changes. Answers for what is left of it.
fn left(script: &[(&str, Answer)], commands: &[&[&str]], change: impl Fn(&str) -> String) -> (User, Option<String>) {
    let (user, fake) = (User::new(), FakeServer::new(script));
    for (at, arguments) in commands.iter().enumerate() {
        let outcome = user.run_with(&fake, arguments);
        assert_eq!(outcome.status, 0, "{outcome:?}");
        if at == 0 {
            let path = user.kubeconfig(&fake);
            let before = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, change(&before)).unwrap();
        }
    }
    let left = std::fs::read_to_string(user.kubeconfig(&fake)).ok();
    (user, left)
}

/// What `kubectl config set-credentials` and `set-context` write.
const THEIRS: [(&str, &str); 2] = [
    ("users:\n", "users:\n- name: kind\n  user: {token: theirs}\n"),
    (
        "contexts:\n",
        "contexts:\n- context: {cluster: tka-cluster, user: kind}\n  name: kind\n",
    ),
];

fn with_theirs(text: &str) -> String {
    THEIRS
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

fn is_theirs_alone(left: Option<&str>) {
    let left = left.unwrap();
    assert!(THEIRS.iter().all(|(_, theirs)| left.contains(theirs)), "{left}");
    assert!(
        left.contains("current-context: \"\""),
        "no other context was selected: {left}"
    );
    assert!(!left.contains("alice"), "{left}");
    assert!(left.contains("name: 'tka-cluster'"), "theirs needs it: {left}");
}

#[test]
fn what_others_put_into_the_kubeconfig_stays() {
    let end = format!("DELETE /sessions/{SESSION}");
    for form in [&["login"][..], &["login", "--token"]] {
        let begin = ("POST /login", Answer::json(200, &signed_in()));
        let script = [begin.clone(), ("POST /logout", Answer::json(200, &login()))];
        let (_, rest) = left(&script, &[form, &["logout"]], with_theirs);
        is_theirs_alone(rest.as_deref());
        let ended = json!({
            "name": SESSION, "username": "alice@example.com", "device": "laptop", "this_device": true, "role": "view",
            "namespaces": [], "provisioned": true, "signed_in": "2001-01-02T15:04:05Z", "until": "2001-01-02T16:04:05Z"
        });
        let script = [begin, (&*end, Answer::json(200, &ended))];
        let (_, rest) = left(&script, &[form, &["sessions", "end", SESSION]], with_theirs);
        is_theirs_alone(rest.as_deref());
    }
}

#[test]
fn foreign_user_entry_alone_keeps_the_kubeconfig() {
    let script = [
        ("POST /login", Answer::json(200, &signed_in())),
        ("POST /logout", Answer::json(200, &login())),
    ];
    let (from, to) = THEIRS[0];
    let (_, rest) = left(&script, &[&["login"], &["logout"]], |text| text.replace(from, to));
    let rest = rest.unwrap();
    assert!(
        rest.contains(to) && !rest.contains("alice") && !rest.contains("tka-cluster"),
        "{rest}"
    );
    // As kubectl would leave it that has deleted the context.
    let without = |text: &str| {
        let (before, rest) = text.split_once("contexts:\n").unwrap();
        let (_, after) = rest.split_once("current-context:").unwrap();
        format!("{before}contexts: []\ncurrent-context:{after}")
    };
    let (_, rest) = left(&script, &[&["login"], &["logout"]], without);
    assert_eq!(rest, None, "nothing asks for what is over");
}

#[test]
fn reauthenticating_at_the_original_keeps_foreign_entries() {
    let script = [
        ("POST /login", Answer::json(202, &login())),
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
        ("GET /sessions", Answer::html(404)),
        ("POST /logout", Answer::json(200, &login())),
        ("POST /login", Answer::json(202, &login())),
        ("GET /kubeconfig", Answer::json(200, &kubeconfig())),
    ];
    let (_, rest) = left(&script, &[&["login"], &["reauthenticate"]], with_theirs);
    let rest = rest.unwrap();
    assert!(THEIRS.iter().all(|(_, theirs)| rest.contains(theirs)), "{rest}");
    assert!(rest.contains("current-context: \"tka-context-alice\""), "{rest}");
}

#[test]
fn what_cannot_be_read_is_put_aside_and_told() {
    let fake = FakeServer::new(&vec![("POST /logout", Answer::json(200, &login())); 2]);
    let user = User::new();
    let aside = user.kubeconfig(&fake).with_extension("yaml.damaged");
    for (name, text) in [("", "from before"), ("-2", "once more")] {
        user.has_kubeconfig(&fake);
        std::fs::write(user.kubeconfig(&fake), text).unwrap();
        let outcome = user.run_with(&fake, &["logout"]);
        let aside = format!("{}{name}", aside.display());
        assert!(outcome.stderr.contains(&format!("it is now {aside}")), "{outcome:?}");
        assert!(!user.kubeconfig(&fake).exists());
        assert_eq!(std::fs::read_to_string(aside).unwrap(), text);
    }
}

#[test]
fn removes_the_kubeconfig() {
    for spelling in ["signout", "logout"] {
        let fake = FakeServer::new(&[("POST /logout", Answer::json(200, &login()))]);
        let user = User::new();
        user.has_kubeconfig(&fake);
        let outcome = user.run_with(&fake, &[spelling]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(outcome.shown(&fake), @"
            status 0
            --- stdout
            --- stderr
            ✓ signed out alice@example.com
            ");
        }
        assert!(!user.kubeconfig(&fake).exists());
    }
}

#[test]
fn a_hostile_name_does_not_steer_the_terminal() {
    let mut answer = login();
    answer["username"] = json!("al\u{1b}[2J\u{202e}\u{200b}ice\n✓ more");
    let fake = FakeServer::new(&[("POST /logout", Answer::json(200, &answer))]);
    let outcome = User::new().run_with(&fake, &["logout"]);
    assert_eq!(outcome.stderr, "✓ signed out al[2Jice ✓ more\n");
}

#[test]
fn quiet_says_nothing() {
    let fake = FakeServer::new(&[("POST /logout", Answer::json(200, &login()))]);
    let outcome = User::new().run_with(&fake, &["logout", "--quiet"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status),
        ("", "", 0)
    );
}

#[test]
fn without_a_session_the_kubeconfig_goes_too() {
    let answer = json!({"message": "you are not signed in"});
    let fake = FakeServer::new(&[("POST /logout", Answer::json(404, &answer))]);
    let user = User::new();
    user.has_kubeconfig(&fake);
    let outcome = user.run_with(&fake, &["logout"]);
    insta::assert_snapshot!(outcome.shown(&fake), @"
    status 3
    --- stdout
    --- stderr
    ✗ you are not signed in at http://127.0.0.1:PORT
    ");
    assert!(!user.kubeconfig(&fake).exists());
}

#[test]
fn the_kubeconfig_stays_where_the_session_may_have() {
    for (answer, status) in [
        (Answer::html(200), 1),
        (Answer::html(404), 1),
        (Answer::html(502), 5),
        (Answer::json(403, &json!({"message": "no rule"})), 4),
        (Answer::json(500, &json!({"message": "broken"})), 1),
        (Answer::Truncated, 1),
    ] {
        let fake = FakeServer::new(&[("POST /logout", answer.clone())]);
        let user = User::new();
        user.has_kubeconfig(&fake);
        let outcome = user.run_with(&fake, &["logout"]);
        assert_eq!(outcome.status, status, "{answer:?} {outcome:?}");
        assert!(outcome.stderr.contains("was kept"), "{outcome:?}");
        assert!(user.kubeconfig(&fake).exists(), "{answer:?}");
    }
}

#[test]
fn a_shell_that_uses_the_removed_file_is_told() {
    let fake = FakeServer::new(&[("POST /logout", Answer::json(200, &login()))]);
    let user = User::new();
    user.has_kubeconfig(&fake);
    let list = format!("/elsewhere:{}", user.kubeconfig(&fake).display());
    let output = user
        .command_with(&fake, &["logout"])
        .env("KUBECONFIG", list)
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert!(outcome.stderr.contains("unset KUBECONFIG"), "{outcome:?}");
}
