//! `tka kubeconfig`, `tka get kubeconfig`

use serde_json::json;

use crate::double::{Answer, Double};
use crate::tka::{TOKEN, User, kubeconfig};

#[test]
fn fetches_and_writes_like_login() {
    for spelling in [
        &["kubeconfig", "--quiet"][..],
        &["get", "--quiet", "kubeconfig"],
        &["-q", "get", "kubeconfig"],
    ] {
        let double = Double::new(&[("GET /kubeconfig", Answer::json(200, &kubeconfig()))]);
        let user = User::new();
        let outcome = user.run_with(&double, spelling);
        assert_eq!(
            outcome.stdout,
            format!("export KUBECONFIG={}\n", user.kubeconfig(&double).display())
        );
        assert_eq!((outcome.stderr.as_str(), outcome.status), ("", 0));
        assert!(
            std::fs::read_to_string(user.kubeconfig(&double))
                .unwrap()
                .contains(TOKEN)
        );
    }
}

#[test]
fn without_a_session_it_says_what_to_do() {
    let answer = json!({"message": "you are not signed in", "advice": ["run tka login"]});
    let double = Double::new(&[("GET /kubeconfig", Answer::json(401, &answer))]);
    let user = User::new();
    let outcome = user.run_with(&double, &["kubeconfig"]);
    insta::assert_snapshot!(outcome.shown(&double), @"
    status 3
    --- stdout
    --- stderr
    ✗ you are not signed in at http://127.0.0.1:PORT
      do  run tka login
    ");
}

#[test]
fn an_answer_that_would_not_work_changes_nothing() {
    let change = |pointer: &str, value| {
        let mut sent = kubeconfig();
        *sent.pointer_mut(pointer).unwrap() = value;
        Answer::json(200, &sent)
    };
    for answer in [
        change("/clusters", json!({})),
        change("/users/tka-user-alice", json!({})),
        change("/users/tka-user-alice/token", json!("")),
        change("/clusters", json!([{"name": "a", "cluster": {"server": "https://k"}}])),
        change("/current-context", json!("other")),
        Answer::json(200, &json!({"message": "hm"})),
        Answer::json(200, &json!([])),
        Answer::html(200),
        Answer::html(404),
        Answer::Truncated,
        Answer::Http {
            status: 200,
            headers: vec![],
            body: String::new(),
        },
        Answer::Http {
            status: 200,
            headers: vec![],
            body: "x".repeat(2 * 1024 * 1024),
        },
        Answer::Http {
            status: 302,
            headers: vec!["Location: http://127.0.0.1:1/".into()],
            body: String::new(),
        },
    ] {
        let double = Double::new(&[("GET /kubeconfig", answer.clone())]);
        let user = User::new();
        user.has_kubeconfig(&double);
        let before = user.files();
        let outcome = user.run_with(&double, &["kubeconfig"]);
        assert_eq!(
            (outcome.status, outcome.stdout.as_str()),
            (1, ""),
            "{answer:?} {outcome:?}"
        );
        assert_eq!(
            std::fs::read_to_string(user.kubeconfig(&double)).unwrap(),
            "from before"
        );
        assert_eq!(user.files(), before);
        assert!(!outcome.stderr.contains("secret"), "{outcome:?}");
    }
}
