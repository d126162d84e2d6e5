//! `tka signout`

use serde_json::json;

use crate::double::{Answer, Double};
use crate::tka::{Outcome, User, login};

#[test]
fn removes_the_kubeconfig() {
    for spelling in ["signout", "logout"] {
        let double = Double::new(&[("POST /logout", Answer::json(200, &login()))]);
        let user = User::new();
        user.has_kubeconfig(&double);
        let outcome = user.run_with(&double, &[spelling]);
        insta::allow_duplicates! {
            insta::assert_snapshot!(outcome.shown(&double), @"
            status 0
            --- stdout
            --- stderr
            ✓ signed out alice@example.com
            ");
        }
        assert!(!user.kubeconfig(&double).exists());
    }
}

#[test]
fn a_hostile_name_does_not_steer_the_terminal() {
    let mut answer = login();
    answer["username"] = json!("al\u{1b}[2J\u{202e}\u{200b}ice\n✓ more");
    let double = Double::new(&[("POST /logout", Answer::json(200, &answer))]);
    let outcome = User::new().run_with(&double, &["logout"]);
    assert_eq!(outcome.stderr, "✓ signed out al[2Jice ✓ more\n");
}

#[test]
fn quiet_says_nothing() {
    let double = Double::new(&[("POST /logout", Answer::json(200, &login()))]);
    let outcome = User::new().run_with(&double, &["logout", "--quiet"]);
    assert_eq!(
        (outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.status),
        ("", "", 0)
    );
}

#[test]
fn without_a_session_the_kubeconfig_goes_too() {
    let answer = json!({"message": "you are not signed in"});
    let double = Double::new(&[("POST /logout", Answer::json(404, &answer))]);
    let user = User::new();
    user.has_kubeconfig(&double);
    let outcome = user.run_with(&double, &["logout"]);
    insta::assert_snapshot!(outcome.shown(&double), @"
    status 3
    --- stdout
    --- stderr
    ✗ you are not signed in at http://127.0.0.1:PORT
    ");
    assert!(!user.kubeconfig(&double).exists());
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
        let double = Double::new(&[("POST /logout", answer.clone())]);
        let user = User::new();
        user.has_kubeconfig(&double);
        let outcome = user.run_with(&double, &["logout"]);
        assert_eq!(outcome.status, status, "{answer:?} {outcome:?}");
        assert!(outcome.stderr.contains("was kept"), "{outcome:?}");
        assert!(user.kubeconfig(&double).exists(), "{answer:?}");
    }
}

#[test]
fn a_shell_that_uses_the_removed_file_is_told() {
    let double = Double::new(&[("POST /logout", Answer::json(200, &login()))]);
    let user = User::new();
    user.has_kubeconfig(&double);
    let list = format!("/elsewhere:{}", user.kubeconfig(&double).display());
    let output = user
        .command_with(&double, &["logout"])
        .env("KUBECONFIG", list)
        .output()
        .unwrap();
    let outcome = Outcome::from(output);
    assert!(outcome.stderr.contains("unset KUBECONFIG"), "{outcome:?}");
}
